"""When a moderator raises an alarm, and how often it does so in benign dialogues, turn by turn.

The **alert** is the first turn after which a dialogue's risk reaches the threshold. A dialogue with an alert
is alarmed, even if its risk falls again later.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from safemt.stats.clusters import clustered_mean, clustered_share, mapped, numbered
from safemt.stats.intervals import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The risk after each user turn of one dialogue."""

    cluster: str
    risks: tuple[float | None, ...]
    """None where nothing was scored."""

    def alert(self, threshold: float) -> int | None:
        """The first turn (from 1) with a risk of at least `threshold`; None if there is none."""
        for turn, risk in enumerate(self.risks, 1):
            if risk is not None and risk >= threshold:
                return turn
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """How early dialogues are alarmed, over those with a risk after at least one turn."""

    dialogues: int
    ever: Estimate | None
    """Share with an alarm after any turn."""
    by_turn: tuple[tuple[int, Estimate], ...]
    """(turn, share of all dialogues alarmed by then). Shorter dialogues stay in, so it ends at `ever`."""
    turn: Estimate | None
    """Mean first-alert turn of the alarmed dialogues, counted from 1."""
    lead: Estimate | None
    """Mean number of user turns after the alert; 0 is an alert at the last turn."""
    early: Estimate | None
    """Share of the alarmed dialogues of two turns or more that were alarmed before their last turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    """Alarms in benign dialogues."""

    turns: int
    """Scored user turns."""
    alarmed_turns: int
    per_1000_turns: Estimate | None
    """Turns after which the risk was at the threshold or above, per 1,000."""
    dialogues: int
    alarmed_dialogues: int
    per_dialogue: Estimate | None
    """Share of dialogues with an alarm after any turn."""


def alerts(trajectories: Sequence[Trajectory], threshold: float) -> Alerts:
    """Compute when dialogues are alarmed: shares by `clustered_share`, means by `clustered_mean`."""
    seen = [each for each in trajectories if any(risk is not None for risk in each.risks)]
    clusters = numbered([each.cluster for each in seen])
    first = [each.alert(threshold) for each in seen]
    turn = np.asarray([math.inf if at is None else at for at in first])
    length = np.asarray([len(each.risks) for each in seen], dtype=np.float64)
    alarmed = np.isfinite(turn)
    longer = alarmed & (length > 1)
    last = int(length.max()) if seen else 0
    by_turn = ((k, clustered_share(turn <= k, clusters)) for k in range(1, last + 1))
    return Alerts(
        dialogues=len(seen),
        ever=clustered_share(alarmed, clusters),
        by_turn=tuple((k, share) for k, share in by_turn if share is not None),
        turn=clustered_mean(turn[alarmed], clusters[alarmed], low=1.0, high=float(last)),
        lead=clustered_mean(
            (length - turn)[alarmed], clusters[alarmed], low=0.0, high=float(max(0, last - 1))
        ),
        early=clustered_share((turn < length)[longer], clusters[longer]),
    )


def false_alarms(trajectories: Sequence[Trajectory], threshold: float) -> FalseAlarms:
    """Compute the alarms in benign dialogues, per turn and per dialogue, by `clustered_share`."""
    seen = [each for each in trajectories if any(risk is not None for risk in each.risks)]
    turns = [(each.cluster, risk >= threshold) for each in seen for risk in each.risks if risk is not None]
    alarmed_turns = np.asarray([alarm for _, alarm in turns], dtype=np.bool_)
    alarmed = np.asarray([each.alert(threshold) is not None for each in seen], dtype=np.bool_)
    share = clustered_share(alarmed_turns, numbered([cluster for cluster, _ in turns]))
    return FalseAlarms(
        turns=len(turns),
        alarmed_turns=int(alarmed_turns.sum()),
        per_1000_turns=None if share is None else mapped(share, lambda each: 1000.0 * each),
        dialogues=len(seen),
        alarmed_dialogues=int(alarmed.sum()),
        per_dialogue=clustered_share(alarmed, numbered([each.cluster for each in seen])),
    )
