"""The ways a dialogue conceals its intent, one module each. A fifth is one more, named in `registry.py`."""
