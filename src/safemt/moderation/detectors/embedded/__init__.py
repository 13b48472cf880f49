"""The shipped moderator: a small encoder and a causal head, on the CPU and without a network."""
