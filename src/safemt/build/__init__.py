"""Makes a benchmark: queries in, dialogues of every length out, with the checks and the papers."""
