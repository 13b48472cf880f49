"""What a moderator has to beat: word lists, single turns, simple sums."""
