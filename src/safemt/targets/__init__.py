"""Models under test: one module per kind, behind one small protocol."""
