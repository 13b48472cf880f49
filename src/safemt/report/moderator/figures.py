"""Every figure of one moderator on dialogues of known intent.

A dialogue's **risk** is that after its last user turn, unless a figure says otherwise. Borderline dialogues
are in no figure but their own.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from safemt.core.verdict import Verdict
from safemt.moderation.measuring.evaluate import LongTimes, Moderated
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.measuring.labelled import LabelledDialogue, Truth
from safemt.report.figures import REPLICATES, SEED
from safemt.stats.alerts import Alerts, FalseAlarms, Trajectory, alerts, false_alarms
from safemt.stats.clusters import clustered_mean, clustered_share, numbered
from safemt.stats.detection import AtThreshold, Ranking, Scored, at_threshold, auroc, ranking, scored
from safemt.stats.intervals import Estimate
from safemt.stats.quantiles import quantile
from safemt.stats.reliability import Reliability, reliability

LATENCY_SHARES: Final = (0.5, 0.95, 0.99)

Rated = tuple[LabelledDialogue, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much of the dialogues of one truth was looked at."""

    dialogues: int
    unscored: int
    """Without a risk at the end: in no figure of risks."""
    degraded: Mapping[str, int]
    """Cause → dialogues with a verdict worth less than usual."""
    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: Mapping[str, int]
    """Why → parts of messages that nobody looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dialogues of one truth that have something in common."""

    name: str
    dialogues: int
    """With a risk."""
    against: int
    """Dialogues that the AUROC sets them against."""
    auroc: Estimate | None
    alarmed: Estimate | None
    """Share at the default threshold or above."""
    alarmed_at: tuple[Estimate | None, ...]
    """Share with an alarm at each rate of false alarms among *all* the benign; None where that is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFigures:
    """What is known after so many user turns, of the dialogues that have as many."""

    turn: int
    harmful: int
    benign: int
    auroc: Estimate | None
    recall: Estimate | None
    """Harmful ones at the default threshold or above after this turn."""
    false_alarm_rate: Estimate | None
    harmful_risk: Estimate | None
    """Mean risk."""
    benign_risk: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds per verdict."""

    verdicts: int
    quantiles: tuple[Estimate | None, ...]
    """At `LATENCY_SHARES`."""
    early: Estimate | None
    """Median at turn 2 of long dialogues made for it; None for moderators that call endpoints."""
    late: Estimate | None
    """Median at turn 50 of the same."""
    ratio: Estimate | None
    """Median of late / early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeratorFigures:
    """Everything about one moderator."""

    name: str
    identity: str
    """`detector_id`."""
    threshold: float
    every_turn: bool
    """Whether there is a verdict after each user turn, not only after the last."""
    asked: int
    """Dialogues moderated now; the rest were kept from before, or are equal to others."""
    counts: Mapping[Truth, Counts]
    data: Scored
    """Harmful and benign dialogues with a risk."""
    ranking: Ranking
    peak: Ranking
    """The same with the highest risk after any turn in the place of the last."""
    at_default: AtThreshold
    harmful: Mapping[str, tuple[Group, ...]]
    """Kind (`KINDS`) → its groups; kinds that the data do not tell apart are left out."""
    benign: Mapping[str, tuple[Group, ...]]
    borderline: tuple[Group, ...]
    """By source; AUROC: the harmful of the same source against them."""
    turns: tuple[TurnFigures, ...]
    alerts: Alerts
    """Of the harmful."""
    false_alarms: FalseAlarms
    borderline_alarms: FalseAlarms
    reliability: Reliability
    latency: Latency
    prompt_tokens: int
    completion_tokens: int


KINDS: Final[Mapping[str, Callable[[LabelledDialogue], str | None]]] = {
    "source": lambda each: each.source,
    "scenario": lambda each: each.dialogue.scenario.value if each.dialogue.scenario else None,
    "method": lambda each: each.dialogue.method,
    "language": lambda each: each.dialogue.language,
    "length": lambda each: "one turn" if each.turns == 1 else "two turns or more",
}
"""How dialogues are grouped."""
_LIKE_WITH_LIKE: Final = ("language", "length")
"""Kinds whose groups are set against the benign dialogues of the same group, not against all."""


def figures_of(
    moderated: Moderated, dialogues: Sequence[LabelledDialogue], times: LongTimes | None
) -> ModeratorFigures:
    """Compute the figures; `dialogues` stand in the order of the verdicts, `times` where they were taken."""
    threshold = moderated.moderator.flag_from
    rated = list(zip(dialogues, moderated.verdicts, strict=True))
    of = {truth: [each for each in rated if each[0].truth is truth] for truth in Truth}
    harmful, benign, borderline = of[Truth.HARMFUL], of[Truth.BENIGN], of[Truth.BORDERLINE]
    known = [*harmful, *benign]
    data = risks_of(known)
    ranked = ranking(data, replicates=REPLICATES, seed=SEED)
    peaks = _scored(known, lambda verdict: verdict.peak)
    same = np.array_equal(peaks.risk, data.risk)
    points = (threshold, *(each.above for each in ranked.recalls))
    verdicts = moderated.verdicts
    return ModeratorFigures(
        name=moderated.moderator.name,
        identity=detector_id(moderated.moderator.detector),
        threshold=threshold,
        every_turn=moderated.every_turn,
        asked=moderated.asked,
        counts={truth: _counts([verdict for _, verdict in of[truth]]) for truth in Truth},
        data=data,
        ranking=ranked,
        peak=ranked if same else ranking(peaks, replicates=REPLICATES, seed=SEED),
        at_default=at_threshold(data, threshold),
        harmful=_by_kind(harmful, benign, points),
        benign=_by_kind(benign, [], points),
        borderline=_groups(borderline, harmful, points, kind="source", alike=True),
        turns=_turns(known, threshold),
        alerts=alerts(_trajectories(harmful), threshold),
        false_alarms=false_alarms(_trajectories(benign), threshold),
        borderline_alarms=false_alarms(_trajectories(borderline), threshold),
        reliability=reliability(data, replicates=REPLICATES, seed=SEED),
        latency=_latency(moderated.milliseconds, times),
        prompt_tokens=sum(verdict.prompt_tokens for verdict in verdicts),
        completion_tokens=sum(verdict.completion_tokens for verdict in verdicts),
    )


def risks_of(rated: Sequence[Rated]) -> Scored:
    """The risks after the last user turn of harmful and benign dialogues that have one."""
    return _scored(rated, lambda verdict: verdict.risk)


def _scored(rated: Sequence[Rated], risk_of: Callable[[Verdict], float | None]) -> Scored:
    seen = [(risk, each) for each, verdict in rated if (risk := risk_of(verdict)) is not None]
    return scored(
        [risk for risk, _ in seen],
        [each.truth is Truth.HARMFUL for _, each in seen],
        [each.cluster for _, each in seen],
    )


def _by_kind(
    members: Sequence[Rated], against: Sequence[Rated], points: Sequence[float | None]
) -> dict[str, tuple[Group, ...]]:
    by_kind = {
        kind: _groups(members, against, points, kind=kind, alike=kind in _LIKE_WITH_LIKE) for kind in KINDS
    }
    return {kind: groups for kind, groups in by_kind.items() if groups}


def _groups(
    members: Sequence[Rated],
    against: Sequence[Rated],
    points: Sequence[float | None],
    *,
    kind: str,
    alike: bool,
) -> tuple[Group, ...]:
    """Groups in the order of their names; those that are `alike` are set against their own kind alone."""
    named: dict[str, list[Rated]] = {}
    for each in members:
        if (name := KINDS[kind](each[0])) is not None:
            named.setdefault(name, []).append(each)
    return tuple(
        _group(
            name,
            named[name],
            [each for each in against if not alike or KINDS[kind](each[0]) == name],
            points,
        )
        for name in sorted(named)
    )


def _group(
    name: str, members: Sequence[Rated], against: Sequence[Rated], points: Sequence[float | None]
) -> Group:
    seen = [(each.cluster, verdict.risk) for each, verdict in members if verdict.risk is not None]
    others = [(each.cluster, verdict.risk) for each, verdict in against if verdict.risk is not None]
    risk = np.asarray([risk for _, risk in seen])
    cluster = numbered([cluster for cluster, _ in seen])
    default, *above = points
    # Whichever of the two is harmful, only one of them is a mix of both: the AUROC has one direction.
    borderline = any(each.truth is Truth.BORDERLINE for each, _ in members)
    pairs = [*seen, *others]
    area = auroc(
        scored(
            [risk for _, risk in pairs],
            [(place < len(seen)) is not borderline for place in range(len(pairs))],
            [cluster for cluster, _ in pairs],
        )
    )
    return Group(
        name=name,
        dialogues=len(seen),
        against=len(others),
        auroc=area,
        alarmed=None if default is None else clustered_share(risk >= default, cluster),
        alarmed_at=tuple(None if at is None else clustered_share(risk > at, cluster) for at in above),
    )


def _turns(known: Sequence[Rated], threshold: float) -> tuple[TurnFigures, ...]:
    last = max((len(verdict.trajectory) for _, verdict in known), default=0)
    return tuple(_turn(known, turn, threshold) for turn in range(1, last + 1))


def _turn(known: Sequence[Rated], turn: int, threshold: float) -> TurnFigures:
    def risk_then(verdict: Verdict) -> float | None:
        return verdict.trajectory[turn - 1] if len(verdict.trajectory) >= turn else None

    data = _scored(known, risk_then)
    there = at_threshold(data, threshold)
    means = [
        clustered_mean(data.risk[members], data.cluster[members], low=0.0, high=1.0)
        for members in (data.harmful, ~data.harmful)
    ]
    return TurnFigures(
        turn=turn,
        harmful=there.harmful,
        benign=there.benign,
        auroc=auroc(data),
        recall=there.recall,
        false_alarm_rate=there.false_alarm_rate,
        harmful_risk=means[0],
        benign_risk=means[1],
    )


def _trajectories(rated: Sequence[Rated]) -> list[Trajectory]:
    return [Trajectory(cluster=each.cluster, risks=verdict.trajectory) for each, verdict in rated]


def _counts(verdicts: Sequence[Verdict]) -> Counts:
    unscanned: Counter[str] = Counter()
    for verdict in verdicts:
        unscanned.update(part.why for part in verdict.coverage.unscanned)
    return Counts(
        dialogues=len(verdicts),
        unscored=sum(verdict.risk is None for verdict in verdicts),
        degraded=dict(
            Counter(verdict.degraded.cause for verdict in verdicts if verdict.degraded).most_common()
        ),
        turns_scored=sum(verdict.coverage.turns_scored for verdict in verdicts),
        turns_total=sum(verdict.coverage.turns_total for verdict in verdicts),
        images_scored=sum(verdict.coverage.images_scored for verdict in verdicts),
        images_total=sum(verdict.coverage.images_total for verdict in verdicts),
        unscanned=dict(unscanned.most_common()),
    )


def _latency(taken: Sequence[float], times: LongTimes | None) -> Latency:
    early = times.early if times else ()
    late = times.late if times else ()
    return Latency(
        verdicts=len(taken),
        quantiles=tuple(quantile(taken, share) for share in LATENCY_SHARES),
        early=quantile(early, 0.5),
        late=quantile(late, 0.5),
        ratio=quantile([after / before for before, after in zip(early, late, strict=True) if before], 0.5),
    )
