"""The picture of each query: planned before a word is written, then drawn or taken from the source."""
