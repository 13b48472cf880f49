"""The SQLite file behind a store: its tables, how it is opened and written, and how to tell what is wrong."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from filelock import FileLock, Timeout

from safemt.core.errors import RunError

STORE_FILE: Final = "run.sqlite"
LOCK_FILE: Final = "run.lock"
SCHEMA_VERSION: Final = 2

_LOCK_SECONDS: Final = 0.5
_APPLICATION_ID: Final = 0x5AFE_3717
TABLES: Final = """
CREATE TABLE identities (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE);
CREATE TABLE invocations (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, ending TEXT,
    setup INTEGER NOT NULL REFERENCES identities, judge INTEGER NOT NULL REFERENCES identities,
    manifest TEXT NOT NULL
);
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, position INTEGER, query_id TEXT NOT NULL,
    turns INTEGER NOT NULL, scenario TEXT NOT NULL, method TEXT, twin_of TEXT, language TEXT NOT NULL,
    question TEXT NOT NULL, dialogue TEXT NOT NULL, image TEXT
);
CREATE UNIQUE INDEX planned ON samples (position) WHERE position IS NOT NULL;
CREATE TABLE responses (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, text TEXT NOT NULL, blocked INTEGER NOT NULL,
    refused INTEGER NOT NULL, judged INTEGER NOT NULL, finish_reason TEXT, model TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, attempts INTEGER NOT NULL, seconds REAL NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY, moderator INTEGER NOT NULL REFERENCES identities,
    conversation TEXT NOT NULL, action TEXT NOT NULL, degraded TEXT, verdict TEXT NOT NULL,
    created TEXT NOT NULL, UNIQUE (conversation, moderator)
);
CREATE TABLE answers (
    setup INTEGER NOT NULL REFERENCES identities, sample INTEGER NOT NULL REFERENCES samples,
    turn INTEGER NOT NULL, last INTEGER NOT NULL, response INTEGER NOT NULL REFERENCES responses,
    verdict INTEGER REFERENCES verdicts, PRIMARY KEY (setup, sample, turn)
) WITHOUT ROWID;
CREATE TABLE labels (
    id INTEGER PRIMARY KEY, sample INTEGER NOT NULL REFERENCES samples,
    response INTEGER NOT NULL REFERENCES responses, judge INTEGER NOT NULL REFERENCES identities,
    label TEXT NOT NULL, cause TEXT NOT NULL, reasoning TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, created TEXT NOT NULL, UNIQUE (sample, response, judge)
);
CREATE TABLE failures (
    asked_of INTEGER NOT NULL REFERENCES identities, sample INTEGER NOT NULL REFERENCES samples,
    cause TEXT NOT NULL, message TEXT NOT NULL, created TEXT NOT NULL, PRIMARY KEY (asked_of, sample)
) WITHOUT ROWID;
CREATE TABLE spend (
    role TEXT NOT NULL, model TEXT NOT NULL, origin TEXT NOT NULL, calls INTEGER NOT NULL,
    estimated INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (role, model, origin)
) WITHOUT ROWID;
"""
"""Setups, judges and moderators, samples, responses and conversations are identified by a hash. Each hash is
kept once; everything else refers to its row by number, so that new rows go to the end of their tables.

