"""What protects a target: reads the whole conversation, gives a verdict and the policy that applies."""
