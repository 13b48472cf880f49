"""Files of recorded responses and labels, one value per query and number of turns."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from safemt.core.errors import LabelsError
from safemt.io.packed import read_unpacked

PUBLISHED_LABEL_FIELD: Final = "safety_label"


@dataclass(frozen=True, slots=True)
class RecordedValue:
    """A response or a label that was recorded for one sample."""

    query_id: str
    turns: int
    value: str


def read_recorded(path: Path, *, field: str) -> list[RecordedValue]:
    """Read `field` of every row of a JSONL (also gzipped) or JSON-array file.

    A row names its sample by `query_id` (or `id`) and `turns`, a number or the list of messages.

    Raises:
        LabelsError: the file cannot be read, is empty, or a row lacks what is needed.
    """
    values = [
        RecordedValue(
            query_id=_row_id(row, place), turns=_row_turns(row, place), value=_row_text(row, field, place)
        )
        for row, place in _rows(path)
    ]
    if not values:
        raise LabelsError(f"{path} is empty: there is no row in it. Give another file, or fetch it again.")
    return values


def read_published_labels(folder: Path) -> dict[str, list[RecordedValue]]:
    """Labels in the published layout, `<k>/label/<model>.json`, by model.

    Raises:
        LabelsError: there are none, or a file cannot be read.
    """
    models: dict[str, list[RecordedValue]] = {}
    files = sorted(
        folder.glob("*/label/*.json"), key=lambda file: (file.parent.parent.name.zfill(4), file.name)
    )
    for file in files:
        round_name = file.parent.parent.name
        if not round_name.isdecimal():
            continue
        models.setdefault(file.stem, []).extend(
            RecordedValue(_row_id(row, place), int(round_name), _row_text(row, PUBLISHED_LABEL_FIELD, place))
            for row, place in _rows(file)
        )
    if not models:
        raise LabelsError(
            f"{folder} holds neither a run nor labels: expected run.sqlite, or files <k>/label/<model>.json."
        )
    return models


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    content = read_unpacked(path).removeprefix(b"\xef\xbb\xbf")
    if content.lstrip().startswith(b"["):
        rows = _parse(content, path, line=1)
        places = ((row, f"{path}, record {index}") for index, row in enumerate(rows))
    else:
        places = (
            (_parse(line, path, line=number), f"{path}, line {number}")
            for number, line in enumerate(content.split(b"\n"), start=1)
            if line.strip()
        )
    for row, place in places:
        if not isinstance(row, dict):
            raise LabelsError(f"{place} is not a JSON object. Mend or remove it.")
        yield row, place


def _parse(content: bytes, path: Path, *, line: int) -> Any:
    """JSON that begins on this line of the file."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise LabelsError(
            f"{path} is neither a JSON array nor JSONL: {error.msg} at line {line + error.lineno - 1}, "
            f"column {error.colno}. Mend the file or fetch it again."
        ) from error


def _row_id(row: dict[str, Any], place: str) -> str:
    value = row.get("query_id", row.get("id"))
    if not isinstance(value, str) or not value:
        raise LabelsError(f"{place} has no text `id` or `query_id`. Add it.")
    return value


def _row_turns(row: dict[str, Any], place: str) -> int:
    value = row.get("turns")
    if isinstance(value, list):
        value = sum(isinstance(message, dict) and message.get("role") == "user" for message in value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise LabelsError(f"{place} has no `turns`. Add the number of user turns, or the list of messages.")
    return value


def _row_text(row: dict[str, Any], field: str, place: str) -> str:
    value = row.get(field)
    if value is None and field in row:
        return ""
    if not isinstance(value, str):
        raise LabelsError(f"{place} has no text `{field}`. Add it.")
    return value


def read_by_sample(path: Path, *, field: str) -> tuple[dict[tuple[str, int], str], str]:
    """The values of `read_recorded` by query id and number of turns, and the SHA-256 of the file.

    Raises:
        LabelsError: as `read_recorded`, or a sample has two different values.
    """
    values: dict[tuple[str, int], str] = {}
    for row in read_recorded(path, field=field):
        if values.setdefault((row.query_id, row.turns), row.value) != row.value:
            raise LabelsError(
                "two_values",
                f"{path}: {row.query_id} at {row.turns} turns has two different values of `{field}`. Keep "
                "one; put several models or repetitions into separate files.",
                path=path, query_id=row.query_id, turns=row.turns, field=field,
            )  # fmt: skip
    return values, hashlib.sha256(path.read_bytes()).hexdigest()
