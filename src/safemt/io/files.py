"""Files: written whole or not at all, and read only where they are plain and small enough."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO, Final

from safemt.core.errors import FileError, SafemtError

PRIVATE: Final = 0o600
"""Mode of a file that holds responses: only its owner may read it."""
PUBLIC: Final = 0o666
"""Mode of a file that holds none. As with any mode, the umask narrows it."""

# Windows lacks some of these. A binary stream must be asked for there, and nowhere else.
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0)
# Without O_NONBLOCK, opening a FIFO waits for its writer.
_OLD: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def write_file(path: Path, data: bytes, *, mode: int = PRIVATE, durable: bool = True) -> Path:
    """Write `data` to `path`, as `new_file` does. Returns `path`.

    Raises:
        FileError: it cannot be written.
    """
    with new_file(path, mode=mode, durable=durable) as stream:
        stream.write(data)
    return path


@contextmanager
def new_file(path: Path, *, mode: int = PRIVATE, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a stream that becomes `path` when the block ends well; after any error nothing is left of it.

    The content goes to a file with a random name in the same folder, which is made if need be, and takes the
    place of `path` in one step. `durable` waits until the content is on the disk, so that a power failure
    cannot leave an empty file.

    Raises:
        FileError: `is_a_link` or `not_a_file` if something else than a file lies at `path`, which is neither
            followed nor replaced; `cannot_write` if it, or anything in the block, fails with an `OSError`.
    """
    part = path.with_name(f".safemt-{os.urandom(8).hex()}.part")
    try:
        _require_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, _NEW, mode)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(descriptor)
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def read_bounded(
    path: Path, most: int, *, follow: bool = True, error: type[SafemtError] = FileError
) -> bytes:
    """The content of a plain file of at most `most` bytes; without `follow`, `path` may not be a link.

    Raises:
        SafemtError: of the kind `error`; `is_a_link`, `not_a_file` (a folder, pipe or device), `too_large`,
            or `unreadable_file`.
    """
    try:
        if not follow and path.is_symlink():
            raise error("is_a_link", f"{path} is a link. Give the file itself.", path=path)
        flags = _OLD | (0 if follow else _NO_FOLLOW)
        with BufferedReader(FileIO(path, opener=lambda name, _: os.open(name, flags))) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise error("not_a_file", f"{path} is not a plain file.", path=path)
            content = stream.read(most + 1)
    except (OSError, ValueError) as reason:
        raise unreadable(path, reason, error) from reason
    if len(content) > most:
        raise error("too_large", f"{path} is larger than {size_text(most)}.", path=path, most=most)
    return content


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unreadable(path: Path | str, reason: Exception, kind: type[SafemtError]) -> SafemtError:
    """The error for a file that could not be read because of `reason`."""
    return kind("unreadable_file", f"{path} cannot be read: {reason_of(reason)}.", path=path)


def reason_of(error: Exception) -> str:
    """What an operating system or library error says, as a clause: one line, no full stop."""
    said = getattr(error, "strerror", None) or str(error)
    return (said.splitlines() or [""])[0].rstrip(". ") or type(error).__name__


def size_text(size: int) -> str:
    """Bytes as `4 MB` or `2 GB`, for limits that are whole powers of two."""
    return f"{size / 2**30:g} GB" if size >= 2**30 else f"{size / 2**20:g} MB"


def _require_replaceable(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise FileError(
            "is_a_link", f"{path} is a link, which is not followed. Give the file itself.", path=path
        )
    if not stat.S_ISREG(mode):
        raise FileError("not_a_file", f"{path} exists and is not a plain file. Give another name.", path=path)


def _unwritable(path: Path, error: Exception) -> FileError:
    return FileError("cannot_write", f"{path} cannot be written: {reason_of(error)}.", path=path)
