"""JSON rows out of a file or a pipe, one at a time: JSONL, an array, or one object; gzipped or not."""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from safemt.core.errors import DialogueError

MAX_ROW: Final = 64 * 2**20
"""Bytes. A row holds a dialogue with its pictures; a few kilobytes of gzip can hold one that fills memory."""

Reader: TypeAlias = io.BufferedReader | gzip.GzipFile

_BOM: Final = b"\xef\xbb\xbf"
_GZIP: Final = b"\x1f\x8b"
_CHUNK: Final = 2**16
_BLANK: Final = " \t\r\n"
_TOO_LONG: Final = (
    f"it has more than {MAX_ROW // 2**20} MB, which no dialogue has; is it another kind of file?"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the parsed JSON, or what is wrong with it."""

    place: str
    """`line 3` or `record 3`, counted from 1."""
    value: object
    problem: str = ""
    """Set where the row could not be parsed."""


def read_rows(stream: io.BufferedReader, name: str) -> Iterator[Row]:
    """The rows of a stream, in order. A line that is broken is one bad row; the next ones go on.

    Raises:
        DialogueError: the stream cannot be read on, or there is no row in it. `name` is used in the message.
    """
    try:
        reader: Reader = stream
        if reader.peek(2)[:2] == _GZIP:
            reader = gzip.GzipFile(fileobj=stream)
        if reader.peek(3)[:3] == _BOM:
            reader.read(3)
        blank = _skip_blanks(reader)
        rows = _array(reader) if reader.peek(1)[:1] == b"[" else _lines(reader, blank)
        found = False
        for row in rows:
            found = True
            yield row
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DialogueError(f"{name} cannot be read: {reason}.") from error
    if not found:
        raise DialogueError(f"{name} is empty: there is no dialogue in it.")


def _skip_blanks(reader: Reader) -> int:
    """Go to the first byte that is no blank; the number of line ends on the way."""
    lines = 0
    while (ahead := reader.peek(1)) and ahead[:1].isspace():
        lines += reader.read(len(ahead) - len(ahead.lstrip())).count(b"\n")
    return lines


def _lines(reader: Reader, number: int) -> Iterator[Row]:
    while line := reader.readline(MAX_ROW):
        number += 1
        place = f"line {number}"
        if len(line) == MAX_ROW and not line.endswith(b"\n"):
            while (rest := reader.readline(_CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield Row(place, None, _TOO_LONG)
            continue
        content = line.strip()
        if content == b"{":  # one object over many lines, as an editor formats it
            content += reader.read(MAX_ROW)
        if content:
            yield _parsed(content, place)


def _array(reader: Reader) -> Iterator[Row]:
    """The records of an array, parsed one by one as they come in; after a broken one nothing can be read."""
    decoder = json.JSONDecoder()
    text = codecs.getreader("utf-8")(reader, "replace")
    buffer = text.read(_CHUNK).lstrip(_BLANK).removeprefix("[")
    number = 0
    while True:
        number += 1
        place = f"record {number}"
        buffer = buffer.lstrip(_BLANK)
        while not buffer and (more := text.read(_CHUNK)):
            buffer = more.lstrip(_BLANK)
        if buffer[:1] == "]":
            return
        size = _CHUNK
        while True:
            try:
                value, end = decoder.raw_decode(buffer)
            except (ValueError, RecursionError) as error:
                more = text.read(size) if len(buffer) < MAX_ROW else ""
                if not more:
                    yield Row(place, None, _array_problem(buffer, error))
                    return
                # Doubled each time, so that a long record is not parsed over and over.
                buffer += more
                size *= 2
                continue
            break
        yield Row(place, value)
        buffer = buffer[end:].lstrip(_BLANK)
        while not buffer and (more := text.read(_CHUNK)):
            buffer = more.lstrip(_BLANK)
        if buffer[:1] not in (",", "]"):
            yield Row(f"record {number + 1}", None, _array_problem(buffer, None))
            return
        buffer = buffer.removeprefix(",")


def _parsed(content: bytes, place: str) -> Row:
    try:
        return Row(place, orjson.loads(content))
    except orjson.JSONDecodeError as error:
        problem = f"it is not valid JSON: {error.msg}"
    try:
        return Row(place, json.loads(content))  # takes what orjson refuses: half a surrogate pair
    except (ValueError, RecursionError):
        return Row(place, None, problem)


def _array_problem(buffer: str, error: Exception | None) -> str:
    if len(buffer) >= MAX_ROW:
        return _TOO_LONG
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    else:
        reason = (
            error.msg if isinstance(error, json.JSONDecodeError) else "a comma or the closing ] is missing"
        )
    return f"the array is broken from here on ({reason}), so nothing behind it was read"
