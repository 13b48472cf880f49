"""Checks of judges against people, kept under the hash of each judge's configuration.

They are in `$SAFEMT_HOME/validations/<judge id>/`, by default in the user's data folder, so that one check
serves every later run with the same judge.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safemt.io.files import PUBLIC, write_file
from safemt.stats.agreement import Confusion


@dataclass(frozen=True, slots=True)
class Validation:
    """One check of one judge against one file of labels by people."""

    judge: str
    """The judge's name."""
    judge_id: str
    labels: str
    """The file's name."""
    labels_sha256: str
    selection: str
    """Which of its rows: `all`, `language en`, …"""
    confusion: Confusion
    checked: str
    """The time, in ISO 8601 and UTC."""
    safemt: str
    """The version of safemt that made the check."""

    @property
    def rows(self) -> int:
        """Rows that people labelled safe or unsafe."""
        return self.confusion.graded + self.confusion.unread


def safemt_home() -> Path:
    """`$SAFEMT_HOME`, or the user's data folder for safemt."""
    if home := os.environ.get("SAFEMT_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "safemt"


def save_validation(validation: Validation) -> Path:
    """Keep a validation. It replaces an earlier one of the same judge on the same rows.

    Raises:
        FileError: it cannot be written.
    """
    folder = safemt_home() / "validations" / validation.judge_id
    name = f"{validation.labels_sha256[:16]}-{'-'.join(validation.selection.split())}.json"
    content = json.dumps(asdict(validation), indent=2) + "\n"
    return write_file(folder / name, content.encode(), mode=PUBLIC)


def validations_of(judge_id: str) -> list[Validation]:
    """The validations of a judge, newest first. A file that cannot be read is skipped."""
    found = []
    for path in (safemt_home() / "validations" / judge_id).glob("*.json"):
        try:
            found.append(_validation(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return sorted(found, key=lambda validation: validation.checked, reverse=True)


def _validation(fields: dict[str, Any]) -> Validation:
    return Validation(**{**fields, "confusion": Confusion(**fields["confusion"])})
