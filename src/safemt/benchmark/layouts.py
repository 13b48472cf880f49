"""The file layouts of a benchmark, each read as the same stream of raw records.

- `folder`: the published `{k}_turn.json` arrays.
- `hub`: the published Parquet or JSON Lines rows, with the dialogue as a string and no `question`.
- `jsonl`: ours, `samples.jsonl` (docs/file-formats.md), which adds methods and benign twins.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from safemt.core.errors import BenchmarkError, DataError
from safemt.io.files import unreadable
from safemt.io.row import Row
from safemt.io.rows import column_names, read_rows, usual_file

FORMAT: Final = "safemt/1"
"""The `format` that `benchmark.json` states in our own layout."""
SAMPLES_FILE: Final = "samples.jsonl"
ABOUT_FILE: Final = "benchmark.json"

META: Final = ("source", "licence", "generator", "act_class", "image_role", "image_words")
"""What a record may say about how its sample was made: carried along, never sent to a model."""

_ROUND_FILE: Final = re.compile(r"^(\d+)_turns?(?:[._-].*)?\.(?:json|jsonl|jsonl\.gz|parquet)$")
_ROW_FILES: Final = (".parquet", ".jsonl", ".jsonl.gz")
_COLUMNS: Final = (
    *("id", "scenario", "image_rel_path", "image_path", "image_sha256", "dialogue", "question", "turns"),
    *("method", "twin_of", "language", *META),
)
"""The columns to read from a Parquet file. Others may hold the images themselves."""
_MAX_LITERAL: Final = 200_000
"""Longest dialogue string that is parsed. Python's own parser takes 500 bytes of memory per character."""


class Layout(StrEnum):
    """How the records lie on disk."""

    FOLDER = "folder"
    HUB = "hub"
    JSONL = "jsonl"


class RawRecord(NamedTuple):
    """One record before any check."""

    file: str
    """Relative to the benchmark's root."""
    row: Row
    file_turns: int | None = None
    """k as the file's name states it."""


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one benchmark."""

    layout: Layout
    root: Path
    """Image paths are relative to this folder."""
    files: tuple[Path, ...]
    """In ascending order of turns, where the names state them."""

    def name_of(self, file: Path) -> str:
        """A file's name as findings give it."""
        return printable(file.relative_to(self.root).as_posix())


@dataclass(frozen=True, slots=True)
class About:
    """What is read of `benchmark.json`."""

    format: str = FORMAT
    name: str = ""


def find_source(path: Path) -> Source:
    """Find the files of a benchmark and tell its layout from their names.

    Raises:
        BenchmarkError: `no_such_benchmark`, `no_benchmark_files`, `not_a_benchmark_file`, or as for
            `read_rows`.
    """
    try:
        if path.is_file():
            return Source(layout=_layout_of_file(path), root=path.parent, files=(path,))
        if path.is_dir():
            return _source_in(path)
    except OSError as error:
        raise unreadable(path, error, BenchmarkError) from error
    raise BenchmarkError(
        "no_such_benchmark",
        f"There is no benchmark at {path}: no such file or folder. "
        "Give a folder, a file, demo, or hub:OWNER/NAME.",
        path=path,
    )


def read_records(source: Source) -> Iterator[RawRecord]:
    """Read every record of every file, in order, one at a time.

    Raises:
        BenchmarkError: `not_a_benchmark_file` for Parquet without a column of a benchmark; or as for
            `read_rows`.
    """
    for path in source.files:
        if path.suffix == ".parquet" and not set(_COLUMNS) & set(column_names(path, error=BenchmarkError)):
            raise BenchmarkError(
                "not_a_benchmark_file",
                f"{path} has no column of a benchmark: expected id, scenario, image_rel_path and dialogue. "
                "This may be another kind of file.",
                path=path,
            )
        name, turns = source.name_of(path), turns_in_name(path)
        for row in read_rows(path, error=BenchmarkError, columns=_COLUMNS):
            yield RawRecord(file=name, row=row, file_turns=turns)


def printable(name: str) -> str:
    """A name that is safe to show: it cannot steer a terminal and can be written as UTF-8."""
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def turns_in_name(path: Path) -> int | None:
    """k in a file name such as `4_turn.json`; None if the name does not state it."""
    match = _ROUND_FILE.match(path.name)
    return int(match.group(1)) if match else None


def parse_dialogue_text(text: str) -> object:
    """Parse a dialogue that a record holds as a string: JSON, or a Python literal as on the hub.

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
            # Python would warn about a stray backslash in somebody's text.
            warnings.simplefilter("ignore")
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, ArithmeticError, MemoryError, RecursionError) as error:
        raise ValueError(
            "the dialogue string is neither JSON nor a Python literal; fetch the record again"
        ) from error


def read_about(root: Path) -> About:
    """Read `benchmark.json` of our own layout, which may be absent.

    Raises:
        BenchmarkError: `unknown_format`; or as for `read_json` and `typed`.
    """
    path = root / ABOUT_FILE
    if not path.is_file():
        return About()
    from safemt.io.yaml import read_json, typed

    try:
        about = typed(read_json(path), About, where=str(path))
    except DataError as error:
        raise BenchmarkError(error.code, str(error), **error.fields) from error
    if about.format != FORMAT:
        raise BenchmarkError(
            "unknown_format",
            f"{path} states the format {about.format[:40]!r}; this version of safemt reads {FORMAT!r}. "
            "Use a newer safemt, or write the benchmark again with this one.",
            path=path,
        )
    return about


def _source_in(folder: Path) -> Source:
    if samples := usual_file(folder, (SAMPLES_FILE,)):
        return Source(layout=Layout.JSONL, root=folder, files=(samples,))
    for inner in (folder, folder / "Data", folder / "data"):
        files = inner.iterdir() if inner.is_dir() else ()
        rounds = [file for file in files if file.suffix == ".json" and turns_in_name(file) and file.is_file()]
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
        "no_benchmark_files",
        f"{folder} holds no benchmark: expected {SAMPLES_FILE}, the published 1_turn.json, 2_turn.json, …, "
        "or Parquet or JSON Lines files as on the hub. Give the folder that holds them.",
        path=folder,
    )


def _layout_of_file(path: Path) -> Layout:
    if path.suffix == ".json":
        return Layout.FOLDER
    if path.suffix == ".parquet":
        return Layout.HUB
    if path.name.endswith(_ROW_FILES):
        rows = read_rows(path, error=BenchmarkError)
        first: dict[str, object] = next((row.fields for row in rows if row.fields is not None), {})
        return Layout.JSONL if "query_id" in first else Layout.HUB
    raise BenchmarkError(
        "not_a_benchmark_file",
        f"{path} is not a benchmark file: expected .json, .jsonl, .jsonl.gz or .parquet. "
        "Give one of these, or the folder that holds them.",
        path=path,
    )


def _by_turns(path: Path) -> tuple[int, str]:
    return (turns_in_name(path) or 0, path.as_posix())
