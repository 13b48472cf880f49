"""One SQLite file per run: what was planned, answered, labelled and what failed.

What is added is committed at once, or, within `grouped`, by `commit`. No image bytes and no keys are ever in
it. The tables are described in docs/file-formats.md.
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Final, Self

import orjson
from filelock import FileLock, Timeout

from safemt.benchmark.read import sample_key
from safemt.core.errors import CallFailure, RunError
from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Label, Method, Outcome, Scenario
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import OPENAI_BASE_URL, origin_of
from safemt.endpoints.spend import Asked, Usage
from safemt.judges.base import Judgement
from safemt.run.verdicts import REFUSAL_KEY, VERDICT_TABLES, Verdicts
from safemt.stats.scores import ScoredSample

STORE_FILE: Final = "run.sqlite"
LOCK_FILE: Final = "run.lock"
SCHEMA_VERSION: Final = 1

_LOCK_SECONDS: Final = 0.5
_APPLICATION_ID: Final = 0x5AFE_3717
_SCHEMA: Final = """
CREATE TABLE invocations (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, ending TEXT,
    setup TEXT NOT NULL, judge TEXT NOT NULL, manifest TEXT NOT NULL
);
CREATE TABLE samples (
    key TEXT NOT NULL PRIMARY KEY, position INTEGER, query_id TEXT NOT NULL, turns INTEGER NOT NULL,
    scenario TEXT NOT NULL, method TEXT, twin_of TEXT, language TEXT NOT NULL,
    question TEXT NOT NULL, dialogue TEXT NOT NULL, image TEXT
);
CREATE UNIQUE INDEX planned ON samples (position) WHERE position IS NOT NULL;
CREATE TABLE responses (
    key TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL, blocked INTEGER NOT NULL, refused INTEGER NOT NULL,
    judged INTEGER NOT NULL, finish_reason TEXT, model TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
    attempts INTEGER NOT NULL, seconds REAL NOT NULL, created TEXT NOT NULL
);
CREATE TABLE answers (
    setup TEXT NOT NULL, sample TEXT NOT NULL, response TEXT NOT NULL, PRIMARY KEY (setup, sample)
) WITHOUT ROWID;
CREATE TABLE labels (
    judge TEXT NOT NULL, sample TEXT NOT NULL, response TEXT NOT NULL, label TEXT NOT NULL,
    cause TEXT NOT NULL, reasoning TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, created TEXT NOT NULL, PRIMARY KEY (judge, sample, response)
) WITHOUT ROWID;
CREATE TABLE failures (
    asked_of TEXT NOT NULL, sample TEXT NOT NULL, cause TEXT NOT NULL, message TEXT NOT NULL,
    created TEXT NOT NULL, PRIMARY KEY (asked_of, sample)
) WITHOUT ROWID;
"""
"""`failures.asked_of` is the setup or the judge whose call failed; a later success deletes the row."""

_SPEND: Final = """
CREATE TABLE spend (
    role TEXT NOT NULL, model TEXT NOT NULL, origin TEXT NOT NULL, calls INTEGER NOT NULL,
    estimated INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (role, model, origin)
) WITHOUT ROWID;
"""
"""What was paid for, answers of no use included. Stores of safemt 0.1 lack it and are given it when a run
continues them."""

_STATE: Final = """
    FROM samples s
    LEFT JOIN answers a ON a.setup = :setup AND a.sample = s.key
    LEFT JOIN responses r ON r.key = a.response
    LEFT JOIN labels l ON l.judge = :judge AND l.sample = s.key AND l.response = a.response
    WHERE s.position IS NOT NULL
"""
_OPEN: Final = """
    (r.key IS NULL OR (r.judged AND s.twin_of IS NULL AND (l.label IS NULL OR l.label = 'ungraded')))
