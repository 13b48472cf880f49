"""What a check finds in a benchmark: each finding has a stable code and names its record."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MISSING_IMAGE: Final = "missing_image"
MOST_LISTED: Final = 10_000
"""Findings of one code that are listed; the others are only counted."""


class Level(StrEnum):
    """How serious a finding is. All findings of one code have the same level."""

    ERROR = "error"
    """The record cannot be used, or would make the figures wrong; a run refuses the benchmark."""
    WARNING = "warning"
    """A quirk of the data, kept as it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found."""

    level: Level
    code: str
    """Stable short name, for scripts: `missing_image`, `duplicate_id`, `empty_turn`, …"""
    message: str
    """What is wrong and what to do, without the place."""
    file: str
    """Relative to the benchmark's root."""
    row: str
    """The record in its file, from 1: `line 3` in JSON Lines, else `record 3`."""
    index: int
    """The same as a number from 0."""
    id: str | None = None
    """The query's id, where it can be read."""

    @property
    def place(self) -> str:
        """Where: `4_turn.json, record 18 (mllm_fraud_1)`."""
        return f"{self.file}, {self.row}" + (f" ({self.id})" if self.id else "")

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Only the errors."""
    return [finding for finding in findings if finding.level is Level.ERROR]


def count_codes(findings: Iterable[Finding]) -> dict[str, int]:
    """How often each code occurs, most frequent first."""
    return dict(Counter(finding.code for finding in findings).most_common())
