"""Moderators: what reads a whole conversation and says how likely it hides harmful intent."""
