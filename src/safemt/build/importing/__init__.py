"""Published sets of whole dialogues, imported as benchmarks."""
