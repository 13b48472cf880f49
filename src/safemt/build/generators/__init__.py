"""Who writes the dialogues: templates, or a chat model."""
