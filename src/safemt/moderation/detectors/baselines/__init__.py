"""Baselines that a moderator must beat: a phrase list, single turns, simple sums."""
