"""A run's events as JSON lines, for programs that watch it. They hold no texts and no keys."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

import orjson

from safemt.core.errors import UsageError


class EventLog:
    """Writes one line per event, at once. If the log cannot be written any more, the run goes on without."""

    def __init__(self, path: Path | None = None, *, complain: Callable[[str], None] | None = None) -> None:
        """Open `path` for appending; None logs nothing. `complain` gets a sentence if the log is given up.

        Raises:
            UsageError: the file cannot be written.
        """
        self._complain = complain
        self._path = path
        self._file: FileIO | None = None
        if path is None:
            return
        try:
            self._file = FileIO(path, "a")
            if _ends_within_a_line(path):
                self._file.write(b"\n")
        except OSError as error:
            raise UsageError(
                "log_unwritable", f"The event log {path} cannot be written: {error.strerror}.", path=path
            ) from error

    @property
    def is_open(self) -> bool:
        """Whether anything comes of an event."""
        return self._file is not None

    def emit(self, event: str, **fields: object) -> None:
        """Write one event. Its fields are described in docs/file-formats.md."""
        if self._file is None:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = orjson.dumps({"time": time, "event": event, **fields}, default=str) + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            self._give_up(error.strerror)
        else:
            if written != len(line):
                self._give_up("no space is left")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _give_up(self, reason: str | None) -> None:
        self.close()
        if self._complain is not None:
            self._complain(
                f"The event log {self._path} can no longer be written ({reason}). The run goes on without it."
            )


def _ends_within_a_line(path: Path) -> bool:
    """Whether an earlier process stopped in the middle of a line."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