`answers` has a row for each user turn that was answered; `last` marks the one that answers the sample.
`failures.asked_of` is the setup or the judge whose call failed.
"""

T = TypeVar("T")


def is_run(folder: Path) -> bool:
    """Whether `folder` is a run directory, rather than a folder of label files, say."""
    return (folder / STORE_FILE).is_file()


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


class Database:
    """An open file, and the groups in which it is written."""

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: FileLock | None) -> None:
        self.path = path
        self.connection = connection
        self._lock = lock
        self.grouping = False
        self._failed: str | None = None
        """Why something in the present group could not be written, so that nothing of it is stored."""

    @classmethod
    def for_run(cls, folder: Path) -> Self:
        """Open or make the file in the run directory `folder`, for this process alone.

        Raises:
            RunError: another process holds it, it cannot be written, or it is not a store of this version.
        """
        path = folder / STORE_FILE
        lock = _lock(folder)
        with ExitStack() as undo:
            undo.callback(lock.release)
            connection, is_made = _connect(path, "rwc")
            undo.callback(connection.close)
            with explained(path):
                # A dialogue rarely fits twice into a page of the usual 4 KB; half of the file was waste.
                connection.execute("PRAGMA page_size = 8192")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                # 32 MB, since each checkpoint waits for the disk.
                connection.execute("PRAGMA wal_autocheckpoint = 4000")
                if not is_made:
                    connection.executescript(
                        f"BEGIN; {TABLES} PRAGMA application_id = {_APPLICATION_ID}; "
                        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                    )
            undo.pop_all()
        return cls(connection, path, lock)

    @classmethod
    def for_reading(cls, folder: Path) -> Self:
        """Open the file in a run directory as it is now, without changing it; a run may be going on.

        Raises:
            RunError: there is none, or it is not a store of this version.
        """
        path = folder / STORE_FILE
        if not path.is_file():
            raise RunError(
                "not_a_run", f"{folder} is not a run directory: it has no {STORE_FILE}.", path=folder
            )
        connection, is_made = _connect(path, "ro")
        if not is_made:
            connection.close()
            raise RunError("no_run_yet", f"{path} is empty: the run never began. Start it again.", path=path)
        connection.execute("BEGIN")
        return cls(connection, path, None)

    def close(self) -> None:
        """Close the file and let others have it."""
        if self._lock is not None:
            # Out of WAL the store is one plain file, readable also where the reader may not write.
            # Somebody who reads it just now keeps it in WAL, which does no harm.
            with suppress(sqlite3.Error):
                self.connection.execute("PRAGMA busy_timeout = 0")
                self.connection.execute("PRAGMA journal_mode = DELETE")
        self.connection.close()
        if self._lock is not None:
            self._lock.release()

    def rows(self, read: Callable[[Any], T], query: str, **values: object) -> Iterator[T]:
        """What a query gives, each row as `read` reads it.

        Raises:
            RunError: the file cannot be read, or `read` cannot make anything of a row.
        """
        with reading(self.path):
            for row in self.connection.execute(query, values):
                yield read(row)

    def first(self, read: Callable[[Any], T], query: str, **values: object) -> T | None:
        """The same of the first row; None if there is none."""
        with reading(self.path):
            row = self.connection.execute(query, values).fetchone()
            return None if row is None else read(row)

    def write(self, query: str, **values: object) -> None:
        """Make a change, in a transaction of its own unless there is one; `:now` in the query is the time.

        Raises:
            RunError: the file cannot be written.
        """
        with self.transaction():
            self.connection.execute(query, {**values, "now": _now()})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Within the block, all changes are made or none; on disk at its end, unless it is in a group.

        Raises:
            RunError: the file cannot be written.
        """
        outer = not self.connection.in_transaction
        with explained(self.path):
            try:
                if outer:
                    self.connection.execute("BEGIN IMMEDIATE")
                yield
                if outer and not self.grouping:
                    self.connection.commit()
            except BaseException as error:
                self.connection.rollback()
                self._failed = str(error) if self.grouping else None
                raise

    @contextmanager
    def grouped(self) -> Iterator[None]:
        """Within the block, changes can be read at once but are on disk only after `commit`."""
        self.grouping = True
        try:
            yield
        finally:
            self.grouping, self._failed = False, None
            self.commit()

    def commit(self) -> None:
        """Commit what was changed since the last time: all of it or nothing.

        Raises:
            RunError: it cannot be written, or a part of it could not.
        """
        failed, self._failed = self._failed, None
        with explained(self.path):
            try:
                if failed is not None:
                    raise sqlite3.OperationalError(failed)
                self.connection.commit()
            except BaseException:
                self.connection.rollback()
                raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an error of SQLite in the block into one that names the store.

    Raises:
        RunError: the store cannot be read or written.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter if the schema itself is damaged
        raise RunError(
            "store_unusable",
            f"The store {path} cannot be used: {error}. Check the disk and the permissions of its folder. "
            "What was stored before is safe.",
            path=path,
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """`explained`, for a block that also interprets what it reads: SQLite itself notices little damage.

    Raises:
        RunError: the store cannot be read, or holds something that no run wrote.
    """
    try:
        with explained(path):
            yield
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise RunError(
            "store_damaged",
            f"The store {path} is damaged: it holds something that no run wrote ({type(error).__name__}). "
            "Restore a copy of it, or choose another `out`.",
            path=path,
        ) from error


def _lock(folder: Path) -> FileLock:
    """Make the run directory `folder`, if it is not there, and lock it for this process.

    Raises:
        RunError: another process holds it, or there can be no such directory.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE)
        # A moment, since `is_in_use` of another process may hold it for a moment.
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout:
        code = "run_in_use"
        said = f"Another safemt process is working in {folder}. Wait for it to finish, or"
    except FileExistsError:
        code, said = "not_a_directory", f"{folder} is a file, and a run needs a directory. Please"
    except OSError as error:
        code = "unusable_directory"
        said = f"The run directory {folder} cannot be used: {error.strerror or error}. Mend that, or"
    else:
        return lock
    raise RunError(code, f"{said} choose another `out`.", path=folder)


def _connect(path: Path, mode: str) -> tuple[sqlite3.Connection, bool]:
    """Open a store by SQLite's `mode` (`ro`, `rwc`), and say whether it has its tables or is still empty.

    Another program's file is not touched.

    Raises:
        RunError: the file cannot be opened, is not a store, or is one of another version.
    """
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10.0)
    except sqlite3.Error as error:
        raise _not_opened(path, error) from error
    try:
        return connection, _require_ours(connection, path)
    except RunError:
        connection.close()
        raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        foreign = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB
        raise _not_ours(path) if foreign else _not_opened(path, error) from error


def _require_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the store has its tables.

    Raises:
        RunError: it is another program's, of another version, or its tables have been changed.
    """
    version, application, tables = (
        connection.execute(query).fetchone()[0]
        for query in ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
    )
    if application != _APPLICATION_ID:
        if application or version or tables:
            raise _not_ours(path)
        return False
    if version != SCHEMA_VERSION:
        raise RunError(
            "other_version",
            f"{path} is a store of version {version}, and this safemt reads version {SCHEMA_VERSION}. "
            "Use the safemt that made it, or choose another `out`.",
            path=path, version=version,
        )  # fmt: skip
    if not _has_our_tables(connection):
        raise RunError(
            "store_damaged",
            f"The store {path} is damaged: its tables are not those of safemt. Restore a copy of it, or "
            "choose another `out`.",
            path=path,
        )
    return True


def _has_our_tables(connection: sqlite3.Connection) -> bool:
    """Whether all tables are as made, and nothing else (a view, a trigger) acts in their place."""
    query = "SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL"
    found = {(kind, sql) for kind, sql in connection.execute(query)}
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(TABLES)
        ours = set(fresh.execute(query))
    return ours <= found and {kind for kind, _ in found} <= {"table", "index"}


def _not_ours(path: Path) -> RunError:
    return RunError(
        "not_a_store", f"{path} is not a store of safemt and is left alone. Choose another `out`.", path=path
    )


def _not_opened(path: Path, error: Exception) -> RunError:
    return RunError("store_unusable", f"The store {path} cannot be opened: {error}.", path=path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
