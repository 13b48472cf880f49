"""The file layouts a benchmark comes in, each read as the same stream of raw records.

- `folder`: the published `{k}_turn.json` arrays.
- `hub`: the published parquet or JSONL rows, the dialogue as a string, no `question`.
- `jsonl`: ours, `samples.jsonl` (docs/file-formats.md), which also carries method and benign twins.
"""

import ast
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from safemt.core.errors import BenchmarkError

_BOM: Final = b"\xef\xbb\xbf"

FORMAT: Final = "safemt/1"
"""What `benchmark.json` says of our own layout."""
SAMPLES_FILE: Final = "samples.jsonl"
ABOUT_FILE: Final = "benchmark.json"

_ROUND_FILE: Final = re.compile(r"^(\d+)_turns?(?:[._-].*)?\.(?:json|jsonl|jsonl\.gz|parquet)$")
_ROW_FILES: Final = (".parquet", ".jsonl", ".jsonl.gz")
_COLUMNS: Final = {
    *("id", "scenario", "image_rel_path", "image_path", "image_sha256", "dialogue", "question", "turns"),
    *("method", "twin_of", "language", "source", "licence"),
}
"""What is read of a parquet file: others may hold the image bytes themselves."""
_MAX_LITERAL: Final = 200_000
"""Longest dialogue string handed to a parser. Python's own takes 500 bytes of memory for a character."""
_MAX_LINE: Final = 16 * 2**20
"""Longest line of a JSONL file, in bytes: a few kilobytes of gzip can hold one that fills the memory."""


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

    def name_of(self, file: Path) -> str:
        """A file's name as findings give it."""
        return printable(file.relative_to(self.root).as_posix())


def find_source(path: Path) -> Source:
    """Tell the layout of a benchmark from the names of its files.

    Raises:
        BenchmarkError: there is nothing there that looks like a benchmark, or it may not be read.
    """
    try:
        if path.is_file():
            return Source(layout=_layout_of_file(path), root=path.parent, files=(path,))
        if path.is_dir():
            return _source_in(path)
    except OSError as error:
        raise BenchmarkError(
            f"{path} cannot be read: {error.strerror}. Give a folder or file that can be."
        ) from error
    raise BenchmarkError(
        f"There is no benchmark at {path}: no such file or folder. "
        "Give a folder, a file, demo, or hub:OWNER/NAME."
    )


def read_records(source: Source) -> Iterator[RawRecord]:
    """Every record of every file, in order, one at a time where the format allows.

    Raises:
        BenchmarkError: a file as a whole cannot be read (broken JSON array, wrong encoding, no parquet
            reader), or there is no record in it.
    """
    for path in source.files:
        name = source.name_of(path)
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
                problem = (
                    str(row)
                    if isinstance(row, _BadLine)
                    else "the record is not a JSON object; mend or remove it"
                )
                yield RawRecord(file=name, index=index, fields=None, file_turns=turns, problem=problem)


def printable(name: str) -> str:
    """A name as it may be shown: nothing in it steers a terminal, or cannot be written as UTF-8."""
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


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
        raise ValueError(
            f"the dialogue string has {len(text):,} characters, more than {_MAX_LITERAL:,}; shorten it"
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        with warnings.catch_warnings():
            # A stray backslash in somebody's text is no concern of Python's here.
            warnings.simplefilter("ignore")
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, ArithmeticError, MemoryError, RecursionError) as error:
        raise ValueError(
            "the dialogue string is neither JSON nor a Python literal; fetch the record again"
        ) from error


def read_about(root: Path) -> dict[str, Any]:
    """`benchmark.json` of our own layout; empty where there is none.

    Raises:
        BenchmarkError: it is broken, or of a format this version does not know, or its name is no text.
    """
    path = root / ABOUT_FILE
    if not path.is_file():
        return {}
    about = _parse_file(path)
    if isinstance(about, dict) and not isinstance(about.get("name", ""), str):
        raise BenchmarkError(f"`name` in {path} must be a text; mend it.")
    if not isinstance(about, dict) or about.get("format", FORMAT) != FORMAT:
        raise BenchmarkError(
            f"{path} is not of format {FORMAT!r}; this version of safemt cannot tell how to read it. "
            "Use a newer safemt, or write the benchmark again with this one."
        )
    return about


