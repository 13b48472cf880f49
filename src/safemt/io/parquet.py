"""Rows of Parquet files. Nothing is decoded before its size is known.

In a few bytes, a Parquet page can say that a text of 50 MB occurs a million times. So the page headers are
read first (parquet-format, `parquet.thrift`). They state the size of each page, its encoding and the number
of its values. So the size of what is decoded is known, and how many rows may be decoded at once.
"""

import mmap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safemt.io.files import reason_of, size_text
from safemt.io.row import Limits, Refusal, Row

_ROWS_AT_ONCE: Final = 256
_READ_AT_ONCE: Final = 2**20
_WIDEST_NUMBER: Final = 8

# From parquet.thrift. By type of page (data, data v2): the field of its header that describes the values, and
# the field of that which names their encoding.
_DICTIONARY_PAGE: Final = 2
_VALUES: Final = {0: (5, 2), 3: (8, 4)}
_DICTIONARY_ENCODINGS: Final = (2, 8)
_DELTA_BYTE_ARRAY: Final = 7


@dataclass(slots=True)
class _Leaf:
    """What the pages of one column of a row group hold."""

    path: str
    nested: bool
    """Whether a row may hold any number of values."""
    values: int = 0
    content: int = 0
    """Bytes of all pages, unpacked."""
    largest: int = 0
    """Bytes of the largest page, and so at most of one value."""
    entry: int = _WIDEST_NUMBER
    """Bytes of the longest entry of the dictionary."""
    repeated: int = 0
    """Bytes, at most, of the values that point into the dictionary or start as the one before."""

    def add(self, header: dict[int, Any], page: bytes, compression: str) -> None:
        """Count a page; its content is needed only of a dictionary."""
        kind, unpacked = header[1], header[2]
        self.content += unpacked
        self.largest = max(self.largest, unpacked)
        if kind == _DICTIONARY_PAGE:
            self.entry = _longest_entry(page, unpacked, compression) if self.nested else unpacked
        elif kind in _VALUES:
            field, encoding = _VALUES[kind]
            values = header[field][1]
            self.values += values
            if header[field][encoding] in _DICTIONARY_ENCODINGS:
                self.repeated += values * self.entry
            elif header[field][encoding] == _DELTA_BYTE_ARRAY:
                self.repeated += values * unpacked


