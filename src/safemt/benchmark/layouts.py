"""The file layouts a benchmark comes in, each read as the same stream of raw records.

- `folder`: the published `{k}_turn.json` arrays.
- `hub`: the published parquet or JSONL rows, the dialogue as a string, no `question`.
- `jsonl`: ours, `samples.jsonl` (docs/file-formats.md), which also carries method and benign twins.
"""

import ast
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from safemt.core.errors import BenchmarkError

FORMAT: Final = "safemt/1"
"""What `benchmark.json` says of our own layout."""
SAMPLES_FILE: Final = "samples.jsonl"
ABOUT_FILE: Final = "benchmark.json"

_ROUND_FILE = re.compile(r"^(\d+)_turns?(?:[._-].*)?\.(?:json|jsonl|parquet)$")
_MAX_LITERAL = 1_000_000
"""Longest dialogue string handed to a parser; Python's own literal parser is not safe on more."""


class _BadLine(str):
    """Stands in a stream of rows for a line that could not be parsed, and says why."""

    __slots__ = ()


class Layout(StrEnum):
    """How the records lie on disk."""

    FOLDER = "folder"
    HUB = "hub"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record before any check: what the file says, and where it says it."""

    file: str
    index: int
    fields: dict[str, Any] | None
    """None where the record could not be parsed; then `problem` says why."""
    file_turns: int | None = None
    """k as the file's name states it."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one benchmark."""

    layout: Layout
    root: Path
    """Image paths are relative to this folder."""
    files: tuple[Path, ...]
    """In ascending order of turns where the names say so."""


def find_source(path: Path) -> Source:
    """Tell the layout of a benchmark from the names of its files.

    Raises:
        BenchmarkError: there is nothing there that looks like a benchmark.
    """
    if path.is_file():
        return Source(layout=_layout_of_file(path), root=path.parent, files=(path,))
    if not path.is_dir():
        raise BenchmarkError(f"There is no benchmark at {path}: no such file or folder.")
    if (path / SAMPLES_FILE).is_file():
        return Source(layout=Layout.JSONL, root=path, files=(path / SAMPLES_FILE,))
    rounds = sorted((file for file in path.glob("*_turn*.json") if turns_in_name(file)), key=_by_turns)
    if rounds:
        return Source(layout=Layout.FOLDER, root=path, files=tuple(rounds))
    for inner in ("Data", "data"):
        if any(turns_in_name(file) for file in (path / inner).glob("*_turn*.json")):
            return find_source(path / inner)
    found = [file for suffix in ("parquet", "jsonl") for file in path.rglob(f"*.{suffix}")]
    rows = sorted(found, key=_by_turns)
    if rows:
        return Source(layout=Layout.HUB, root=path, files=tuple(rows))
    raise BenchmarkError(
        f"{path} holds no benchmark: expected {SAMPLES_FILE}, the published 1_turn.json, 2_turn.json, …, "
        "or parquet/JSONL files as on the hub."
    )


def read_records(source: Source) -> Iterator[RawRecord]:
    """Every record of every file, in order, one at a time where the format allows.

    Raises:
        BenchmarkError: a file as a whole cannot be read (broken JSON array, wrong encoding, no parquet reader).
    """
    for path in source.files:
        name = path.relative_to(source.root).as_posix()
        turns = turns_in_name(path)
        if path.suffix == ".parquet":
            rows = _parquet_rows(path)
        elif path.suffix == ".json":
            rows = _array_rows(path)
        else:
            rows = _line_rows(path)
        for index, row in rows:
            if isinstance(row, dict):
                yield RawRecord(file=name, index=index, fields=row, file_turns=turns)
            else:
                problem = str(row) if isinstance(row, _BadLine) else "the record is not a JSON object"
                yield RawRecord(file=name, index=index, fields=None, file_turns=turns, problem=problem)


def turns_in_name(path: Path) -> int | None:
    """k in a file name such as `4_turn.json`; None if the name does not say."""
    match = _ROUND_FILE.match(path.name)
    return int(match.group(1)) if match else None


def parse_dialogue_text(text: str) -> object:
    """A dialogue that stands in a record as a string: JSON, or a Python literal as the hub has it.

    Raises:
        ValueError: it is neither, or too long.
    """
    if len(text) > _MAX_LITERAL:
        raise ValueError(f"the dialogue string has {len(text):,} characters (at most {_MAX_LITERAL:,})")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
            raise ValueError("the dialogue string is neither JSON nor a Python literal") from error


def read_about(root: Path) -> dict[str, Any]:
    """`benchmark.json` of our own layout; empty where there is none.

    Raises:
        BenchmarkError: it is broken, or of a format this version does not know.
    """
    path = root / ABOUT_FILE
    if not path.is_file():
        return {}
    about = _parse_file(path)
    if not isinstance(about, dict) or about.get("format", FORMAT) != FORMAT:
        raise BenchmarkError(
            f"{path} is not of format {FORMAT!r}; this version of safemt cannot tell how to read it. "
            "Use a newer safemt, or write the benchmark again with this one."
        )
    return about


def _layout_of_file(path: Path) -> Layout:
    if path.suffix == ".json":
        return Layout.FOLDER
    if path.suffix == ".parquet":
        return Layout.HUB
    if path.suffix == ".jsonl" or path.name.endswith(".jsonl.gz"):
        for _, row in _line_rows(path):
            return Layout.JSONL if isinstance(row, dict) and "query_id" in row else Layout.HUB
        raise BenchmarkError(f"{path} is empty: there is no record in it.")
    raise BenchmarkError(f"{path} is no benchmark file: expected .json, .jsonl, .jsonl.gz or .parquet.")


def _by_turns(path: Path) -> tuple[int, str]:
    return (turns_in_name(path) or 0, path.as_posix())


def _parse_file(path: Path) -> object:
    content = _read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise BenchmarkError(f"{path} is empty: there is no record in it.")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BenchmarkError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            "Mend the file or fetch it again."
        ) from error


def _array_rows(path: Path) -> Iterator[tuple[int, object]]:
    rows = _parse_file(path)
    if not isinstance(rows, list):
        raise BenchmarkError(f"{path} is not a JSON array of records; is it another kind of file?")
    yield from enumerate(rows)


def _line_rows(path: Path) -> Iterator[tuple[int, object]]:
    found = False
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for index, line in enumerate(lines):
                content = line.removeprefix(b"\xef\xbb\xbf").strip()
                if not content:
                    continue
                found = True
                try:
                    yield index, orjson.loads(content)
                except orjson.JSONDecodeError as error:
                    yield index, _BadLine(f"the line is not valid JSON ({error.msg}, column {error.colno})")
    except (OSError, EOFError) as error:
        raise BenchmarkError(f"{path} cannot be read: {error}.") from error
    if not found:
        raise BenchmarkError(f"{path} is empty: there is no record in it.")


def _parquet_rows(path: Path) -> Iterator[tuple[int, object]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BenchmarkError(
            f"Reading {path.name} needs a parquet reader: pip install 'safemt[hub]'."
        ) from error
    try:
        index = 0
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield index, row
                    index += 1
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} is not a readable parquet file: {_first_line(error)}.") from error
    if index == 0:
        raise BenchmarkError(f"{path} is empty: there is no record in it.")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror}.") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
