"""Other people's guard models and moderation services behind our interface."""
