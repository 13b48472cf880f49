"""What a target is told of a scenario: one YAML file each, chosen and injected by pure functions."""
