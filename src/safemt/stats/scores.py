"""What became of one sample: all that the figures of a run are computed from."""

from dataclasses import dataclass

from safemt.core.taxonomy import Label, Outcome


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """The result of one sample: all that the figures are computed from."""

    query_id: str
    turns: int
    label: Label | None
    """None while the sample is pending."""
    outcome: Outcome | None = None
    """None if only labels are known."""
    cause: str = ""
    """Why it is `ungraded`."""
    scenario: str | None = None
    method: str | None = None
    twin_of: str | None = None
    """Set for a benign twin, which counts for over-refusal, never for ASR or SI."""
