"""What a run that was spread over machines must have in common with one that was not."""

import sqlite3
from pathlib import Path
from typing import Any

FIGURES = ("turns", "scenarios", "methods", "outcomes", "ungraded", "over_refusal", "safety_index", "tokens")
TABLES = {
    "samples": "*",
    "responses": "key, text, blocked, refused, judged, finish_reason, prompt_tokens, completion_tokens",
    "answers": "*",
    "labels": "judge, sample, response, label, cause, reasoning, prompt_tokens, completion_tokens",
    "failures": "asked_of, sample, cause, message",
    "spend": "*",
    "verdicts": "moderator, conversation, action, degraded, prompt_tokens, completion_tokens",
    "moderated": "*",
}


def contents(folder: Path) -> dict[str, set[Any]]:
    """Everything in a store but times."""
    store = sqlite3.connect(folder / "run.sqlite")
    try:
        return {
            table: set(store.execute(f"SELECT {columns} FROM {table}"))  # noqa: S608
            for table, columns in TABLES.items()
        }
    finally:
        store.close()
