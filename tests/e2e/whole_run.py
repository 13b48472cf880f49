"""What a run that was spread over machines must have in common with one that was not."""

import sqlite3
from pathlib import Path
from typing import Any

FIGURES = ("turns", "scenarios", "methods", "outcomes", "ungraded", "over_refusal", "safety_index", "tokens")
TABLES = {
    "samples": "SELECT key, position, query_id, turns, question, dialogue, image FROM samples",
    "responses": """SELECT key, text, blocked, refused, judged, finish_reason, prompt_tokens,
        completion_tokens FROM responses""",
    "answers": """SELECT i.hash, s.key, a.turn, a.last, r.key, v.conversation FROM answers a
        JOIN identities i ON i.id = a.setup JOIN samples s ON s.id = a.sample
        JOIN responses r ON r.id = a.response LEFT JOIN verdicts v ON v.id = a.verdict""",
    "labels": """SELECT i.hash, s.key, r.key, l.label, l.cause, l.reasoning, l.prompt_tokens,
        l.completion_tokens FROM labels l
        JOIN identities i ON i.id = l.judge JOIN samples s ON s.id = l.sample
        JOIN responses r ON r.id = l.response""",
    "failures": """SELECT i.hash, s.key, f.cause, f.message FROM failures f
        JOIN identities i ON i.id = f.asked_of JOIN samples s ON s.id = f.sample""",
    "spend": "SELECT * FROM spend",
    "verdicts": """SELECT i.hash, v.conversation, v.action, v.degraded FROM verdicts v
        JOIN identities i ON i.id = v.moderator""",
}


def contents(folder: Path) -> dict[str, set[Any]]:
    """Everything in a store but times."""
    store = sqlite3.connect(folder / "run.sqlite")
    try:
        return {table: set(store.execute(query)) for table, query in TABLES.items()}
    finally:
        store.close()