"""


_Kind = type | tuple[type, ...]
_MAYBE_TEXT: Final = (str, NoneType)
_MAYBE_NUMBER: Final = (int, NoneType)
_SAMPLE: Final[tuple[_Kind, ...]] = (str, int, str, *[_MAYBE_TEXT] * 2, *[str] * 3, _MAYBE_TEXT)
_STATE_OF: Final[tuple[_Kind, ...]] = (_MAYBE_TEXT, *[_MAYBE_NUMBER] * 3, *[_MAYBE_TEXT] * 4)
"""The types of what is stored of a sample, and of how far it came."""


@dataclass(frozen=True, slots=True)
class Work:
    """A planned sample that is not finished."""

    position: int
    key: str
    sample: Sample


@dataclass(frozen=True, slots=True)
class Invocation:
    """One `safemt run` on a store."""

    setup: str
    judge: str
    manifest: dict[str, Any]
    started: str
    ended: str | None
    ending: str | None


class Store:
    """The store of one run. Use it from one thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: FileLock | None) -> None:
        self._db = connection
        self._lock = lock
        self.verdicts = Verdicts(
            connection, query=self._all, transaction=self._transaction, intact=partial(intact, path)
        )
        self._grouping = False
        self._undone = False
        """Whether something in the present group could not be written, so that nothing of it is stored."""
        self.path = path

    @classmethod
    def open_for_run(cls, folder: Path) -> Self:
        """Open or make the store of the run directory `folder`, for this process alone.

        Raises:
            RunError: another process holds it, it cannot be written, or it is not a store of this version.
        """
        path = folder / STORE_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK_FILE)
            # A moment, since `is_in_use` of another process may hold it for a moment.
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout:
            raise RunError(
                f"Another safemt process is working in {folder}. Wait for it, or give another --out."
            ) from None
        except FileExistsError:
            raise RunError(f"{folder} is a file; a run needs a directory. Give another --out.") from None
        except OSError as error:
            raise RunError(
                f"The run directory {folder} cannot be used: {error.strerror or error}. Give another --out."
            ) from error
        with ExitStack() as undo:
            undo.callback(lock.release)
            connection, version = _connect(path, "rwc")
            undo.callback(connection.close)
            with _explained(path):
                # A dialogue rarely fits twice into a page of the usual 4 KB; half of the file was waste.
                connection.execute("PRAGMA page_size = 8192")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                # 32 MB: each checkpoint waits for the disk, and keys that are hashes touch pages all over.
                connection.execute("PRAGMA wal_autocheckpoint = 4000")
                if version == 0:
                    connection.executescript(
                        f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID};"
                        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                    )
                _add_spend_table(connection)
                connection.executescript(f"BEGIN; {VERDICT_TABLES} COMMIT;")
            undo.pop_all()
        return cls(connection, path, lock)

    @classmethod
    def open_for_reading(cls, folder: Path) -> "Store":
        """Open the store of a run directory as it is now, without changing it; a run may be going on.

        Raises:
            RunError: there is none, or it is not a store of this version.
        """
        path = folder / STORE_FILE
        if not path.is_file():
            raise RunError(f"{folder} is no run directory: it holds no {STORE_FILE}.")
        connection, version = _connect(path, "ro")
        if version == 0:
            connection.close()
            raise RunError(f"{path} is empty: the run never began. Start it again.")
        connection.execute("BEGIN")
        return cls(connection, path, None)

    def close(self) -> None:
        """Close the file and let others have it."""
        if self._lock is not None:
            # Out of WAL the store is one plain file, readable also where the reader may not write.
            # Somebody who reads it just now keeps it in WAL, which does no harm.
            with suppress(sqlite3.Error):
                self._db.execute("PRAGMA busy_timeout = 0")
                self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def begin(
        self,
        *,
        setup: str,
        judge: str,
        manifest: dict[str, Any],
        samples: Sequence[Sample],
        positions: Sequence[int] | None = None,
    ) -> None:
        """Record an invocation and make `samples`, in their order, the plan.

        `positions`, rising, are their places in the whole plan of which they are a part.

        Raises:
            RunError: the store cannot be written.
        """
        with self._transaction():
            self._db.execute(
                "INSERT INTO invocations (started, setup, judge, manifest) VALUES (?, ?, ?, ?)",
                (_now(), setup, judge, json.dumps(manifest)),  # a path may hold what UTF-8 cannot
            )
            # A plan is mostly the one of last time: what stands in its place already is left alone.
            planned = {
                key: place
                for key, *place in self._db.execute(
                    "SELECT key, position, image, language FROM samples WHERE position IS NOT NULL"
                )
            }
            new: list[tuple[str, int, Sample]] = []
            for position, sample in zip(positions or range(len(samples)), samples, strict=True):
                key = sample_key(sample)
                if planned.get(key) == [position, _image_text(sample.image), sample.language]:
                    del planned[key]
                else:
                    new.append((key, position, sample))
            self._db.executemany("UPDATE samples SET position = NULL WHERE key = ?", zip(planned))
            self._db.executemany(
                """INSERT INTO samples VALUES (:key, :position, :query_id, :turns, :scenario, :method,
                :twin_of, :language, :question, :dialogue, :image)
                ON CONFLICT (key) DO UPDATE SET position = :position, image = :image, language = :language""",
                (_planned_row(*each) for each in new),
            )

    def end(self, ending: str) -> None:
        """Record how the invocation ended: `complete`, `stopped: …`."""
        with self._transaction():
            self._db.execute(
                "UPDATE invocations SET ended = ?, ending = ? WHERE id = (SELECT max(id) FROM invocations)",
                (_now(), ending),
            )

    def invocation(self) -> Invocation:
        """The newest invocation.

        Raises:
            RunError: there is none.
        """
        row = self._one(
            "SELECT setup, judge, manifest, started, ended, ending FROM invocations ORDER BY id DESC LIMIT 1"
        )
        if row is None:
            raise RunError(f"{self.path} holds no run yet.")
        with intact(self.path):
            setup, judge, manifest, *times = _typed(row, *[str] * 4, _MAYBE_TEXT, _MAYBE_TEXT)
            return Invocation(setup, judge, dict(json.loads(manifest)), *times)

    def first_manifest(self) -> dict[str, Any] | None:
        """The manifest of the first invocation; None in a new store."""
        row = self._one("SELECT manifest FROM invocations ORDER BY id LIMIT 1")
        with intact(self.path):
            return None if row is None else dict(json.loads(row[0]))

    def plan(self) -> list[Sample]:
        """The planned samples, in their order."""
        rows = self._all(
            """SELECT query_id, turns, scenario, method, twin_of, language, question, dialogue, image
            FROM samples WHERE position IS NOT NULL ORDER BY position"""
        )
        with intact(self.path):
            return [_sample(list(row)) for row in rows]

    def positions(self) -> list[int]:
        """The places of the planned samples in the whole plan, in their order."""
        return [p for (p,) in self._all("SELECT position FROM samples WHERE position IS NOT NULL ORDER BY 1")]

    def open_work(
        self, *, setup: str, judge: str, after: int, most: int, answered_only: bool = False
    ) -> list[Work]:
        """Up to `most` unfinished samples of the plan, at positions beyond `after`.

        With `answered_only`, those that lack nothing but a label.
        """
        rows = self._all(  # the parts are constants of this module
            f"""SELECT s.position, s.key, s.query_id, s.turns, s.scenario, s.method, s.twin_of, s.language,
            s.question, s.dialogue, s.image {_STATE} AND {_OPEN} AND s.position > :after
            AND (NOT :answered_only OR r.key IS NOT NULL) ORDER BY s.position LIMIT :most""",
            {"setup": setup, "judge": judge, "after": after, "most": most, "answered_only": answered_only},
        )
        with intact(self.path):
            return [Work(position, key, _sample(row)) for position, key, *row in rows]

    def count_open(self, *, setup: str, judge: str) -> int:
        """How many samples of the plan are unfinished."""
        row = self._one(f"SELECT count(*) {_STATE} AND {_OPEN}", {"setup": setup, "judge": judge})
        return int(row[0]) if row else 0

    def count_graded(self, *, setup: str, judge: str) -> list[tuple[int, Label, int]]:
        """How many harmful samples of the plan have which label: turns, `safe` or `unsafe`, number."""
        rows = self._all(  # the parts are constants of this module
            f"""SELECT s.turns, CASE WHEN r.judged THEN l.label ELSE 'safe' END AS verdict, count(*)
            {_STATE} AND s.twin_of IS NULL AND r.key IS NOT NULL
            AND verdict IN ('safe', 'unsafe') GROUP BY s.turns, verdict""",
            {"setup": setup, "judge": judge},
        )
        with intact(self.path):
            return [(turns, Label(label), count) for turns, label, count in rows]

    def response(self, key: str) -> Reply | None:
        """The stored response under a call's key."""
        row = self._one(
            "SELECT text, blocked, finish_reason, model, prompt_tokens, completion_tokens FROM responses"
            " WHERE key = ?",
            (key,),
        )
        if row is None:
            return None
        with intact(self.path):
            text, blocked, *about = _typed(row, str, int, *[_MAYBE_TEXT] * 2, *[_MAYBE_NUMBER] * 2)
            return Reply(text, bool(blocked), *about)

    def label(self, *, judge: str, sample: str, response: str) -> Label | None:
        """What a judge said of a response to a sample, if it could tell."""
        row = self._one(
            "SELECT label FROM labels"
            " WHERE judge = ? AND sample = ? AND response = ? AND label != 'ungraded'",
            (judge, sample, response),
        )
        with intact(self.path):
            return None if row is None else Label(row[0])

    def add_response(
        self, key: str, reply: Reply, *, refused: bool, judged: bool, attempts: int, seconds: float
    ) -> None:
        """Store a response under its call's key; the first one stays.

        `judged` says whether the response is one for a judge to label.
        """
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO responses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key, reply.text, reply.blocked, refused, judged, reply.finish_reason, reply.model,
                    reply.prompt_tokens, reply.completion_tokens, attempts, round(seconds, 3), _now(),
                ),
            )  # fmt: skip

    def add_answer(self, *, setup: str, sample: str, response: str) -> None:
        """Say which stored response answers a sample."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (setup, sample, response))
            self._db.execute("DELETE FROM failures WHERE asked_of = ? AND sample = ?", (setup, sample))

    def add_label(self, *, judge: str, sample: str, response: str, judgement: Judgement) -> None:
        """Store a judge's label; it replaces an earlier one of the same judge."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    judge, sample, response, judgement.label, judgement.cause, judgement.reasoning,
                    judgement.prompt_tokens, judgement.completion_tokens, _now(),
                ),
            )  # fmt: skip
            self._db.execute("DELETE FROM failures WHERE asked_of = ? AND sample = ?", (judge, sample))

    def add_failure(self, *, asked_of: str, sample: str, failure: CallFailure) -> None:
        """Store why a call to a target (`asked_of` a setup) or a judge failed for good."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)",
                (asked_of, sample, failure.cause, failure.message, _now()),
            )

    def scored_samples(self, *, setup: str, judge: str) -> Iterator[ScoredSample]:
        """Every sample of the plan with its label and outcome; label None while it is still to do."""
        rows = self._all(  # the parts are constants of this module
            f"""SELECT s.query_id, s.turns, s.scenario, s.method, s.twin_of, r.key, r.blocked, r.refused,
            r.judged, l.label, l.cause,
            (SELECT cause FROM failures f WHERE f.asked_of = :setup AND f.sample = s.key),
            (SELECT cause FROM failures f WHERE f.asked_of = :judge AND f.sample = s.key)
            {_STATE} ORDER BY s.position""",  # noqa: S608
            {"setup": setup, "judge": judge},
        )
        with intact(self.path):
            for row in rows:
                query_id, turns, scenario, method, twin_of, *state = _typed(
                    row, str, int, str, *[_MAYBE_TEXT] * 2, *_STATE_OF
                )
                label, outcome, cause = _end_of(twin_of is not None, *state)
                yield ScoredSample(
                    query_id=query_id,
                    turns=turns,
                    label=label,
                    outcome=outcome,
                    cause=cause,
                    scenario=scenario,
                    method=method,
                    twin_of=twin_of,
                )

    def other_judges(self, *, setup: str, judge: str) -> dict[str, str]:
        """Judges other than `judge` that labelled answers of the plan: id → name."""
        with intact(self.path):
            names: dict[str, str] = {
                entry["id"]: str(entry["name"])
                for (text,) in self._all("SELECT manifest FROM invocations")
                if (entry := json.loads(text)["judge"])
            }
        rows = self._all(
            """SELECT DISTINCT l.judge FROM samples s
            JOIN answers a ON a.setup = :setup AND a.sample = s.key
            JOIN labels l ON l.sample = s.key AND l.response = a.response
            WHERE s.position IS NOT NULL AND l.judge != :judge""",
            {"setup": setup, "judge": judge},
        )
        return {str(identity): names.get(identity, str(identity)) for (identity,) in rows}

    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of all stored calls, targets, judges and moderators together."""
        row = self._one(
            """SELECT sum(p), sum(c) FROM (
            SELECT sum(prompt_tokens) p, sum(completion_tokens) c FROM responses
            UNION ALL SELECT sum(prompt_tokens), sum(completion_tokens) FROM labels)"""
        )
        prompt, completion = self.verdicts.tokens()
        with intact(self.path):
            return (prompt + int(row[0] or 0), completion + int(row[1] or 0)) if row else (prompt, completion)

    def answer_tokens(self, *, setup: str) -> tuple[int, int]:
        """Prompt and completion tokens of the target's calls that answer the plan under a setup.

        Of a live dialogue without a moderator only the last call is known to belong to it.
        """
        moderated = self.verdicts.moderated_responses
        row = self._one(  # the parts are constants of this package
            f"""SELECT sum(prompt_tokens), sum(completion_tokens) FROM responses WHERE key IN (
            SELECT t.response FROM (SELECT setup, sample, response FROM answers {moderated}) t
            JOIN samples s ON s.key = t.sample AND s.position IS NOT NULL WHERE t.setup = :setup)""",  # noqa: S608
            {"setup": setup},
        )
        with intact(self.path):
            return int(row[0] or 0), int(row[1] or 0)

    def failures(self, *, setup: str, judge: str) -> list[tuple[str, str, int, str]]:
        """Calls for samples of the plan that failed for good: role, cause, samples, the newest message."""
        rows = self._all(
            """SELECT CASE f.asked_of WHEN :setup THEN 'target' ELSE 'judge' END, f.cause, count(*),
            f.message, max(f.created)
            FROM failures f JOIN samples s ON s.key = f.sample AND s.position IS NOT NULL
            WHERE f.asked_of IN (:setup, :judge) GROUP BY f.asked_of, f.cause ORDER BY count(*) DESC""",
            {"setup": setup, "judge": judge},
        )
        return [(role, cause, count, message) for role, cause, count, message, _ in rows]

    def last_written(self) -> str:
        """When something was last stored: UTC, ISO."""
        row = self._one(
            """SELECT max(t) FROM (SELECT max(created) t FROM responses UNION ALL
            SELECT max(created) FROM labels UNION ALL SELECT max(created) FROM failures UNION ALL
            SELECT max(coalesce(ended, started)) FROM invocations)"""
        )
        return str(row[0])

    def copy(self) -> bytes:
        """The store as one file, as it is now; it is opened like any other.

        Raises:
            RunError: there is no room for it.
        """
        with tempfile.TemporaryDirectory(prefix="safemt-") as folder, _explained(self.path):
            path = Path(folder) / STORE_FILE
            self._db.execute("VACUUM INTO ?", (str(path),))
            return path.read_bytes()

    def spend(self) -> dict[Asked, Usage]:
        """What this run directory has spent, by whom it asked."""
        if not _has_spend_table(self._db):
            return _spent_before(self._db)
        return {
            Asked(*who): Usage(calls=calls, estimated=estimated, prompt_tokens=p, completion_tokens=c)
            for *who, calls, estimated, p, c in self._all("SELECT * FROM spend")
        }

    def add_spend(self, asked: Asked, usage: Usage) -> None:
        """Add to what was spent."""
        with self._transaction():
            _add_spend(self._db, asked, usage)

    @contextmanager
    def grouped(self) -> Iterator[None]:
        """Within the block, what is added can be read at once but is on disk only after `commit`."""
        self._grouping = True
        try:
            yield
        finally:
            self._grouping = self._undone = False
            self.commit()

    def commit(self) -> None:
        """Commit what was added since the last time: all of it or nothing.

        Raises:
            RunError: it cannot be written, or a part of it could not.
        """
        if self._undone:
            self._undone = False
            self._db.rollback()
            raise RunError(f"The store {self.path} could not be written.")
        with _explained(self.path):
            try:
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self.path):
            try:
                if not self._db.in_transaction:
                    self._db.execute("BEGIN IMMEDIATE")
                yield
                if not self._grouping:
                    self._db.commit()
            except BaseException:
                self._db.rollback()
                self._undone = self._grouping
                raise

    def _one(self, query: str, values: Any = ()) -> Any:
        with _explained(self.path):
            return self._db.execute(query, values).fetchone()

    def _all(self, query: str, values: Any = ()) -> list[Any]:
        with _explained(self.path):
            return self._db.execute(query, values).fetchall()


