"""Rows out of JSON Lines, JSON, CSV or Parquet, gzipped or not: one reader, one row at a time, within limits.

A JSON row that is broken is a `Row` with a `problem`, and reading goes on behind it. What is wrong with a
source as a whole is an error of the kind that the caller names.
"""

import csv
import gzip
import io
import math
import stat
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safemt.core.errors import SafemtError
from safemt.io.files import reason_of, size_text
from safemt.io.json_rows import json_rows
from safemt.io.parquet import parquet_columns, parquet_rows
from safemt.io.row import LIMITS, Limits, Refusal, Row

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN: Final = "the standard input"
"""What messages call a source that is a stream."""

_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b"
_BUFFER: Final = 2**17
_DIALECTS: Final = {".csv": "excel", ".tsv": "excel-tab"}


def read_rows(
    source: Path | io.BufferedReader,
    *,
    error: type[SafemtError],
    columns: Collection[str] | None = None,
    lone_surrogates: bool = False,
    limits: Limits = LIMITS,
) -> Iterator[Row]:
    """Read the rows of a file, or of a stream such as stdin, in order.

    The name tells a `.parquet`, `.csv` or `.tsv` file, the first bytes tell gzip. Anything else is JSON: one
    object a line, an array, a single object, or, in a `.json` file, an object of rows by key. In CSV, column
    names are put in lower case, and all values are text.

    `columns` are the columns to read from Parquet, where they exist. `lone_surrogates` accepts JSON as Python
    does: with half a surrogate pair, or NaN, which otherwise break their row.

    Raises:
        SafemtError: of the kind `error`, with the field `path`: `unreadable_file`, `not_a_file`, `not_gzip`,
            `utf16`, `not_utf8`, `not_csv`, `not_parquet`, `needs_pyarrow`, `too_large`, `too_many_rows` or
            `no_rows`.
    """
    row: Row | None = None
    with _explained(source, error, lambda: row.place if row else ""):
        if isinstance(source, Path) and source.suffix == ".parquet":
            rows = parquet_rows(source, columns, limits)
        else:
            rows = _text_rows(source, lone_surrogates, limits)
        for count, row in enumerate(rows, start=1):
            if count > limits.rows:
                raise Refusal("too_many_rows", f"holds more than {limits.rows:,} rows; split it")
            yield row
        if row is None:
            raise Refusal("no_rows", "is empty: there is no row in it")


def require_rows(
    source: Path, *, error: type[SafemtError], limits: Limits = LIMITS
) -> Iterator[tuple[dict[str, Any], str]]:
    """Read rows that must all be good: the fields of each, and its place (`labels.jsonl, line 3`).

    Raises:
        SafemtError: of the kind `error`, as for `read_rows`; or with the code of a broken row, and the fields
            `path` and `place`.
    """
    for row in read_rows(source, error=error, limits=limits):
        place = f"{source}, {row.place}"
        if row.fields is None:
            raise error(row.code, f"{place}: {row.problem}. Fix or remove it.", path=source, place=row.place)
        yield row.fields, place


def column_names(path: Path, *, error: type[SafemtError]) -> tuple[str, ...]:
    """Read the names of the columns of a CSV or Parquet file.

    Raises:
        SafemtError: of the kind `error`, as for `read_rows`.
    """
    with _explained(path, error):
        if path.suffix == ".parquet":
            return parquet_columns(path)
        with _opened(path, LIMITS) as stream:
            _, names = next(_cells(stream, _kind_of(path), LIMITS), (0, []))
            return tuple(_column(name) for name in names)


