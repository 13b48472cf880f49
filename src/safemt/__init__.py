"""Multi-turn safety of multimodal language models: benchmark, evaluation, moderator."""
