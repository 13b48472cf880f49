"""A run's events as JSON lines, for programs that watch it. No texts and no keys are in them."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

import orjson

from safemt.core.errors import UsageError


class EventLog:
    """Writes one line per event, at once. A log that cannot be written is given up; the run goes on."""

    def __init__(self, path: Path | None = None, *, complain: Callable[[str], None] | None = None) -> None:
        """Open `path` for appending; None logs nothing. `complain` is told if the log has to be given up.

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
            raise UsageError(f"--log-json {path} cannot be written: {error.strerror}.") from error

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
                f"--log-json {self._path} can no longer be written ({reason}); the run goes on without."
            )


def _ends_within_a_line(path: Path) -> bool:
    """Whether an earlier process was stopped in the middle of a line."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
