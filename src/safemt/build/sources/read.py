"""From the paths on the command line to rows: tells the layout and calls its reader."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from safemt.build.queries import Ledger, RawQuery
from safemt.build.sources import folders, tables
from safemt.build.sources.files import column_names
from safemt.build.sources.jsonl import read_jsonl
from safemt.core.errors import UsageError


class QueryFormat(StrEnum):
    """`--format`."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    MM_SAFETYBENCH = "mm-safetybench"
    JAILBREAKV = "jailbreakv"
    REDTEAM_2K = "redteam-2k"
    MLLMGUARD = "mllmguard"
    FIGSTEP = "figstep"
    BEAVERTAILS_V = "beavertails-v"
    HARMBENCH = "harmbench"


_TABLES: Final = {
    QueryFormat.HARMBENCH: tables.HARMBENCH_COLUMNS,
    QueryFormat.JAILBREAKV: tables.JAILBREAKV_COLUMNS,
    QueryFormat.FIGSTEP: tables.FIGSTEP_COLUMNS,
    QueryFormat.REDTEAM_2K: tables.REDTEAM_COLUMNS,
}


def read_queries(
    path: Path, *, layout: QueryFormat, images: Path | None, ledger: Ledger
) -> Iterator[RawQuery]:
    """The rows of one file or folder, in their order.

    Raises:
        UsageError: there is nothing at `path`, or nothing whose layout can be told.
        BenchmarkError: it cannot be read in that layout.
    """
    if not path.exists():
        raise UsageError("no_such_file", f"`queries`: there is no file or folder {path}.", path=path)
    for file in _research_files(path) if layout is QueryFormat.AUTO else [path]:
        match _detect(file) if layout is QueryFormat.AUTO else layout:
            case QueryFormat.JSONL:
                yield from read_jsonl(file, images=images, ledger=ledger)
            case QueryFormat.CSV:
                yield from tables.read_csv(file, images=images)
            case QueryFormat.HARMBENCH:
                yield from tables.read_harmbench(file, images=images)
            case QueryFormat.JAILBREAKV:
                yield from tables.read_jailbreakv(file, images=images)
            case QueryFormat.FIGSTEP:
                yield from tables.read_figstep(file, images=images)
            case QueryFormat.REDTEAM_2K:
                yield from tables.read_redteam(file)
            case QueryFormat.MLLMGUARD:
                yield from folders.read_mllmguard(file, ledger=ledger)
            case QueryFormat.MM_SAFETYBENCH if _on_hub(file):
                yield from folders.read_mm_safetybench_hub(file)
            case QueryFormat.MM_SAFETYBENCH:
                yield from folders.read_mm_safetybench(file, images=images)
            case _:
                yield from folders.read_beavertails_v(file)


def _research_files(path: Path) -> list[Path]:
    """A folder of the research schema stands for the file of dialogues in it."""
    for name in ("dialogues.jsonl", "dialogues.jsonl.gz"):
        if (path / name).is_file():
            return [path / name]
    return [path]


def _detect(path: Path) -> QueryFormat:  # noqa: PLR0911, each layout leaves
    name = path.name.removesuffix(".gz").lower()
    if path.is_dir():
        if any(path.rglob("prompt.csv")):
            return QueryFormat.MLLMGUARD
        if _on_hub(path):
            return QueryFormat.MM_SAFETYBENCH
        if any(path.rglob("*.parquet")):
            return QueryFormat.BEAVERTAILS_V
        if any(path.rglob("[0-9][0-9]-*.json")):
            return QueryFormat.MM_SAFETYBENCH
    elif name.endswith((".jsonl", ".ndjson")):
        return QueryFormat.JSONL
    elif name.endswith((".csv", ".tsv")):
        names = column_names(path)
        return next((kind for kind, columns in _TABLES.items() if set(columns) <= names), QueryFormat.CSV)
    elif name.endswith(".parquet") and {"question", "image"} <= column_names(path):
        return QueryFormat.BEAVERTAILS_V
    elif name.endswith(".json"):
        return QueryFormat.MM_SAFETYBENCH
    raise UsageError(
        "unknown_layout",
        f"The layout of {path} cannot be told. Give JSONL or CSV (also gzipped), a folder with "
        f"dialogues.jsonl, or name "
        f"the layout in `format`: {', '.join(list(QueryFormat)[1:])}.",
        path=path,
    )


def _on_hub(path: Path) -> bool:
    """Whether a folder is MM-SafetyBench as on the hub."""
    return path.is_dir() and any(path.rglob("Text_only.parquet"))
