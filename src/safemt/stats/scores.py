"""What became of one sample: all that the figures of a run are computed from."""

from dataclasses import dataclass

from safemt.core.taxonomy import Label, Outcome


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """What became of one sample: all that the figures are computed from."""

    query_id: str
    turns: int
    label: Label | None
    """None while the sample is still to do."""
    outcome: Outcome | None = None
    """None where only labels are known."""
    cause: str = ""
    """Why it is `ungraded`."""
    scenario: str | None = None
    method: str | None = None
    twin_of: str | None = None
    """Set on a benign twin: it enters over-refusal, never ASR or SI."""
