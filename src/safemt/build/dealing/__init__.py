"""The template builder: dialogues dealt from the hand-written ladders."""
