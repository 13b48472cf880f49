"""Estimators: pure functions on arrays."""
