"""Files of recorded responses and labels, one value per query and number of turns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import LabelsError
from safemt.io.files import hash_file
from safemt.io.rows import require_rows

PUBLISHED_LABEL_FIELD: Final = "safety_label"


@dataclass(frozen=True, slots=True)
class RecordedValue:
    """A response or a label that was recorded for one sample."""

    query_id: str
    turns: int
    value: str


def read_recorded(path: Path, *, field: str) -> list[RecordedValue]:
    """Read `field` of every row of a file, in any form that `read_rows` takes.

    A row names its sample by `query_id` (or `id`) and `turns`, a number or the list of messages.

    Raises:
        LabelsError: `missing_field`, or as for `require_rows`.
    """
    return [
        RecordedValue(_row_id(row, place), _row_turns(row, place), _row_text(row, field, place))
        for row, place in require_rows(path, error=LabelsError)
    ]


def read_by_sample(path: Path, *, field: str) -> tuple[dict[tuple[str, int], str], str]:
    """Read the values of `read_recorded` by query id and number of turns; also the SHA-256 of the file.

    Raises:
        LabelsError: `two_values` if a sample has two different values, or as for `read_recorded`.
    """
    values: dict[tuple[str, int], str] = {}
    for row in read_recorded(path, field=field):
        if values.setdefault((row.query_id, row.turns), row.value) != row.value:
            raise LabelsError(
                "two_values",
                f"{path}: {row.query_id} at {row.turns} turns has two different values of `{field}`. Keep "
                "one, and put several models or repetitions into separate files.",
                path=path,
                query_id=row.query_id,
                turns=row.turns,
                field=field,
            )
    return values, hash_file(path)


def read_published_labels(folder: Path) -> dict[str, list[RecordedValue]]:
    """Read labels in the published layout, `<k>/label/<model>.json`, by model.

    Raises:
        LabelsError: `no_labels`, `missing_field`, or as for `require_rows`.
    """
    models: dict[str, list[RecordedValue]] = {}
    files = sorted(
        folder.glob("*/label/*.json"), key=lambda file: (file.parent.parent.name.zfill(4), file.name)
    )
    for file in files:
        turns = file.parent.parent.name
        if turns.isdecimal():
            models.setdefault(file.stem, []).extend(
                RecordedValue(_row_id(row, place), int(turns), _row_text(row, PUBLISHED_LABEL_FIELD, place))
                for row, place in require_rows(file, error=LabelsError)
            )
    if not models:
        raise LabelsError(
            "no_labels",
            f"{folder} holds neither a run nor labels: expected run.sqlite, or files <k>/label/<model>.json.",
            path=folder,
        )
    return models


def _row_id(row: dict[str, Any], place: str) -> str:
    value = row.get("query_id", row.get("id"))
    if isinstance(value, str) and value:
        return value
    raise _missing(place, "query_id", "text `id` or `query_id`")


def _row_turns(row: dict[str, Any], place: str) -> int:
    value = row.get("turns")
    if isinstance(value, list):
        value = sum(isinstance(message, dict) and message.get("role") == "user" for message in value)
    elif isinstance(value, str) and value.isdecimal() and len(value) < 4:  # a CSV file has only text
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise _missing(place, "turns", "`turns`, the number of user turns or the list of messages")


def _row_text(row: dict[str, Any], field: str, place: str) -> str:
    value = row.get(field)
    if value is None and field in row:
        return ""
    if isinstance(value, str):
        return value
    raise _missing(place, field, f"text `{field}`")


def _missing(place: str, field: str, wanted: str) -> LabelsError:
    return LabelsError("missing_field", f"{place} has no {wanted}. Add it.", place=place, field=field)
