"""Who writes the dialogues besides the templates: a chat model, with a reviewer and a pilot."""
