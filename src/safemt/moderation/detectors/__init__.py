"""Detectors, which estimate how likely harm is."""
