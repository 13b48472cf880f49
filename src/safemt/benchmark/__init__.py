"""A benchmark on disk: read, check, select, write."""