def is_in_use(folder: Path) -> bool | None:
    """Whether a process is working in a run directory; None where that cannot be told."""
    path = folder / LOCK_FILE
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        return None
    lock.release()
    return False


def _end_of(
    twin: bool,
    response: str | None,
    blocked: int | None,
    refused: int | None,
    judged: int | None,
    label: str | None,
    cause: str | None,
    target_failure: str | None,
    judge_failure: str | None,
) -> tuple[Label | None, Outcome | None, str]:
    """Label, outcome and the cause of an `ungraded` label, from what the store holds of one sample."""
    if response is None:
        return (Label.UNGRADED, Outcome.ERROR, target_failure) if target_failure else (None, None, "")
    if response == REFUSAL_KEY:
        return Label.SAFE, Outcome.MODERATED, ""
    outcome = Outcome.BLOCKED if blocked else Outcome.REFUSED if refused else Outcome.COMPLIED
    if twin or not judged:
        return Label.SAFE, outcome, ""
    if label is None:
        return (Label.UNGRADED, outcome, f"judge_{judge_failure}") if judge_failure else (None, outcome, "")
    if label == Label.UNSAFE and not blocked:
        outcome = Outcome.COMPLIED
    return Label(label), outcome, cause or ""


def _has_our_tables(connection: sqlite3.Connection) -> bool:
    """Whether all tables are as made, and nothing else (a view, a trigger) acts in their place."""
    query = "SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL"
    found = {(kind, sql) for kind, sql in connection.execute(query)}
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_SCHEMA)
        ours = set(fresh.execute(query))
    return ours <= found and {kind for kind, _ in found} <= {"table", "index"}


