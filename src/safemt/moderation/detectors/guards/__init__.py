"""Guard models and moderation services of others, behind the detector protocol."""
