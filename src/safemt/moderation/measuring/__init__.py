"""What a moderator is worth."""
