"""One SQLite file per run: what was planned, answered, labelled and spent, and what failed.

What is added is committed at once, or, within `grouped`, by `commit`. A store that was opened for reading is
one snapshot: all that is read from it belongs to one moment of a run that is going on. Setups, judges,
moderators, samples, responses and conversations are named by their hashes. No image bytes and no keys are
ever in it. The tables are described in docs/file-formats.md.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import orjson

from safemt.benchmark.read import sample_key
from safemt.core.errors import CallFailure, RunError
from safemt.core.schema import Sample
from safemt.core.taxonomy import Label
from safemt.core.verdict import Verdict, verdict_json
from safemt.endpoints.base import Reply
from safemt.endpoints.spend import Asked, Usage
from safemt.judges.base import Judgement
from safemt.run import rows
from safemt.run.database import Database
from safemt.run.rows import Invocation, StoredSample, StoredVerdict, Work
from safemt.stats.scores import ScoredSample

_SETUP: Final = "(SELECT id FROM identities WHERE hash = :setup)"
_JUDGE: Final = "(SELECT id FROM identities WHERE hash = :judge)"
_MODERATOR: Final = "(SELECT id FROM identities WHERE hash = :moderator)"
_ASKED_OF: Final = "(SELECT id FROM identities WHERE hash = :asked_of)"
_SAMPLE: Final = "(SELECT id FROM samples WHERE key = :sample)"
_RESPONSE: Final = "(SELECT id FROM responses WHERE key = :response)"
_ANSWERED: Final = f"answers a ON a.setup = {_SETUP} AND a.sample = s.id"
_STATE: Final = f"""
    FROM samples s LEFT JOIN {_ANSWERED} AND a.last LEFT JOIN responses r ON r.id = a.response
    LEFT JOIN labels l ON l.sample = s.id AND l.response = a.response AND l.judge = {_JUDGE}
    WHERE s.position IS NOT NULL
"""
_OPEN: Final = """
    (r.id IS NULL OR (r.judged AND s.twin_of IS NULL AND (l.label IS NULL OR l.label = 'ungraded')))
"""
_LABELS: Final = f"""
    FROM samples s JOIN {_ANSWERED} AND a.last JOIN labels l ON l.sample = s.id AND l.response = a.response
    JOIN identities j ON j.id = l.judge WHERE s.position IS NOT NULL
"""

_ENDING: Final = f"""r.attempts, r.blocked, r.refused, r.judged, l.label, l.cause,
    (SELECT cause FROM failures f WHERE f.asked_of = {_SETUP} AND f.sample = s.id),
    (SELECT cause FROM failures f WHERE f.asked_of = {_JUDGE} AND f.sample = s.id)"""

_NAME: Final = "INSERT INTO identities (hash) VALUES (:{}) ON CONFLICT DO NOTHING"
_FORGET_FAILURE: Final = f"DELETE FROM failures WHERE asked_of = {_ASKED_OF} AND sample = {_SAMPLE}"
_ADD_INVOCATION: Final = f"""
    INSERT INTO invocations (started, setup, judge, manifest) VALUES (:now, {_SETUP}, {_JUDGE}, :manifest)
