"""What the page shows of a run's store beyond its figures: texts, and when it was worked on."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from safemt.core.errors import RunError
from safemt.run.store import STORE_FILE

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
    dialogue: str
    """JSON list of the messages' texts, user first."""
    image: str | None
    """JSON list of the fields of an `ImageRef`."""
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
    for row in _rows(folder, _TEXTS, {"setup": setup, "judge": judge}):
        yield StoredTexts(*row)


def read_invocations(folder: Path) -> list[StoredInvocation]:
    """Every invocation, oldest first.

    Raises:
        RunError: the store cannot be read.
    """
    return [StoredInvocation(*row) for row in _rows(folder, _INVOCATIONS, {})]


def _rows(folder: Path, query: str, values: dict[str, str]) -> Iterator[Any]:
    path = folder / STORE_FILE
    try:
        uri = f"file:{quote(str(path.resolve()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as connection:
            yield from connection.execute(query, values)
    except sqlite3.DatabaseError as error:
        raise RunError(f"The store {path} cannot be read: {error}. Check the disk.") from error