def parquet_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns of a Parquet file.

    Raises:
        Refusal: `needs_pyarrow` or `not_parquet`.
        OSError: the file cannot be opened.
    """
    parquet, failures = _library()
    with path.open("rb") as stream:
        try:
            return tuple(parquet.ParquetFile(stream).schema_arrow.names)
        except failures as error:
            raise _not_parquet(error) from error


def parquet_rows(path: Path, columns: Collection[str] | None, limits: Limits) -> Iterator[Row]:
    """The rows of a Parquet file with those of the `columns` that it has; None is all.

    Raises:
        Refusal: `needs_pyarrow`, `not_parquet` or `too_large`.
        OSError: the file cannot be opened.
    """
    parquet, failures = _library()
    with path.open("rb") as stream:
        try:
            file = parquet.ParquetFile(stream, buffer_size=_READ_AT_ONCE)
            at_once = _rows_at_once(file, stream.fileno(), columns, limits)
            names = [name for name in file.schema_arrow.names if columns is None or name in columns]
            problem = f"it is longer than {size_text(limits.row)}"
            left, number = limits.content, 0
            for batch in file.iter_batches(at_once, columns=names, use_threads=False):
                size = sum(map(_size, batch.columns))
                left -= size
                if left < 0:
                    raise _too_large(f"unpacks to more than {size_text(limits.content)}")
                for fields in _dictionaries(batch, size, limits.row):
                    number += 1
                    broken = () if fields is not None else ("too_long", problem)
                    yield Row(number, f"record {number}", fields, *broken)
        except failures as error:
            raise _not_parquet(error) from error


def _rows_at_once(file: Any, descriptor: int, columns: Collection[str] | None, limits: Limits) -> int:
    """How many rows to decode at once, once it is clear that none can become too large."""
    at_once = _ROWS_AT_ONCE
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        for group in range(file.num_row_groups):
            leaves = list(_leaves(file, group, data, columns, limits))
            for leaf in leaves:
                if leaf.nested and leaf.values * _WIDEST_NUMBER + leaf.repeated > limits.content:
                    raise _too_large(f"may repeat too much in the lists of {leaf.path!r}")
            if sum(leaf.content for leaf in leaves) > limits.content:
                raise _too_large(f"unpacks to more than {size_text(limits.content)}")
            flat = sum(leaf.largest for leaf in leaves if not leaf.nested)
            at_once = min(at_once, max(1, limits.row // max(1, flat)))
    return at_once


def _leaves(
    file: Any, group: int, data: mmap.mmap, columns: Collection[str] | None, limits: Limits
) -> Iterator[_Leaf]:
    about = file.metadata.row_group(group)
    for number in range(about.num_columns):
        column, kind = about.column(number), file.schema.column(number)
        if columns is not None and column.path_in_schema.partition(".")[0] not in columns:
            continue
        leaf = _Leaf(kind.path, nested=kind.max_repetition_level > 0)
        at = min(start for start in (column.data_page_offset, column.dictionary_page_offset) if start)
        end = at + column.total_compressed_size
        while leaf.values < column.num_values and at < end:
            header, at = _struct(data, at)
            unpacked, packed = header[2], header[3]
            if not 0 <= unpacked <= limits.content // 4 or packed < 0:
                raise _too_large(f"holds a page of more than {size_text(limits.content // 4)}")
            page = data[at : at + packed] if header[1] == _DICTIONARY_PAGE else b""
            leaf.add(header, page, column.compression)
            at += packed
        yield leaf


def _dictionaries(batch: Any, size: int, most: int) -> Iterator[dict[str, Any] | None]:
    """The rows of a batch of `size` bytes as dictionaries; None for one of more than `most` bytes."""
    if size <= most:
        yield from batch.to_pylist()
    elif batch.num_rows == 1:
        yield None
    else:
        half = batch.num_rows // 2
        for part in (batch.slice(0, half), batch.slice(half)):
            yield from _dictionaries(part, sum(map(_size, part.columns)), most)


def _size(array: Any) -> int:
    """Bytes of the values of an Arrow array, repeated ones each time."""
    from pyarrow import compute, types

    if types.is_dictionary(array.type):
        lengths = compute.binary_length(array.dictionary).take(array.indices)
        return compute.sum(lengths).as_py() or 0
    if types.is_struct(array.type):
        return sum(map(_size, array.flatten()))
    if types.is_nested(array.type):
        return _WIDEST_NUMBER * len(array) + _size(array.flatten())
    return int(array.nbytes)


def _longest_entry(page: bytes, unpacked: int, compression: str) -> int:
    """Bytes of the longest text in a dictionary page, or of the whole page if it cannot be unpacked."""
    import pyarrow

    if compression != "UNCOMPRESSED":
        try:
            codec = {"LZ4": "lz4_raw"}.get(compression, compression.lower())
            page = pyarrow.decompress(page, unpacked, codec, asbytes=True)
        except (pyarrow.ArrowException, ValueError, OSError):
            return unpacked
    at = longest = 0
    while at < len(page):
        size = int.from_bytes(page[at : at + 4], "little")
        longest = max(longest, size)
        at += 4 + size
    return longest


def _struct(data: mmap.mmap, at: int) -> tuple[dict[int, Any], int]:
    """Parse a struct in Thrift's compact protocol: its numbers and structs by field, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        number, at = (number + (head >> 4), at) if head >> 4 else _zigzag(data, at)
        match head & 15:
            case 1 | 2:  # a boolean, which has no bytes of its own
                pass
            case 4 | 5 | 6:
                fields[number], at = _zigzag(data, at)
            case 8:  # a text, such as the smallest value
                size, at = _varint(data, at)
                at += size
            case 12:
                fields[number], at = _struct(data, at)
            case kind:
                raise ValueError(f"a page header holds a value of kind {kind}")
    return fields, at + 1


def _zigzag(data: mmap.mmap, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[at]) & 128:
        value |= (byte & 127) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1


def _library() -> tuple[Any, tuple[type[Exception], ...]]:
    """The Parquet library, and the exceptions that a damaged file raises."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Refusal("needs_pyarrow", "needs pyarrow to be read: pip install 'safemt[hub]'") from error
    library = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
    return parquet, (*library, LookupError, TypeError, RecursionError)


def _too_large(clause: str) -> Refusal:
    return Refusal("too_large", f"{clause}; split it, or write it in smaller row groups")


def _not_parquet(error: Exception) -> Refusal:
    return Refusal("not_parquet", f"is not a readable Parquet file: {reason_of(error)}")
