"""The SQLite file behind a store: its tables, how it is opened and written, and how to tell what is wrong."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TypeVar

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

_MISREAD: Final = (ValueError, TypeError, LookupError, OverflowError, RecursionError)

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
    """An open store, and the groups in which it is written.

    An error of SQLite becomes a RunError that names the store.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: FileLock | None) -> None:
        self.path = path
        self.connection = connection
        self.grouping = False
        self._lock = lock
        self._failed: Exception | None = None
        """Why something in the present group could not be written, so that nothing of it is stored."""

    @classmethod
    def for_run(cls, folder: Path) -> Self:
        """Open or make the store in the run directory `folder`, for this process alone.

        Raises:
            RunError: another process holds it, it cannot be written, or it is not a store of this version.
        """
        with ExitStack() as undo:
            lock = _lock(folder)
            undo.callback(lock.release)
            database = cls(_connect(folder / STORE_FILE, "rwc"), folder / STORE_FILE, lock)
            undo.callback(database.connection.close)
            try:
                is_made = database._require_ours()
                # A dialogue rarely fits twice into a page of the usual 4 KB; half of the file was waste.
                database.connection.execute("PRAGMA page_size = 8192")
                database.connection.execute("PRAGMA journal_mode = WAL")
                database.connection.execute("PRAGMA synchronous = NORMAL")
                # 32 MB, since each checkpoint waits for the disk.
                database.connection.execute("PRAGMA wal_autocheckpoint = 4000")
                if not is_made:
                    database.connection.executescript(
                        f"BEGIN; {TABLES} PRAGMA application_id = {_APPLICATION_ID}; "
                        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                    )
            except Exception as error:
                raise database._explained(error) from error
            undo.pop_all()
        return database

    @classmethod
    def for_reading(cls, folder: Path) -> Self:
        """Open the store in a run directory as it is now, without changing it; a run may be going on.

        Raises:
            RunError: there is none, or it is not a store of this version.
        """
        if not is_run(folder):
            raise RunError(
                "not_a_run", f"{folder} is not a run directory: it has no {STORE_FILE}.", path=folder
            )
        path = folder / STORE_FILE
        with ExitStack() as undo:
            database = cls(_connect(path, "ro"), path, None)
            undo.callback(database.connection.close)
            try:
                if not database._require_ours():
                    raise RunError("no_run_yet", f"{path} is empty: the run never began.", path=path)
                database.connection.execute("BEGIN")
            except Exception as error:
                raise database._explained(error) from error
            undo.pop_all()
        return database

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
            RunError: the store cannot be read, or `read` cannot make anything of a row.
        """
        try:
            for row in self.connection.execute(query, values):
                yield read(row)
        except Exception as error:
            raise self._explained(error, read=True) from error

    def first(self, read: Callable[[Any], T], query: str, **values: object) -> T | None:
        """The same for the first row; None if there is none."""
        try:
            row = self.connection.execute(query, values).fetchone()
            return None if row is None else read(row)
        except Exception as error:
            raise self._explained(error, read=True) from error

    def write(self, *statements: str, **values: object) -> None:
        """Make changes with these values, all or none of them: on disk at once, or with their group.

        Raises:
            RunError: the store cannot be written.
        """
        connection = self.connection
        try:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            for statement in statements:
                connection.execute(statement, values)
            if not self.grouping:
                connection.commit()
        except BaseException as error:  # noqa: BLE001, it is raised again
            if self.grouping and isinstance(error, Exception):
                self._failed = error
            self._undo(error)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Within the block, all changes are made or none; they are on disk at its end.

        Raises:
            RunError: the store cannot be written.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.commit()
        except BaseException as error:  # noqa: BLE001, it is raised again
            self._undo(error)

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
        try:
            if failed is not None:
                raise failed
            self.connection.commit()
        except BaseException as error:  # noqa: BLE001, it is raised again
            self._undo(error)

    def copy(self) -> bytes:
        """The store as one file, as it is now; it is opened like any other.

        Raises:
            RunError: there is no room for it.
        """
        with tempfile.TemporaryDirectory(prefix="safemt-") as folder:
            path = Path(folder) / STORE_FILE
            try:
                self.connection.execute("VACUUM INTO ?", (str(path),))
                return path.read_bytes()
            except Exception as error:
                raise self._explained(error) from error

    def _undo(self, error: BaseException) -> NoReturn:
        self.connection.rollback()
        raise self._explained(error) if isinstance(error, Exception) else error

    def _explained(self, error: Exception, *, read: bool = False) -> Exception:
        """An error that names the store, if the store is to blame for `error`.

        SQLite itself notices little damage: if something was read that no run wrote, that is damage, too.
        """
        if isinstance(error, sqlite3.Error | UnicodeDecodeError):  # the latter if the schema is damaged
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                return self._not_ours()
            return RunError(
                "store_unusable",
                f"The store {self.path} cannot be used: {error}. Check the disk and the permissions of its "
                "folder. What was stored before is safe.",
                path=self.path,
            )
        if read and isinstance(error, _MISREAD):
            return self._damaged(f"it holds something that no run wrote ({type(error).__name__})")
        return error

    def _require_ours(self) -> bool:
        """Whether the store has its tables, or is still empty.

        Raises:
            RunError: it is another program's, of another version, or its tables have been changed.
        """
        version, application, tables = (
            self.connection.execute(query).fetchone()[0]
            for query in (
                "PRAGMA user_version",
                "PRAGMA application_id",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if application != _APPLICATION_ID:
            if application or version or tables:
                raise self._not_ours()
            return False
        if version != SCHEMA_VERSION:
            raise RunError(
                "other_version",
                f"{self.path} is a store of version {version}, and this safemt reads version "
                f"{SCHEMA_VERSION}. Use the safemt that made it, or choose another `out`.",
                path=self.path,
                version=version,
            )
        if not _has_our_tables(self.connection):
            raise self._damaged("its tables are not those of safemt")
        return True

    def _not_ours(self) -> RunError:
        message = f"{self.path} is not a store of safemt and is left alone. Choose another `out`."
        return RunError("not_a_store", message, path=self.path)

    def _damaged(self, how: str) -> RunError:
        message = f"The store {self.path} is damaged: {how}. Restore a copy of it, or choose another `out`."
        return RunError("store_damaged", message, path=self.path)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    try:
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10.0)
    except sqlite3.Error as error:
        raise RunError("store_unusable", f"The store {path} cannot be opened: {error}.", path=path) from error


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


def _has_our_tables(connection: sqlite3.Connection) -> bool:
    """Whether all tables are as made, and nothing else (a view, a trigger) acts in their place."""
    query = "SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL"
    found = {(kind, sql) for kind, sql in connection.execute(query)}
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(TABLES)
        ours = set(fresh.execute(query))
    return ours <= found and {kind for kind, _ in found} <= {"table", "index"}