def _connect(path: Path, mode: str) -> tuple[sqlite3.Connection, int]:
    """A connection to a store and its version, 0 for an empty file. Another program's file is not touched."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10.0)
    except sqlite3.Error as error:
        raise RunError(f"The store {path} cannot be opened: {error}.") from error
    try:
        version, application, tables = (
            connection.execute(query).fetchone()[0]
            for query in (
                "PRAGMA user_version",
                "PRAGMA application_id",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if application != _APPLICATION_ID and (application or version or tables):
            raise RunError(f"{path} is not a store of safemt; it is left alone. Give another --out.")
        if application and version != SCHEMA_VERSION:
            raise RunError(
                f"{path} is of store version {version}; this safemt reads version {SCHEMA_VERSION}. "
                "Use the safemt that made it, or give another --out."
            )
        if application and not _has_our_tables(connection):
            raise RunError(
                f"The store {path} is damaged: its tables are not those of safemt. Restore a copy of it, or "
                "give another --out."
            )
    except RunError:
        connection.close()
        raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise RunError(
                f"{path} is not a store of safemt; it is left alone. Give another --out."
            ) from error
        raise RunError(f"The store {path} cannot be opened: {error}.") from error
    return connection, version


def _has_spend_table(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'spend'")
    return found.fetchone() is not None


def _add_spend_table(connection: sqlite3.Connection) -> None:
    """Give a store that has no account of what was spent one, from what its responses and labels say."""
    if _has_spend_table(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_SPEND)
    for asked, usage in _spent_before(connection).items():
        _add_spend(connection, asked, usage)
    connection.execute("COMMIT")


def _add_spend(connection: sqlite3.Connection, asked: Asked, usage: Usage) -> None:
    connection.execute(
        """INSERT INTO spend VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
        calls = calls + excluded.calls, estimated = estimated + excluded.estimated,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens""",
        (
            asked.role, asked.model, asked.origin, usage.calls, usage.estimated, usage.prompt_tokens,
            usage.completion_tokens,
        ),
    )  # fmt: skip


def _spent_before(connection: sqlite3.Connection) -> dict[Asked, Usage]:
    """The tokens of the stored responses and labels, for a store without an account of them.

    Answers of no use are missing from it, and a panel stands as one model.
    """
    spent: dict[Asked, Usage] = {}
    tokens = "count(*), sum(prompt_tokens), sum(completion_tokens)"
    target = connection.execute(f"SELECT {tokens} FROM responses").fetchone()  # noqa: S608
    manifests = [json.loads(text) for (text,) in connection.execute("SELECT manifest FROM invocations")]
    judges = {
        manifest["judge"]["id"]: (manifest["judge"]["name"], manifest.get("judge_base_url"))
        for manifest in manifests
        if "judge" in manifest
    }
    counted = [
        ("judge", *judges.get(identity, (identity, None)), *sums)
        for identity, *sums in connection.execute(f"SELECT judge, {tokens} FROM labels GROUP BY judge")  # noqa: S608
    ]
    if manifests and "target" in manifests[0]:
        name, base_url = manifests[0]["target"]["name"], manifests[0].get("target_base_url")
        counted.append(("target", name, base_url, *target))
    for role, name, base_url, calls, prompt, completion in counted:
        if prompt or completion:
            asked = Asked(role, name, origin_of(base_url or OPENAI_BASE_URL))
            spent[asked] = Usage(calls=calls, prompt_tokens=prompt or 0, completion_tokens=completion or 0)
    return spent


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where its very schema is damaged
        raise RunError(
            f"The store {path} cannot be used: {error}. Check the disk and the permissions of its folder; "
            "what was stored before is safe."
        ) from error


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Within the block, something that no run wrote is a damaged store: SQLite itself notices little.

    Raises:
        RunError: it is.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise RunError(
            f"The store {path} is damaged: something in it is not what was written ({type(error).__name__}). "
            "Restore a copy of it, or give another run directory."
        ) from error


def _typed(row: Sequence[Any], *kinds: _Kind) -> Sequence[Any]:
    if not all(map(isinstance, row, kinds)):
        raise TypeError("a value of another type")
    return row


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _planned_row(key: str, position: int, sample: Sample) -> dict[str, object]:
    return {
        "key": key,
        "position": position,
        "query_id": sample.query_id,
        "turns": sample.turns,
        "scenario": sample.scenario.value,
        "method": sample.method,
        "twin_of": sample.twin_of,
        "language": sample.language,
        "question": sample.question,
        "dialogue": orjson.dumps([m.content for m in sample.dialogue]).decode(),
        "image": _image_text(sample.image),
    }


def _image_text(image: ImageRef | None) -> str | None:
    if image is None:
        return None
    return json.dumps(
        [image.sha256, image.media_type, image.width, image.height, image.path], ensure_ascii=False
    )


def _sample(row: list[Any]) -> Sample:
    query_id, turns, scenario, method, twin_of, language, question, dialogue, image = _typed(row, *_SAMPLE)
    contents = orjson.loads(dialogue)
    return Sample(
        query_id=query_id,
        turns=turns,
        scenario=Scenario(scenario),
        question=question,
        dialogue=tuple(
            Message(role="assistant" if position % 2 else "user", content=content)
            for position, content in enumerate(_typed(contents, *[str] * len(contents)))
        ),
        image=ImageRef(*orjson.loads(image)) if image else None,
        method=Method(method) if method else None,
        twin_of=twin_of,
        language=language,
    )
