"""The bytes of a file that may be gzipped, within a bound: a few kilobytes may unpack to more than fits."""

import gzip
import zlib
from pathlib import Path
from typing import Final

from safemt.core.errors import LabelsError

MOST_UNPACKED: Final = 512 * 2**20


def read_unpacked(path: Path) -> bytes:
    """The content of `path`, unpacked where its name ends in `.gz`.

    Raises:
        LabelsError: it cannot be read, is damaged, or unpacks to more than 512 MB.
    """
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path, "rb") as file:
            content = file.read(MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabelsError(f"{path} cannot be read: {reason}. Fetch it again or make it readable.") from error
    if len(content) > MOST_UNPACKED:
        raise LabelsError(
            f"{path} unpacks to more than {MOST_UNPACKED >> 20} MB. If that is right, unpack it yourself."
        )
    return content
