"""Rows of JSON Lines, of a JSON array, or of one JSON object, as they come in."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from safemt.io.files import size_text
from safemt.io.row import Limits, Row, is_deeper

if TYPE_CHECKING:
    import msgspec

_CHUNK: Final = 2**16
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_FINDER: Final = json.JSONDecoder(parse_int=str, parse_float=str)
"""Finds the end of a record, which orjson must be told."""


def json_rows(
    stream: io.BufferedReader, limits: Limits, *, document: bool, lone_surrogates: bool
) -> Iterator[Row]:
    """The rows of a stream: JSON Lines, an array, or one object.

    `document` says that the stream should be one JSON document. An object of objects then holds rows by key.
    """
    reader = _JsonRows(limits, lone_surrogates)
    line = _skip_blanks(stream)
    return reader.array(stream, line) if stream.peek(1)[:1] == b"[" else reader.lines(stream, line, document)


@dataclass(frozen=True, slots=True)
class _JsonRows:
    limits: Limits
    lone_surrogates: bool

    def lines(self, stream: io.BufferedReader, number: int, document: bool) -> Iterator[Row]:
        """JSON Lines, or one object over many lines. `number` lines went before."""
        first = True
        while line := stream.readline(self.limits.row + 1):
            number += 1
            if len(line) > self.limits.row:
                _skip_line(stream, line)
                yield self._too_long(number, f"line {number}")
            elif content := line.strip():
                row = self._row(content, number, f"line {number}")
                # An editor's layout of one object, or its first line.
                if first and row.code == "not_json" and (document or content == b"{"):
                    row = self._rest(stream, line, number)
                number += _skip_blanks(stream) if document else 0
                alone = first and document and not stream.peek(1)
                yield from _by_key(row) if alone else (row,)
            first = False

    def array(self, stream: io.BufferedReader, line: int) -> Iterator[Row]:
        """The records of an array. Behind a record that has no end nothing can be read."""
        whole = self._whole(stream)
        if whole is not None:
            for number, record in enumerate(whole, start=1):
                yield self._row(bytes(record), number, f"record {number}")
            return
        text = _Text(stream, line)
        text.skip("[")
        number = 0
        while number or text.next_character() != "]":
            number += 1
            row = self._record(text, number)
            yield row
            if row.code == "broken_array":
                return
            if not text.skip(","):
                break
        if not text.skip("]"):
            yield _broken_array(text, number + 1, "a comma or the closing ] is missing")
        elif text.next_character():
            yield _broken_array(text, number + 1, "there is more text after the closing ]")

    def _whole(self, stream: io.BufferedReader) -> "list[msgspec.Raw] | None":
        """The records of an array of moderate size, as a shortcut; None if it must be read step by step."""
        import msgspec

        if not stream.seekable():
            return None
        start = stream.tell()
        content = stream.read(self.limits.row + 1)
        with suppress(msgspec.DecodeError, RecursionError):
            if len(content) <= self.limits.row:
                return msgspec.json.decode(content, type=list[msgspec.Raw])
        stream.seek(start)
        return None

    def _rest(self, stream: io.BufferedReader, line: bytes, number: int) -> Row:
        content = line + stream.read(self.limits.row + 1 - len(line))
        return self._row(content.strip(), number, f"line {number}")

    def _record(self, text: "_Text", number: int) -> Row:
        """Parse the next record of an array, reading on until it is whole."""
        place = f"record {number}"
        size = _CHUNK
        text.next_character()
        while True:
            try:
                _, end = _FINDER.raw_decode(text.buffer, text.at)
            except json.JSONDecodeError as error:
                if len(text.buffer) - text.at > self.limits.row:
                    return self._too_long(number, place)._replace(code="broken_array")
                # Doubled each time, so that a long record is not parsed over and over.
                size *= 2
                if not text.more(size):
                    return _broken_array(text, number, error.msg, error.pos)
            except RecursionError:
                return _broken_array(text, number, "nested too deeply")
            else:
                return self._row(text.take(end).encode(), number, place)

    def _row(self, content: bytes, number: int, place: str) -> Row:
        if len(content) > self.limits.row:
            return self._too_long(number, place)
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            broken = _not_json(content, error, number, place)
            if not self.lone_surrogates:
                return broken
            try:
                value = json.loads(content)
            except (ValueError, RecursionError):
                return broken
        brackets = content.count(b"[") + content.count(b"{")  # counted first, as most rows have few
        if brackets > self.limits.depth and is_deeper(value, self.limits.depth):
            problem = f"it is nested deeper than {self.limits.depth} levels"
            return Row(number, place, None, "too_deep", problem)
        if not isinstance(value, dict):
            return Row(number, place, None, "not_an_object", "it is not a JSON object")
        return Row(number, place, value)

    def _too_long(self, number: int, place: str) -> Row:
        problem = f"it is longer than {size_text(self.limits.row)}; this may be another kind of file"
        return Row(number, place, None, "too_long", problem)


class _Text:
    """The text of a stream, decoded piece by piece, and a position in it."""

    def __init__(self, stream: io.BufferedReader, line: int) -> None:
        self.buffer = ""
        self.at = 0
        """Where the next record starts in the buffer."""
        self._line = line
        """Line ends before that."""
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ended = False

    def next_character(self) -> str:
        """Skip blanks. The next character, empty at the end of the text."""
        while True:
            match = _BLANKS.match(self.buffer, self.at)
            self.take(match.end() if match else self.at)
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more(_CHUNK):
                return ""

    def skip(self, character: str) -> bool:
        """Go past this character, if it is the next one."""
        found = self.next_character() == character
        self.at += found
        return found

    def take(self, end: int) -> str:
        """Go to `end`; the text on the way there."""
        taken = self.buffer[self.at : end]
        self._line += taken.count("\n")
        self.at = end
        return taken

    def more(self, size: int) -> bool:
        """Read on; False at the end, which is also where the text stops being UTF-8."""
        while not self._ended:
            data = self._stream.read1(size)
            self._ended = not data
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                self._ended = True
                text = error.object[: error.start].decode()
            if text:
                self.buffer = self.buffer[self.at :] + text
                self.at = 0
                return True
        return False

    def line_at(self, place: int) -> int:
        """The number, from 1, of the line that holds a place in the buffer."""
        return self._line + self.buffer.count("\n", self.at, place) + 1


def _skip_blanks(stream: io.BufferedReader) -> int:
    """Go to the first byte that is no blank; the number of line ends on the way."""
    lines = 0
    while (ahead := stream.peek(1)) and ahead[:1].isspace():
        lines += stream.read(len(ahead) - len(ahead.lstrip())).count(b"\n")
    return lines


def _skip_line(stream: io.BufferedReader, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = stream.readline(_CHUNK)


def _by_key(row: Row) -> Iterator[Row]:
    fields = row.fields or {}
    if not fields or not all(isinstance(value, dict) for value in fields.values()):
        yield row
        return
    for number, (key, value) in enumerate(fields.items(), start=1):
        yield Row(number, f"record {number}", value, key=key)


def _not_json(content: bytes, error: orjson.JSONDecodeError, number: int, place: str) -> Row:
    """Say what is wrong with a line, or with a document of several lines, and where."""
    code, what, line, column = "not_json", f"valid JSON: {error.msg}", error.lineno, error.colno
    try:
        content.decode()
    except UnicodeDecodeError as wrong:
        before = content[: wrong.start].decode()
        code, what, line = "not_utf8", "UTF-8 text", before.count("\n") + 1
        column = len(before) - before.rfind("\n")
    where = f"line {number + line - 1}, column {column}" if line > 1 else f"column {column}"
    return Row(number, place, None, code, f"it is not {what} at {where}")


def _broken_array(text: _Text, number: int, reason: str, at: int | None = None) -> Row:
    line = text.line_at(text.at if at is None else at)
    problem = (
        f"the array is broken at line {line} ({reason[:1].lower()}{reason[1:]}), so the rest was not read"
    )
    return Row(number, f"record {number}", None, "broken_array", problem)
