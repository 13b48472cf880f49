"""A run: plan, engine, store."""
