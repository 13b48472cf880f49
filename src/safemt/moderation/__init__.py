"""Moderators: they read a whole conversation, and give a verdict and the policy that applies."""
