"""Judges: what labels a response safe or unsafe."""