def _source_in(folder: Path) -> Source:
    for name in (SAMPLES_FILE, f"{SAMPLES_FILE}.gz"):
        if (folder / name).is_file():
            return Source(layout=Layout.JSONL, root=folder, files=(folder / name,))
    for inner in (folder, folder / "Data", folder / "data"):
        files = inner.iterdir() if inner.is_dir() else ()
        rounds = [file for file in files if file.suffix == ".json" and turns_in_name(file)]
        if rounds:
            return Source(layout=Layout.FOLDER, root=folder, files=tuple(sorted(rounds, key=_by_turns)))
    rows = [
        file
        for file in folder.rglob("*")
        if file.name.endswith(_ROW_FILES)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    if rows:
        return Source(layout=Layout.HUB, root=folder, files=tuple(sorted(rows, key=_by_turns)))
    raise BenchmarkError(
        f"{folder} holds no benchmark: expected {SAMPLES_FILE}, the published 1_turn.json, 2_turn.json, …, "
        "or parquet or JSONL files as on the hub. Give the folder that holds them."
    )


def _layout_of_file(path: Path) -> Layout:
    if path.suffix == ".json":
        return Layout.FOLDER
    if path.suffix == ".parquet":
        return Layout.HUB
    if path.name.endswith(_ROW_FILES):
        rows = (row for _, row in _line_rows(path) if isinstance(row, dict))
        return Layout.JSONL if "query_id" in next(rows, {}) else Layout.HUB
    raise BenchmarkError(
        f"{path} is no benchmark file: expected .json, .jsonl, .jsonl.gz or .parquet. "
        "Give one of these, or the folder that holds them."
    )


def _by_turns(path: Path) -> tuple[int, str]:
    return (turns_in_name(path) or 0, path.as_posix())


def _parse_file(path: Path) -> object:
    try:
        content = path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        raise BenchmarkError(
            f"{path} cannot be read: {error.strerror}. Make it readable or fetch it again."
        ) from error
    if not content.strip():
        raise _empty(path)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BenchmarkError(
            f"{path} is not valid JSON: {_json_problem(content, error)}. Mend the file or fetch it again."
        ) from error


def _array_rows(path: Path) -> Iterator[tuple[int, object]]:
    rows = _parse_file(path)
    if not isinstance(rows, list):
        raise BenchmarkError(
            f"{path} is not a JSON array of records. If there is one record to a line, name it .jsonl."
        )
    if not rows:
        raise _empty(path)
    yield from enumerate(rows)


def _line_rows(path: Path) -> Iterator[tuple[int, object]]:
    found = False
    index = -1
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            while line := lines.readline(_MAX_LINE):
                index += 1
                if len(line) == _MAX_LINE:
                    raise BenchmarkError(
                        f"{path}: line {index + 1} has more than {_MAX_LINE // 2**20} MB, "
                        "which no record has. Is it another kind of file?"
                    )
                content = line.removeprefix(_BOM).strip()
                if not content:
                    continue
                found = True
                try:
                    yield index, orjson.loads(content)
                except orjson.JSONDecodeError as error:
                    problem = _json_problem(content, error, one_line=True)
                    yield index, _BadLine(f"the line is not valid JSON: {problem}; mend or remove it")
    except (OSError, EOFError, zlib.error) as error:
        raise BenchmarkError(
            f"{path} cannot be read after line {index + 1}: {getattr(error, 'strerror', None) or error}. "
            "Fetch it again."
        ) from error
    if not found:
        raise _empty(path)


def _parquet_rows(path: Path) -> Iterator[tuple[int, object]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BenchmarkError(f"Reading {path} needs a parquet reader: pip install 'safemt[hub]'.") from error
    index = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in _COLUMNS]
            if not columns:
                raise BenchmarkError(
                    f"{path} has no column of a benchmark: expected id, scenario, image_rel_path and "
                    "dialogue. Is it another kind of file?"
                )
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for row in batch.to_pylist():
                    yield index, row
                    index += 1
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BenchmarkError(f"{path} is not a readable parquet file: {reason}. Fetch it again.") from error
    if index == 0:
        raise _empty(path)


def _json_problem(content: bytes, error: orjson.JSONDecodeError, *, one_line: bool = False) -> str:
    """What is wrong with JSON text, and at which line and column (from 1, counted in characters)."""
    what, line, column = error.msg, error.lineno, error.colno
    try:
        content.decode()
    except UnicodeDecodeError as wrong:
        before = content[: wrong.start]
        what, line = "it is not UTF-8 text", before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
    return f"{what} at column {column}" if one_line else f"{what} at line {line}, column {column}"


def _empty(path: Path) -> BenchmarkError:
    return BenchmarkError(f"{path} is empty: there is no record in it. Fetch it again, or remove it.")
