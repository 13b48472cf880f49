"""What says how likely harm is."""