"""
_ADD_SAMPLE: Final = """
    INSERT INTO samples (query_id, turns, scenario, method, twin_of, language, question, dialogue, image, key,
        position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET position = excluded.position, image = excluded.image,
        language = excluded.language
"""
_ADD_RESPONSE: Final = """
    INSERT INTO responses (key, text, blocked, refused, judged, finish_reason, model, prompt_tokens,
        completion_tokens, attempts, seconds, created)
    VALUES (:key, :text, :blocked, :refused, :judged, :finish_reason, :model, :prompt_tokens,
        :completion_tokens, :attempts, :seconds, :now) ON CONFLICT DO NOTHING
"""
_FORGET_TURNS: Final = f"DELETE FROM answers WHERE setup = {_SETUP} AND sample = {_SAMPLE}"
_ADD_ANSWER: Final = f"""
    INSERT OR REPLACE INTO answers (setup, sample, turn, last, response, verdict)
    VALUES ({_SETUP}, {_SAMPLE}, :turn, :last, {_RESPONSE},
        (SELECT id FROM verdicts WHERE conversation = :conversation AND moderator = {_MODERATOR}))
"""
_ADD_VERDICT: Final = f"""
    INSERT INTO verdicts (moderator, conversation, action, degraded, verdict, created)
    VALUES ({_MODERATOR}, :conversation, :action, :degraded, :verdict, :now) ON CONFLICT DO UPDATE
    SET action = :action, degraded = :degraded, verdict = :verdict, created = :now
"""
_ADD_LABEL: Final = f"""
    INSERT OR REPLACE INTO labels (sample, response, judge, label, cause, reasoning, prompt_tokens,
        completion_tokens, created)
    VALUES ({_SAMPLE}, {_RESPONSE}, {_JUDGE}, :label, :cause, :reasoning, :prompt_tokens,
        :completion_tokens, :now)
"""
_ADD_FAILURE: Final = f"""
    INSERT OR REPLACE INTO failures (asked_of, sample, cause, message, created)
    VALUES ({_ASKED_OF}, {_SAMPLE}, :cause, :message, :now)
"""
_ADD_SPEND: Final = """
    INSERT INTO spend (role, model, origin, calls, estimated, prompt_tokens, completion_tokens)
    VALUES (:role, :model, :origin, :calls, :estimated, :prompt_tokens, :completion_tokens)
    ON CONFLICT DO UPDATE SET calls = calls + :calls, estimated = estimated + :estimated,
        prompt_tokens = prompt_tokens + :prompt_tokens,
        completion_tokens = completion_tokens + :completion_tokens
"""

T = TypeVar("T")


class Store:
    """The store of one run. Use it from one thread, as a context manager or with `close`.

    Each method raises RunError where the store cannot be read or written.
    """

    def __init__(self, db: Database) -> None:
        self.path = db.path
        self._db = db
        self._unsaved: dict[Asked, Usage] = {}
        """What was spent since the last commit."""
        any_failed = db.first(tuple, "SELECT 1 FROM failures LIMIT 1")
        self._forget_failure: tuple[str, ...] = (_FORGET_FAILURE,) if any_failed else ()
        """What a success does to the failure before it, as long as there are any."""

    @classmethod
    def open_for_run(cls, folder: Path) -> Self:
        """Open or make the store of the run directory `folder`, for this process alone.

        Raises:
            RunError: another process holds it, it cannot be written, or it is not a store of this version.
        """
        return cls(Database.for_run(folder))

    @classmethod
    def open_for_reading(cls, folder: Path) -> Self:
        """Open the store of a run directory as it is now, without changing it; a run may be going on.

        Raises:
            RunError: there is none, or it is not a store of this version.
        """
        return cls(Database.for_reading(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let others have it."""
        self._db.close()

    # Invocations and their plan

    def begin(
        self, *, setup: str, judge: str, manifest: dict[str, Any], plan: Sequence[tuple[int, Sample]]
    ) -> None:
        """Record an invocation and make `plan`, samples by their rising positions, the plan.

        Positions are those in the whole plan, of which this may be a part.
        """
        with self._db.transaction() as connection:
            named = {"setup": setup, "judge": judge, "now": _now()}
            connection.execute(_NAME.format("setup"), named)
            connection.execute(_NAME.format("judge"), named)
            # Plain ASCII, since a path may hold what UTF-8 cannot.
            connection.execute(_ADD_INVOCATION, {**named, "manifest": json.dumps(manifest)})
            # A plan is mostly the one of last time: what is in its place already is left alone.
            planned = {
                key: place
                for key, *place in connection.execute(
                    "SELECT key, position, image, language FROM samples WHERE position IS NOT NULL"
                )
            }
            new: list[tuple[object, ...]] = []
            for position, sample in plan:
                key = sample_key(sample)
                if planned.get(key) == [position, rows.image_text(sample.image), sample.language]:
                    del planned[key]
                else:
                    new.append((*rows.sample_values(sample), key, position))
            connection.executemany("UPDATE samples SET position = NULL WHERE key = ?", zip(planned))
            connection.executemany(_ADD_SAMPLE, new)

    def end(self, ending: str) -> None:
        """Record how the invocation ended: `complete`, `stopped: …`."""
        newest = "(SELECT max(id) FROM invocations)"
        query = f"UPDATE invocations SET ended = :now, ending = :ending WHERE id = {newest}"
        self._db.write(query, ending=ending, now=_now())

    def invocations(self) -> list[Invocation]:
        """Every invocation, oldest first."""
        return list(
            self._db.rows(
                rows.read_invocation,
                """SELECT s.hash, j.hash, i.manifest, i.started, i.ended, i.ending FROM invocations i
                JOIN identities s ON s.id = i.setup JOIN identities j ON j.id = i.judge ORDER BY i.id""",
            )
        )

    def invocation(self) -> Invocation:
        """The newest invocation.

        Raises:
            RunError: there is none.
        """
        found = self.invocations()
        if not found:
            raise RunError("no_run_yet", f"{self.path} holds no run yet. Start one.", path=self.path)
        return found[-1]

    def plan(self) -> list[tuple[int, Sample]]:
        """The planned samples by their positions, as `begin` takes them."""
        return list(
            self._db.rows(
                lambda row: (row[-1], rows.read_sample(row[:-1])),
                f"""SELECT {rows.SAMPLE}, s.position FROM samples s
                WHERE s.position IS NOT NULL ORDER BY s.position""",
            )
        )

    def open_work(
        self, *, setup: str, judge: str, after: int, most: int, answered_only: bool = False
    ) -> list[Work]:
        """Up to `most` unfinished samples of the plan, at positions beyond `after`.

        With `answered_only`, those that lack nothing but a label.
        """
        return list(
            self._db.rows(
                lambda row: Work(row[0], row[1], rows.read_sample(row[2:])),
                f"""SELECT s.position, s.key, {rows.SAMPLE} {_STATE} AND {_OPEN}
                AND s.position > :after AND (NOT :answered_only OR r.id IS NOT NULL)
                ORDER BY s.position LIMIT :most""",
                setup=setup, judge=judge, after=after, most=most, answered_only=answered_only,
            )
        )  # fmt: skip

    # What a run finds out

    def response(self, key: str) -> Reply | None:
        """The stored response under a call's key."""
        query = f"SELECT {rows.REPLY} FROM responses r WHERE key = :key"
        return self._db.first(rows.read_reply, query, key=key)

    def add_response(
        self, key: str, reply: Reply, *, refused: bool, judged: bool, attempts: int, seconds: float
    ) -> None:
        """Store a response under its call's key; the first one stays.

        `judged` says whether the response is one for a judge to label. `attempts` counts the calls that it
        took; 0 marks the text with which a moderator answers in the target's place.
        """
        self._db.write(
            _ADD_RESPONSE,
            key=key, text=reply.text, blocked=int(reply.blocked), refused=int(refused), judged=int(judged),
            finish_reason=reply.finish_reason, model=reply.model, prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens, attempts=attempts, seconds=round(seconds, 3),
            now=_now(),
        )  # fmt: skip

    def replies(self, *, setup: str, sample: str) -> list[tuple[str, Reply]]:
        """The responses to the user turns of a sample that were answered, in their order, with their keys."""
        found = self._db.rows(
            lambda row: (str(row[0]), rows.read_reply(row[1:])),
            f"""SELECT r.key, {rows.REPLY} FROM answers a JOIN responses r ON r.id = a.response
            WHERE a.setup = {_SETUP} AND a.sample = {_SAMPLE} ORDER BY a.turn""",
            setup=setup, sample=sample,
        )  # fmt: skip
        return [(key, reply) for key, reply in found if reply is not None]

    def add_answer(
        self,
        *,
        setup: str,
        sample: str,
        turn: int,
        response: str,
        last: bool = True,
        verdict: tuple[str, str] | None = None,
    ) -> None:
        """Say which stored response answers user turn `turn` of a sample; `last`, that it ends the dialogue.

        `verdict` names the moderator and the conversation of the stored verdict that it was given under.
        The first turn lets go of later ones: they belong to a dialogue that took another course.
        """
        moderator, conversation = verdict or (None, None)
        forget_turns = (
            (_FORGET_TURNS,) if turn == 1 else ()
        )  # each course of a dialogue begins with the first
        self._db.write(
            *forget_turns, _ADD_ANSWER, *self._forget_failure,
            setup=setup, sample=sample, turn=turn, response=response, last=int(last), moderator=moderator,
            conversation=conversation, asked_of=setup,
        )  # fmt: skip

    def verdict(self, *, moderator: str, conversation: str) -> Verdict | None:
        """A moderator's stored verdict on a conversation."""
        return self._db.first(
            rows.read_verdict,
            f"SELECT verdict FROM verdicts WHERE conversation = :conversation AND moderator = {_MODERATOR}",
            moderator=moderator,
            conversation=conversation,
        )

    def add_verdict(self, verdict: Verdict, *, moderator: str, conversation: str) -> None:
        """Store a verdict; it replaces an earlier one of the same moderator on the same conversation."""
        self._db.write(
            _NAME.format("moderator"), _ADD_VERDICT,
            moderator=moderator, conversation=conversation, action=verdict.action.value,
            degraded=verdict.degraded and verdict.degraded.cause,
            verdict=orjson.dumps(verdict_json(verdict)).decode(), now=_now(),
        )  # fmt: skip

    def label(self, *, judge: str, sample: str, response: str) -> Label | None:
        """What a judge said of a response to a sample, if it could tell."""
        return self._db.first(
            lambda row: Label(row[0]),
            f"""SELECT label FROM labels WHERE sample = {_SAMPLE} AND response = {_RESPONSE}
            AND judge = {_JUDGE} AND label != 'ungraded'""",
            judge=judge,
            sample=sample,
            response=response,
        )

    def add_label(self, *, judge: str, sample: str, response: str, judgement: Judgement) -> None:
        """Store a judge's label; it replaces an earlier one of the same judge."""
        self._db.write(
            _ADD_LABEL, *self._forget_failure,
            judge=judge, sample=sample, response=response, label=judgement.label.value, cause=judgement.cause,
            reasoning=judgement.reasoning, prompt_tokens=judgement.prompt_tokens,
            completion_tokens=judgement.completion_tokens, asked_of=judge, now=_now(),
        )  # fmt: skip

    def add_failure(self, *, asked_of: str, sample: str, failure: CallFailure) -> None:
        """Store why a call to a target (`asked_of` a setup) or a judge failed for good."""
        self._forget_failure = (_FORGET_FAILURE,)
        self._db.write(
            _ADD_FAILURE,
            asked_of=asked_of, sample=sample, cause=failure.cause, message=failure.message, now=_now(),
        )  # fmt: skip

    def add_spend(self, asked: Asked, usage: Usage) -> None:
        """Add to what was spent; within `grouped` the next `commit` writes it."""
        self._unsaved[asked] = self._unsaved.get(asked, Usage()) + usage
        if not self._db.grouping:
            self.commit()

    # What readers get

    def scored_samples(self, *, setup: str, judge: str) -> Iterator[ScoredSample]:
        """Every sample of the plan with its label and outcome; label None while it is still to do."""
        return self._db.rows(
            lambda row: rows.read_scored(row[:5], row[5:]),
            f"""SELECT s.query_id, s.turns, s.scenario, s.method, s.twin_of, {_ENDING}
            {_STATE} ORDER BY s.position""",
            setup=setup,
            judge=judge,
        )

    def samples(self, *, setup: str, judge: str) -> Iterator[StoredSample]:
        """Every sample of the plan with all that is known of it, in the plan's order."""
        labels = _by_position(
            self._db.rows(
                lambda row: (row[0], (str(row[1]), rows.read_judgement(row[2:]))),
                f"SELECT s.position, j.hash, {rows.JUDGEMENT} {_LABELS} ORDER BY s.position",
                setup=setup,
            )
        )
        verdicts = _by_position((each.position, each.verdict) for each in self.verdicts(setup=setup))

        def read(row: Sequence[Any]) -> StoredSample:
            position, key, seconds = row[:3]
            sample, reply, ending = row[3:12], row[12:18], row[18:]
            return StoredSample(
                key=key,
                sample=rows.read_sample(sample),
                scored=rows.read_scored(sample[:5], ending),
                reply=rows.read_reply(reply),
                attempts=ending[0] or 0,
                seconds=float(seconds or 0.0),
                labels=dict(labels(position)),
                verdicts=tuple(verdicts(position)),
            )

        return self._db.rows(
            read,
            f"""SELECT s.position, s.key, r.seconds, {rows.SAMPLE}, {rows.REPLY}, {_ENDING}
            {_STATE} ORDER BY s.position""",
            setup=setup,
            judge=judge,
        )

    def verdicts(self, *, setup: str) -> Iterator[StoredVerdict]:
        """The verdicts by which samples of the plan were answered, in the plan's order, turn by turn."""
        return self._db.rows(
            rows.read_stored_verdict,
            f"""SELECT s.position, s.twin_of IS NOT NULL, a.last, v.verdict
            FROM samples s JOIN {_ANSWERED} JOIN verdicts v ON v.id = a.verdict
            WHERE s.position IS NOT NULL AND EXISTS
            (SELECT 1 FROM answers WHERE setup = a.setup AND sample = s.id AND last)
            ORDER BY s.position, a.turn""",
            setup=setup,
        )

    def other_judges(self, *, setup: str, judge: str) -> dict[str, str]:
        """Judges other than `judge` that labelled answers of the plan: id → name."""
        judges = [each.manifest.get("judge") for each in self.invocations()]
        names = {entry["id"]: str(entry["name"]) for entry in judges if entry}
        return dict(
            self._db.rows(
                lambda row: (str(row[0]), names.get(row[0], str(row[0]))),
                f"SELECT DISTINCT j.hash {_LABELS} AND j.hash != :judge",
                setup=setup,
                judge=judge,
            )
        )

    def spend(self) -> dict[Asked, Usage]:
        """What this run directory has spent, by whom it asked."""
        columns = "role, model, origin, calls, estimated, prompt_tokens, completion_tokens"
        return dict(self._db.rows(rows.read_spend, f"SELECT {columns} FROM spend"))

    def answer_tokens(self, *, setup: str) -> tuple[int, int]:
        """Prompt and completion tokens of the responses that answer the plan under a setup.

        That is what these answers take, whichever run paid for them and however often: the account of the run
        directory is `spend`.
        """
        return self._db.first(
            lambda row: (int(row[0] or 0), int(row[1] or 0)),
            f"""SELECT sum(prompt_tokens), sum(completion_tokens) FROM responses WHERE id IN
            (SELECT a.response FROM samples s JOIN {_ANSWERED} WHERE s.position IS NOT NULL)""",
            setup=setup,
        ) or (0, 0)

    def failures(self, *, setup: str, judge: str) -> list[tuple[str, str, int, str]]:
        """Calls for samples of the plan that failed for good: role, cause, samples, the newest message."""
        return list(
            self._db.rows(
                lambda row: (str(row[0]), str(row[1]), int(row[2]), str(row[3])),
                """SELECT CASE i.hash WHEN :setup THEN 'target' ELSE 'judge' END, f.cause, count(*),
                f.message, max(f.created) FROM failures f JOIN identities i ON i.id = f.asked_of
                JOIN samples s ON s.id = f.sample AND s.position IS NOT NULL
                WHERE i.hash IN (:setup, :judge) GROUP BY i.id, f.cause ORDER BY count(*) DESC""",
                setup=setup,
                judge=judge,
            )
        )

    def last_written(self) -> datetime | None:
        """When something was last stored; None in a store without a run."""
        return self._db.first(
            lambda row: row[0] and datetime.fromisoformat(row[0]).astimezone(UTC),
            """SELECT max(t) FROM (SELECT (SELECT created FROM responses ORDER BY id DESC LIMIT 1) t
            UNION ALL SELECT (SELECT created FROM labels ORDER BY id DESC LIMIT 1)
            UNION ALL SELECT max(created) FROM failures
            UNION ALL SELECT max(coalesce(ended, started)) FROM invocations)""",
        )

    def copy(self) -> bytes:
        """The store as one file, as it is now; it is opened like any other."""
        return self._db.copy()

    # Groups of additions

    @contextmanager
    def grouped(self) -> Iterator[None]:
        """Within the block, what is added can be read at once but is on disk only after `commit`."""
        with self._db.grouped():
            try:
                yield
            finally:
                self._save_spend()

    def commit(self) -> None:
        """Commit what was added since the last time: all of it or nothing.

        Raises:
            RunError: it cannot be written, or a part of it could not.
        """
        with suppress(RunError):  # what cannot be written fails the commit
            self._save_spend()
        self._db.commit()

    def _save_spend(self) -> None:
        unsaved, self._unsaved = self._unsaved, {}
        for asked, usage in unsaved.items():
            self._db.write(_ADD_SPEND, **asdict(asked), **asdict(usage))


def _by_position(found: Iterable[tuple[int, T]]) -> Callable[[int], Iterable[T]]:
    """Looks up values that come in the order of their positions, by positions that rise."""
    groups = groupby(found, itemgetter(0))
    ahead = next(groups, None)

    def at(position: int) -> Iterable[T]:
        nonlocal ahead
        if ahead is None or ahead[0] != position:
            return ()
        here = [value for _, value in ahead[1]]
        ahead = next(groups, None)
        return here

    return at


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
