"""What a check says about a benchmark: each finding names file, index and id."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    """The record cannot be used, or would make the figures wrong; a run refuses."""
    WARNING = "warning"
    """A quirk of the data, kept as it stands."""


MISSING_IMAGE: Final = "missing_image"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check found."""

    level: Level
    code: str
    """Stable short name, for scripts: `missing_image`, `duplicate_id`, `empty_turn`, …"""
    message: str
    """What is wrong and what to do, without the place."""
    file: str
    """Relative to the benchmark's root."""
    index: int | None = None
    """Position of the record in its file, from 0 (for JSONL: line number - 1)."""
    id: str | None = None
    """The query's id, where it could be read."""

    @property
    def place(self) -> str:
        """Where: `4_turn.json, record 17 (mllm_fraud_1)`."""
        record = "" if self.index is None else f", record {self.index}"
        return f"{self.file}{record}" + (f" ({self.id})" if self.id else "")

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Only the errors."""
    return [finding for finding in findings if finding.level is Level.ERROR]


def count_codes(findings: Iterable[Finding]) -> dict[str, int]:
    """How often each code occurs, most frequent first."""
    return dict(Counter(finding.code for finding in findings).most_common())
