"""How well moderators detect harm: labelled dialogues, kept verdicts, thresholds."""
