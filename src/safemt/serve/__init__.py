"""The gateway: `safemt serve` moderates the conversations of a deployed model, in front of it."""
