"""What a target is told about each scenario: one YAML file each, chosen and injected by pure functions."""
