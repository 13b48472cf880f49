"""What `tests/chaos` holds, and what its tests share.

A run survives whatever happens to it. These tests make it happen:

    test_faults      an endpoint that fails in every way that is known, drawn for each call and attempt
    test_recovery    how soon the limit is back after a storm of 429, on a clock of the test's own
    test_killed      `kill -9` before every single statement of the store, and at random moments
    test_store       a store that cannot be written, is another version's, damaged, or on a clock that jumps
    test_secrets     a key that an endpoint gives away wherever it can
    test_hostile     files and replies made to crash, to hang, or to read what is not theirs

The server is `servers.chat_server`; a fault is drawn by the hash of the request and the number of the
attempt, so that every order of events gives a call the same fate. What takes seconds is marked `slow`.
"""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from e2e.command import Row, rows

TRANSIENT: Final[list[dict[str, Any]]] = [
    {"do": "rate_limit"},
    {"do": "rate_limit", "retry_after_s": 0.2},
    {"do": "rate_limit", "retry_after_date_s": 1},
    {"do": "status", "status": 500},
    {"do": "status", "status": 500, "retry_after_s": 0.3},
    {"do": "status", "status": 502},
    {"do": "status", "status": 503, "retry_after_s": 0.1},
    {"do": "status", "status": 529},
    {"do": "status", "status": 200, "message": "The server is overloaded."},
    {"do": "reset_before"},
    {"do": "reset_during"},
    {"do": "hang"},
    {"do": "drip", "interval_ms": 50},
    {"do": "truncated_json"},
    {"do": "no_choices"},
    {"do": "null_content"},
    {"do": "empty_content"},
    {"do": "html"},
    {"do": "html", "status": 200},
    {"do": "huge"},
]
"""What may pass: the same call is answered when it is made again."""

ODD: Final[list[dict[str, Any]]] = [{"do": "gzip"}, {"do": "wrong_content_type"}]
"""Right answers in a strange wrapping."""

REPLY: Final = "Reply {sha}."
VERDICT: Final = "Of {sha}.\nVERDICT: {label}"


def answers(mode: str, judge: str) -> list[dict[str, Any]]:
    """Right answers that name the request, so that each is known again in a store."""
    return [
        {"mode": mode, "do": "reply", "text": REPLY},
        {"mode": judge, "do": "verdict", "text": VERDICT},
    ]


def chaos(mode: str, judge: str, *, share: float) -> list[dict[str, Any]]:
    """For this share of the calls up to two faults in a row, then a right answer, perhaps oddly wrapped."""
    faults = {"do": "one_of", "of": TRANSIENT, "share": share, "times": 2}
    odd = {"do": "one_of", "of": [{**each, "text": REPLY} for each in ODD], "share": 0.3}
    return [
        {"mode": mode, **faults},
        {"mode": judge, **faults},
        {"mode": mode, **odd},
        *answers(mode, judge),
    ]


def records(queries: int, turns: Iterable[int] = (1, 2)) -> list[Row]:
    """A benchmark whose longer dialogues are answered unsafely."""
    return [
        {
            **row,
            "dialogue": [
                *row["dialogue"][:-1],
                {**row["dialogue"][-1], "content": row["dialogue"][-1]["content"] + " UNSAFE-MARK"},
            ],
        }
        if row["turns"] > 1
        else row
        for row in rows(queries, turns)
    ]


_RESULTS: Final = {
    "samples": "SELECT key, position, query_id, turns, question, dialogue FROM samples",
    "responses": "SELECT key, text, blocked, refused, judged, finish_reason, prompt_tokens, completion_tokens"
    " FROM responses",
    "answers": """SELECT i.hash, s.key, a.turn, a.last, r.key FROM answers a
        JOIN identities i ON i.id = a.setup JOIN samples s ON s.id = a.sample
        JOIN responses r ON r.id = a.response""",
    "labels": """SELECT i.hash, s.key, r.key, l.label, l.cause, l.reasoning FROM labels l
        JOIN identities i ON i.id = l.judge JOIN samples s ON s.id = l.sample
        JOIN responses r ON r.id = l.response""",
    "failures": """SELECT i.hash, s.key, f.cause FROM failures f JOIN identities i ON i.id = f.asked_of
        JOIN samples s ON s.id = f.sample""",
}


def check_store(folder: Path) -> None:
    """Hold a store, if there is one yet, to SQLite's own checks."""
    if not (folder / "run.sqlite").is_file():
        return
    connection = sqlite3.connect(folder / "run.sqlite")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


def results(folder: Path) -> dict[str, list[Any]]:
    """All that a run found out, without the times and attempts that it took; the store is whole."""
    check_store(folder)
    connection = sqlite3.connect(folder / "run.sqlite")
    try:
        found = {name: sorted(connection.execute(query).fetchall()) for name, query in _RESULTS.items()}
    finally:
        connection.close()
    for name, listed in found.items():
        known_by = {"samples": 1, "responses": 1, "failures": 2}.get(name, 3)
        assert len({row[:known_by] for row in listed}) == len(listed)
    return found


def finished_calls(folder: Path) -> set[str]:
    """The hashes of the requests whose answers a store holds."""
    if not (folder / "run.sqlite").is_file():
        return set()
    connection = sqlite3.connect(folder / "run.sqlite")
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return set()
        replies = connection.execute("SELECT text FROM responses").fetchall()
        verdicts = connection.execute("SELECT reasoning FROM labels").fetchall()
    finally:
        connection.close()
    return {text.removeprefix("Reply ").removesuffix(".") for (text,) in replies} | {
        text.split("\n")[0].removeprefix("Of ").removesuffix(".") for (text,) in verdicts
    }


def causes(folder: Path) -> dict[str, str]:
    """Why calls failed for good, by query."""
    query = "SELECT s.query_id, f.cause FROM failures f JOIN samples s ON s.id = f.sample"
    connection = sqlite3.connect(folder / "run.sqlite")
    try:
        return dict(connection.execute(query))
    finally:
        connection.close()


def ungraded(folder: Path) -> dict[str, int]:
    """The causes in `results.json`, with their counts."""
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    counts: dict[str, int] = document["ungraded"]["causes"]
    return counts
