"""Reading the files that sources come in: text, JSON, CSV, Parquet, plain or gzipped, with clear messages."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, Final

import orjson

from safemt.core.errors import BenchmarkError

LARGEST: Final = 2 * 2**30
"""Bytes of one file after unpacking; more is refused rather than filling the memory."""
_LONGEST_FIELD: Final = 1_000_000

Row = Mapping[str, Any]


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped, without a byte order mark.

    Raises:
        BenchmarkError: it cannot be read, is broken or is too large.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BenchmarkError("unreadable_file", f"{path} cannot be read: {error}.", path=path) from error
    if len(content) > LARGEST:
        raise BenchmarkError(
            "too_large", f"{path} holds more than {LARGEST // 2**30} GB; split it.", path=path
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BenchmarkError("utf16", f"{path} is in UTF-16. Save it as UTF-8 and try again.", path=path)
    return content.removeprefix(b"\xef\xbb\xbf")


def json_lines(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Each line of a JSONL file with its number from 1: the object, or what is wrong with it.

    Raises:
        BenchmarkError: the file cannot be read or holds no line.
    """
    content = read_bytes(path)
    if not content.strip():
        raise BenchmarkError("no_rows", f"{path} is empty: there is no query in it.", path=path)
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            yield number, f"the line is not UTF-8 (byte {error.start + 1}); save the file as UTF-8"
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield number, f"the line is not valid JSON ({error.msg}, column {error.colno})"
            continue
        yield number, row if isinstance(row, dict) else "the line is not a JSON object"


def json_document(path: Path) -> Any:
    """A file that is one JSON document.

    Raises:
        BenchmarkError: it is not.
    """
    try:
        return orjson.loads(read_bytes(path))
    except orjson.JSONDecodeError as error:
        raise BenchmarkError(
            "not_json", f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error


def csv_rows(path: Path, *, needs: tuple[tuple[str, ...], ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row of a CSV file with its number (the header is row 1), names in lower case.

    `needs` names the columns that there must be, each as a choice of names.

    Raises:
        BenchmarkError: the file is not UTF-8, not CSV, or lacks a column.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BenchmarkError(
            "not_utf8",
            f"{path} is not UTF-8 throughout (first at line {line}). A CSV file in mixed encodings cannot be "
            "read safely; save it as UTF-8 and try again.",
        ) from error
    csv.field_size_limit(_LONGEST_FIELD)
    dialect = "excel-tab" if path.name.removesuffix(".gz").endswith(".tsv") else "excel"
    reader = csv.DictReader(io.StringIO(text, newline=""), dialect=dialect)
    try:
        names = [str(name).strip().lower() for name in reader.fieldnames or ()]
        for choice in needs:
            if not set(choice) & set(names):
                wanted = " or ".join(repr(name) for name in choice)
                raise BenchmarkError(
                    "no_column",
                    f"{path} has no column {wanted}; its columns are: {', '.join(names) or 'none'}. "
                    "Rename the column that holds the queries.",
                )
        reader.fieldnames = names
        for row in reader:
            yield reader.line_num, {name: value or "" for name, value in row.items() if name}
    except csv.Error as error:
        raise BenchmarkError(
            "not_csv", f"{path} is not readable as CSV at line {reader.line_num}: {error}.", path=path
        ) from error


def parquet_rows(
    path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[int, Row]]:
    """Each row of a Parquet file with its number from 1: the columns, and the optional ones that exist.

    Raises:
        BenchmarkError: it cannot be read, or lacks a column.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BenchmarkError(
            "needs_pyarrow", f"Reading {path.name} needs pyarrow: pip install 'safemt[build]'."
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            absent = [name for name in columns if name not in file.schema_arrow.names]
            if absent:
                raise BenchmarkError("no_column", f"{path} has no column {absent[0]!r}.", path=path)
            number = 0
            known = [*columns, *(name for name in optional if name in file.schema_arrow.names)]
            for batch in file.iter_batches(batch_size=256, columns=known):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise BenchmarkError(
            "not_parquet", f"{path} is not a readable Parquet file: {error}.", path=path
        ) from error


@cache
def _image_reader(path: Path) -> "_ParquetImages":
    return _ParquetImages(path)


class _ParquetImages:
    """The images of a Parquet file, read again by row when they are needed, one group of rows at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self._path = path
        metadata = pyarrow.parquet.read_metadata(path)
        sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        self._starts = list(accumulate([0, *sizes]))
        self._group = -1
        self._images: Any = None

    def image(self, row: int) -> bytes | None:
        """The bytes of the image in a row, counted from 0."""
        import pyarrow.parquet

        group = max(n for n, start in enumerate(self._starts[:-1]) if start <= row)
        if group != self._group:
            with pyarrow.parquet.ParquetFile(self._path) as file:
                self._images = file.read_row_group(group, columns=["image"]).column("image")
            self._group = group
        value = self._images[row - self._starts[group]].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        return content if isinstance(content, bytes) else None


def parquet_image(path: Path, number: int) -> Callable[[], bytes | None]:
    """What reads the image of a row (counted from 1) when it is called, so that no bytes wait in memory."""
    return lambda: _image_reader(path).image(number - 1)


def column_names(path: Path) -> frozenset[str]:
    """The columns of a CSV or Parquet file, in lower case.

    Raises:
        BenchmarkError: it cannot be read.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet

        try:
            return frozenset(name.lower() for name in pyarrow.parquet.read_schema(path).names)
        except (pyarrow.ArrowException, OSError) as error:
            raise BenchmarkError(
                "not_parquet", f"{path} is not a readable Parquet file: {error}.", path=path
            ) from error
    header = read_bytes(path).split(b"\n", 1)[0].decode("utf-8", "replace").lower()
    return frozenset(part.strip().strip('"') for part in header.replace("\t", ",").split(","))


def safe_name(name: str, place: str) -> str:
    """An image's name as it may be used: relative, inside its folder.

    Raises:
        BenchmarkError: it leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or ":" in name[:3]:
        raise BenchmarkError(
            "image_outside",
            f"{place}: the image path {name!r} leads out of the images' folder; it is refused. Give paths "
            f"inside "
            "`images` (or beside the file), without '..'.",
            place=place,
        )
    return path.as_posix()


def text_of(row: Row, *names: str) -> str:
    """The first of some fields that is a text with something in it, stripped; else nothing."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


_CATEGORY: Final = re.compile(
    r"categor|polic|topic|hazard|dimension|harm|scenario|subject|task|type|tag|label|intent|risk|crime|theme|field"
)


def categories_of(row: Row) -> tuple[str, ...]:
    """The values of every field of a row, nested ones too, whose name says that it holds a category."""
    found: list[str] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += categories_of(value)
        elif _CATEGORY.search(str(name).lower()):
            values = value if isinstance(value, list | tuple) else [value]
            found += [
                text.strip()
                for text in values
                if isinstance(text, str) and 0 < len(text) <= _LONGEST_CATEGORY
            ]
    return tuple(dict.fromkeys(found))


_LONGEST_CATEGORY: Final = 120
"""Characters. A longer value is a text."""
