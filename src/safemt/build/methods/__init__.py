"""The ways a dialogue conceals its intent, one module each. A fifth is one more module, named in `registry.py`."""
