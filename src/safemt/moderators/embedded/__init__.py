"""The moderator that ships: a small encoder and a causal head, run with onnxruntime and numpy."""
