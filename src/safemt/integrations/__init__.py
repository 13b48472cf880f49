"""The moderator and the benchmark inside other people's tools. Each module needs its tool installed."""