def usual_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of some file names that there is in a folder, plain or with `.gz`; None if there is none."""
    for name in names:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


def _text_rows(source: Path | io.BufferedReader, lone_surrogates: bool, limits: Limits) -> Iterator[Row]:
    kind = _kind_of(source) if isinstance(source, Path) else ""
    with _opened(source, limits) as stream:
        if kind in _DIALECTS:
            yield from _csv_rows(stream, kind, limits)
        else:
            yield from json_rows(stream, limits, document=kind == ".json", lone_surrogates=lone_surrogates)


def _csv_rows(stream: io.BufferedReader, kind: str, limits: Limits) -> Iterator[Row]:
    names: list[str] | None = None
    for number, cells in _cells(stream, kind, limits):
        if names is None:
            names = [_column(name) for name in cells]
        elif cells:
            padded = chain(cells, repeat(""))
            fields = {name: cell for name, cell in zip(names, padded, strict=False) if name}
            yield Row(number, f"line {number}", fields)


def _cells(stream: io.BufferedReader, kind: str, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row of a CSV file, and the number of its last line."""
    reader = csv.reader(_lines(stream, limits), dialect=_DIALECTS[kind])
    while True:
        before = csv.field_size_limit(limits.row)  # holds for the whole process, so only while a row is read
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise Refusal("not_csv", f"is not CSV at line {reader.line_num}: {error}") from error
        finally:
            csv.field_size_limit(before)
        if cells is None:
            return
        yield reader.line_num, cells


def _lines(stream: io.BufferedReader, limits: Limits) -> Iterator[str]:
    number = 0
    while line := stream.readline(limits.row + 1):
        number += 1
        if len(line) > limits.row:
            raise Refusal("too_large", f"has more than {size_text(limits.row)} in line {number}")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise Refusal(
                "not_utf8", f"is not UTF-8 text at line {number}; save it as UTF-8 throughout"
            ) from error


def _column(name: str) -> str:
    return name.strip().lower()


def _kind_of(path: Path) -> str:
    """The end of a file's name, without that of gzip."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


@contextmanager
def _opened(source: Path | io.BufferedReader, limits: Limits) -> Iterator[io.BufferedReader]:
    """A stream of the source's text: unpacked, within the limits, without a byte order mark."""
    if not isinstance(source, Path):
        yield _unpacked(source, math.inf, named_gzip=False)
        return
    try:
        status = source.stat()
    except ValueError as error:  # a NUL character in the path
        raise OSError(str(error)) from error
    if stat.S_ISREG(status.st_mode) and status.st_size > limits.content:
        raise Refusal("too_large", f"is larger than {size_text(limits.content)}; split it")
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        raise Refusal("not_a_file", "is a device")
    with source.open("rb") as stream:
        yield _unpacked(stream, limits.content, named_gzip=source.suffix == ".gz")


def _unpacked(stream: io.BufferedReader, most: float, *, named_gzip: bool) -> io.BufferedReader:
    if stream.peek(2)[:2] == _GZIP:
        stream = io.BufferedReader(_Unpacked(gzip.GzipFile(fileobj=stream), most), _BUFFER)
    elif named_gzip:
        raise Refusal("not_gzip", "is not in gzip form, as its name says; fetch it again or rename it")
    head = stream.peek(3)[:3]
    if head[:2] in _UTF_16:
        raise Refusal("utf16", "is in UTF-16; save it as UTF-8")
    if head == _BOM:
        stream.read(3)
    return stream


class _Unpacked(io.RawIOBase):
    """The content of a gzip stream, up to a number of bytes."""

    def __init__(self, packed: gzip.GzipFile, most: float) -> None:
        self._packed = packed
        self._most = self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        content = self._packed.read1(len(view))
        view[: len(content)] = content
        self._left -= len(content)
        if self._left < 0:
            raise Refusal("too_large", f"unpacks to more than {size_text(int(self._most))}; split it")
        return len(content)


@contextmanager
def _explained(
    source: Path | io.BufferedReader, kind: type[SafemtError], last: Callable[[], str] = str
) -> Iterator[None]:
    """Make every failure in the block one error of the kind; `last` gives the place that was read last."""
    name = str(source) if isinstance(source, Path) else STDIN
    try:
        yield
    except Refusal as refusal:
        raise kind(refusal.code, f"{name} {refusal}.", path=name) from refusal.__cause__
    except (OSError, EOFError, zlib.error) as reason:
        after = f" after {last()}" if last() else ""
        message = f"{name} cannot be read{after}: {reason_of(reason)}."
        raise kind("unreadable_file", message, path=name) from reason
