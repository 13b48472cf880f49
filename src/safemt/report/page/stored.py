"""What the page shows of a run's store beyond its figures: texts, and when it was worked on."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import RunError
from safemt.core.schema import ImageRef
from safemt.run.store import STORE_FILE, intact

_TEXTS: Final = """
    SELECT s.query_id, s.turns, s.key, s.question, s.dialogue, s.image, r.text, l.reasoning
    FROM samples s
    LEFT JOIN answers a ON a.setup = :setup AND a.sample = s.key
    LEFT JOIN responses r ON r.key = a.response
    LEFT JOIN labels l ON l.judge = :judge AND l.sample = s.key AND l.response = a.response
    WHERE s.position IS NOT NULL
"""
_INVOCATIONS: Final = "SELECT started, ended, ending, setup, judge, manifest FROM invocations ORDER BY id"


@dataclass(frozen=True, slots=True)
class StoredTexts:
    """The texts of one sample of the plan."""

    query_id: str
    turns: int
    key: str
    """Of the sample's content: the same in every run that asks it."""
    question: str
    dialogue: list[str]
    """The messages' texts, user first."""
    image: ImageRef | None
    response: str | None
    reasoning: str | None


@dataclass(frozen=True, slots=True)
class StoredInvocation:
    """One `safemt run` on the store; dates ISO 8601, UTC."""

    started: str
    ended: str | None
    ending: str | None
    setup: str
    judge: str
    manifest: str


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run, rather than label files."""
    return (folder / STORE_FILE).is_file()


def read_texts(folder: Path, *, setup: str, judge: str) -> Iterator[StoredTexts]:
    """The texts of every sample of the plan.

    Raises:
        RunError: the store cannot be read.
    """
    with intact(folder / STORE_FILE):
        for row in _rows(folder, _TEXTS, {"setup": setup, "judge": judge}):
            query_id, turns, key, question, dialogue, image, response, reasoning = row
            messages = json.loads(dialogue)
            _require_texts(query_id, key, question, *messages, response or "", reasoning or "")
            yield StoredTexts(
                query_id=query_id,
                turns=turns,
                key=key,
                question=question,
                dialogue=messages,
                image=ImageRef(*json.loads(image)) if image else None,
                response=response,
                reasoning=reasoning,
            )


def read_invocations(folder: Path) -> list[StoredInvocation]:
    """Every invocation, oldest first.

    Raises:
        RunError: the store cannot be read.
    """
    rows = list(_rows(folder, _INVOCATIONS, {}))
    with intact(folder / STORE_FILE):
        for row in rows:
            _require_texts(*(value for value in row if value is not None))
    return [StoredInvocation(*row) for row in rows]


def _require_texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("something that is no text")


def _rows(folder: Path, query: str, values: dict[str, str]) -> Iterator[Any]:
    path = folder / STORE_FILE
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as connection:
            yield from connection.execute(query, values)
    except sqlite3.DatabaseError as error:
        raise RunError(f"The store {path} cannot be read: {error}. Check the disk.") from error
