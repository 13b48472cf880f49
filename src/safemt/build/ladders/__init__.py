"""The hand-written content of the template builder: one act class a file, read, typed and checked."""
