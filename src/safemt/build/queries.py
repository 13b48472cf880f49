"""What a query is on its way into a benchmark, and what became of the rows that did not make it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from safemt.core.taxonomy import Scenario


class Stage(StrEnum):
    """Where in a build something was left out."""

    READING = "reading"
    SCREENING = "screening"
    MERGING = "merging"
    PICTURES = "pictures"
    DIALOGUES = "dialogues"


@dataclass(frozen=True, slots=True)
class Reject:
    """One thing left out, and why. Holds the dialogue only where a written one was rejected."""

    stage: Stage
    reason: str
    """Short and stable, for counting: `empty`, `too_long`, `near_duplicate`, `intent_retained`, …"""
    place: str
    """File and row, or the query's id."""
    detail: str = ""
    kept: str = ""
    """The id of the query that stands for this one, where two were merged."""
    dialogue: tuple[str, ...] = ()
    fatal: bool = True
    """Whether it cost a query. A dialogue drawn anew cost nothing."""


@dataclass(frozen=True, slots=True)
class PictureSource:
    """An image as the source gives it: a file in a folder, or what reads its bytes when needed."""

    root: Path | None = None
    name: str = ""
    """Relative to `root`, with forward slashes; for bytes, only a name for messages."""
    read: Callable[[], bytes | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawQuery:
    """One row of a source, in our words, before any check."""

    text: str
    place: str
    """`FILE, row N`: where it stands, for messages."""
    source: str
    source_id: str = ""
    licence: str = "not stated"
    family: str = ""
    """Which section of the mapping table its category belongs to."""
    category: str = ""
    """The source's own category."""
    categories: tuple[str, ...] = ()
    """What every other column of categories says of it:

    policies, topics, hazards. Screening reads them all.
    """
    scenario: str = ""
    """One of the 17, where the source names it itself."""
    language: str = ""
    """As the source says; empty where it does not."""
    picture: PictureSource | None = None
    picture_text: str = ""
    """What is to stand in the drawn picture, where the source says: a context, a description."""
    key_phrase: str = ""
    harmful: bool = True
    """False for a row that is only there as the benign twin of another."""
    pair: str = ""
    """Rows with the same value are a contrast pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query that was screened and given its scenario."""

    text: str
    scenario: Scenario
    assigned_by: str
    """`source`, `mapping`, `mapping+classifier` or `classifier`."""
    confidence: float
    """Of the classifier, in [0, 1]; 1 where it was not asked."""
    raw: RawQuery
    merged: tuple[str, ...] = ()
    """The places of the rows that were merged into this one."""
    twin_text: str = ""
    """The benign side of its contrast pair, where the source has one."""

    @property
    def id(self) -> str:
        """The same for the same text and scenario in every build: `fraud_1f3a90c2e4`."""
        digest = hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.scenario.slug}_{digest[:10]}"


@dataclass(slots=True)
class Ledger:
    """Counts and keeps everything that a build leaves out."""

    rejects: list[Reject] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    """Rows read, by source."""

    def add(self, reject: Reject) -> None:
        """Keep one reject."""
        self.rejects.append(reject)

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """How often each reason occurred at each stage."""
        found: dict[str, Counter[str]] = {}
        for reject in self.rejects:
            found.setdefault(reject.stage.value, Counter())[reject.reason] += 1
        return {stage: dict(sorted(found[stage].items())) for stage in Stage if stage in found}
