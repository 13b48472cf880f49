"""The files that queries come in: one module per layout, each giving the same rows."""
