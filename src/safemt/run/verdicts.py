"""The part of a store that holds a moderator's verdicts, and what became of samples by them.

Stores from before there were moderators lack its tables, and are given them when a run continues them.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from safemt.core.identity import content_key
from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict, verdict_json
from safemt.endpoints.base import Reply

REFUSAL: Final = Reply(
    text="I cannot help with that. I am glad to help with something else.",
    blocked=True,
    finish_reason="moderated",
)
"""Stands in for the target where a moderator blocks. It names no policy and tells nothing of the verdict."""
REFUSAL_KEY: Final = content_key({"moderated": REFUSAL.text})
"""Its key in the store; no call can have it."""

VERDICT_TABLES: Final = """
CREATE TABLE IF NOT EXISTS verdicts (
    moderator TEXT NOT NULL, conversation TEXT NOT NULL, action TEXT NOT NULL, degraded TEXT,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, verdict TEXT NOT NULL,
    created TEXT NOT NULL, PRIMARY KEY (moderator, conversation)
);
CREATE TABLE IF NOT EXISTS moderated (
    setup TEXT NOT NULL, sample TEXT NOT NULL, turn INTEGER NOT NULL, conversation TEXT NOT NULL,
    response TEXT NOT NULL, PRIMARY KEY (setup, sample, turn)
) WITHOUT ROWID;
"""
"""`verdicts.conversation` is the hash of the messages that were moderated. `moderated` has one row for each
turn that was sent: with the scripted history the last one alone."""


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """What decides over a conversation, out of the store."""

    action: Action
    policies: tuple[str, ...]
    """Ids of the policies that the target is handed, in this order."""
    degraded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleVerdict:
    """A verdict by which a turn of a sample was answered."""

    query_id: str
    turns: int
    """Of the sample."""
    twin: bool
    last: bool
    """Whether it is the one that the sample's response was given under; live dialogues have others before."""
    action: Action
    flagged: bool
    degraded: str | None
    """The cause, if it was."""
    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: tuple[str, ...]
    """Why nobody looked at a part, for each such part."""
    milliseconds: float
    prompt_tokens: int
    completion_tokens: int


class Verdicts:
    """Reads and writes the verdicts in a store."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        query: Callable[[str, Any], list[Any]],
        transaction: Callable[[], AbstractContextManager[None]],
        intact: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """All but the connection are the store's own, and explain what goes wrong."""
        self._db = connection
        self._query = query
        self._transaction = transaction
        self._intact = intact

    def verdict(self, *, moderator: str, conversation: str) -> StoredVerdict | None:
        """A moderator's stored verdict on a conversation."""
        rows = self._query(
            "SELECT action, verdict, degraded FROM verdicts WHERE moderator = ? AND conversation = ?",
            (moderator, conversation),
        )
        with self._intact():
            for action, verdict, degraded in rows:
                policies = tuple(str(policy["id"]) for policy in orjson.loads(verdict)["policies"])
                return StoredVerdict(Action(action), policies, degraded is not None)
        return None

    def add_verdict(self, verdict: Verdict, *, moderator: str, conversation: str) -> None:
        """Store a verdict; it replaces an earlier one of the same moderator on the same conversation."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    moderator,
                    conversation,
                    verdict.action,
                    verdict.degraded.cause if verdict.degraded else None,
                    verdict.prompt_tokens,
                    verdict.completion_tokens,
                    orjson.dumps(verdict_json(verdict)).decode(),
                    datetime.now(UTC).isoformat(timespec="milliseconds"),
                ),
            )

    def add_moderated(self, *, setup: str, sample: str, turn: int, conversation: str, response: str) -> None:
        """Say which verdict a turn of a sample was answered under, and with which response.

        Later turns of the same sample are forgotten: they belong to a dialogue that took another course.
        """
        with self._transaction():
            self._db.execute(
                "DELETE FROM moderated WHERE setup = ? AND sample = ? AND turn >= ?", (setup, sample, turn)
            )
            self._db.execute(
                "INSERT INTO moderated VALUES (?, ?, ?, ?, ?)", (setup, sample, turn, conversation, response)
            )

    def responses(self, *, setup: str, sample: str) -> list[str]:
        """The keys of the responses to the moderated turns of a sample, in their order."""
        if not self._exist():
            return []
        rows = self._query(
            "SELECT response FROM moderated WHERE setup = ? AND sample = ? ORDER BY turn", (setup, sample)
        )
        return [str(key) for (key,) in rows]

    def of_plan(self, *, setup: str, moderator: str) -> Iterator[SampleVerdict]:
        """The verdicts by which samples of the plan were answered, in the plan's order, turn by turn."""
        if not self._exist():
            return
        rows = self._query(
            """SELECT s.query_id, s.turns, s.twin_of IS NOT NULL,
            m.turn = (SELECT max(turn) FROM moderated WHERE setup = :setup AND sample = s.key), v.verdict
            FROM samples s
            JOIN answers a ON a.setup = :setup AND a.sample = s.key
            JOIN moderated m ON m.setup = :setup AND m.sample = s.key
            JOIN verdicts v ON v.moderator = :moderator AND v.conversation = m.conversation
            WHERE s.position IS NOT NULL ORDER BY s.position, m.turn""",
            {"setup": setup, "moderator": moderator},
        )
        with self._intact():
            for query_id, turns, twin, last, verdict in rows:
                yield _sample_verdict(
                    orjson.loads(verdict), query_id=str(query_id), turns=int(turns), twin=twin, last=last
                )

    @property
    def moderated_responses(self) -> str:
        """What adds the responses to moderated turns to a query for setup, sample and response."""
        return "UNION SELECT setup, sample, response FROM moderated" if self._exist() else ""

    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of all verdicts in the store."""
        if not self._exist():
            return 0, 0
        [row] = self._query("SELECT sum(prompt_tokens), sum(completion_tokens) FROM verdicts", ())
        return int(row[0] or 0), int(row[1] or 0)

    def _exist(self) -> bool:
        return bool(
            self._query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'moderated'", ())
        )


def _sample_verdict(verdict: Any, *, query_id: str, turns: int, twin: int, last: int) -> SampleVerdict:
    coverage, degraded = verdict["coverage"], verdict["degraded"]
    return SampleVerdict(
        query_id=query_id,
        turns=turns,
        twin=bool(twin),
        last=bool(last),
        action=Action(verdict["action"]),
        flagged=bool(verdict["flagged"]),
        degraded=None if degraded is None else str(degraded["cause"]),
        turns_scored=int(coverage["turns_scored"]),
        turns_total=int(coverage["turns_total"]),
        images_scored=int(coverage["images_scored"]),
        images_total=int(coverage["images_total"]),
        unscanned=tuple(str(part["why"]) for part in coverage["unscanned"]),
        milliseconds=float(verdict["milliseconds"]),
        prompt_tokens=int(verdict["prompt_tokens"]),
        completion_tokens=int(verdict["completion_tokens"]),
    )
