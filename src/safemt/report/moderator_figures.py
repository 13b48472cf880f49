"""Every figure of one moderator on dialogues of known intent.

A dialogue's **risk** is its risk after the last user turn, unless a figure says otherwise. Borderline
dialogues are in no figure but their own.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from safemt.core.verdict import Verdict
from safemt.moderation.measuring.evaluate import EARLY, LATE, LongTimes, Moderated
from safemt.moderation.measuring.kept import detector_id
from safemt.moderation.measuring.labelled import LabelledDialogue, Truth
from safemt.report.document import Shape
from safemt.report.figures import REPLICATES, SEED
from safemt.report.protection import TokenCount
from safemt.stats.alerts import Alerts, FalseAlarms, Trajectory, alerts, false_alarms
from safemt.stats.clusters import clustered_mean, clustered_share, numbered
from safemt.stats.detection import AtThreshold, Ranking, Scored, at_threshold, auroc, ranking, scored
from safemt.stats.intervals import Estimate
from safemt.stats.quantiles import quantile
from safemt.stats.reliability import Reliability, reliability

Rated = tuple[LabelledDialogue, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much of the dialogues with one label the moderator looked at."""

    dialogues: int
    unscored: int
    """Without a risk at the end: in no figure of risks."""
    degraded: Mapping[str, int]
    """Cause → dialogues with a verdict that is worth less than usual."""
    turns_scored: int
    turns_total: int
    images_scored: int
    images_total: int
    unscanned: Mapping[str, int]
    """Reason → parts of messages that it did not look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dialogues with one label that have something in common."""

    dialogues: int
    """With a risk."""
    against: int
    """Dialogues that the AUROC sets them against."""
    auroc: Estimate | None
    alarmed: Estimate | None
    """Share at the default threshold or above."""
    alarmed_at: Mapping[float, Estimate | None]
    """Rate of false alarms among *all* benign dialogues → share with an alarm; None where not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFigures:
    """What is known after a number of user turns, over the dialogues that have as many."""

    harmful: int
    benign: int
    auroc: Estimate | None
    recall: Estimate | None
    """Harmful dialogues at the default threshold or above after this turn."""
    false_alarm_rate: Estimate | None
    harmful_risk: Estimate | None
    """Mean risk."""
    benign_risk: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds per verdict."""

    SHAPE: ClassVar = Shape(names={"early": f"turn_{EARLY}", "late": f"turn_{LATE}"})

    verdicts: int
    p50: Estimate | None
    p95: Estimate | None
    p99: Estimate | None
    early: Estimate | None
    """Median at turn 2 of long dialogues made for it; None for moderators that call endpoints."""
    late: Estimate | None
    """Median at turn 50 of the same."""
    ratio: Estimate | None
    """Median of late / early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeratorFigures:
    """Everything about one moderator."""

    SHAPE: ClassVar = Shape(without=("data",), merged="ranking")

    name: str
    identity: str
    """`detector_id`."""
    threshold: float
    every_turn: bool
    """Whether there is a verdict after each user turn, not only after the last."""
    asked_now: int
    """Dialogues moderated now; the others were kept from before, or equal another one."""
    coverage: Mapping[Truth, Counts]
    data: Scored
    """Harmful and benign dialogues with a risk."""
    ranking: Ranking
    peak: Ranking
    """The same with the highest risk after any turn instead of the last."""
    at_threshold: AtThreshold
    harmful: Mapping[str, Mapping[str, Group]]
    """Kind (`KINDS`) → its groups. Kinds that the data do not tell apart are left out."""
    benign: Mapping[str, Mapping[str, Group]]
    borderline: Mapping[str, Group]
    """By source. AUROC: the harmful dialogues of the same source against them."""
    turns: Mapping[int, TurnFigures]
    alerts: Alerts
    """Of harmful dialogues."""
    false_alarms: FalseAlarms
    borderline_alarms: FalseAlarms
    reliability: Reliability
    latency_ms: Latency
    tokens: TokenCount


KINDS: Final[Mapping[str, Callable[[LabelledDialogue], str | None]]] = {
    "source": lambda each: each.source,
    "scenario": lambda each: each.dialogue.scenario.value if each.dialogue.scenario else None,
    "method": lambda each: each.dialogue.method,
    "language": lambda each: each.dialogue.language,
    "length": lambda each: "one turn" if each.turns == 1 else "two turns or more",
}
"""How dialogues are grouped."""
_LIKE_WITH_LIKE: Final = ("language", "length")
"""Kinds whose groups are set against the benign dialogues of the same group, not against all of them."""

_Points = Mapping[float, float | None]
"""Rate of false alarms → the risk above which an alarm is raised; None where not known."""


def figures_of(
    moderated: Moderated, dialogues: Sequence[LabelledDialogue], times: LongTimes | None
) -> ModeratorFigures:
    """Compute the figures; `dialogues` are in the order of the verdicts."""
    threshold = moderated.moderator.flag_from
    rated = list(zip(dialogues, moderated.verdicts, strict=True))
    of = {truth: [each for each in rated if each[0].truth is truth] for truth in Truth}
    harmful, benign, borderline = of[Truth.HARMFUL], of[Truth.BENIGN], of[Truth.BORDERLINE]
    known = [*harmful, *benign]
    data = risks_of(known)
    ranked = ranking(data, replicates=REPLICATES, seed=SEED)
    peaks = _scored(known, lambda verdict: verdict.peak)
    same = np.array_equal(peaks.risk, data.risk)
    points = {each.rate: each.above for each in ranked.recalls}
    verdicts = moderated.verdicts
    return ModeratorFigures(
        name=moderated.moderator.name,
        identity=detector_id(moderated.moderator.detector),
        threshold=threshold,
        every_turn=moderated.every_turn,
        asked_now=moderated.asked,
        coverage={truth: _counts([verdict for _, verdict in of[truth]]) for truth in Truth},
        data=data,
        ranking=ranked,
        peak=ranked if same else ranking(peaks, replicates=REPLICATES, seed=SEED),
        at_threshold=at_threshold(data, threshold),
        harmful=_by_kind(harmful, benign, threshold, points),
        benign=_by_kind(benign, [], threshold, points),
        borderline=_groups(borderline, harmful, threshold, points, kind="source", alike=True),
        turns=_turns(known, threshold),
        alerts=alerts(_trajectories(harmful), threshold),
        false_alarms=false_alarms(_trajectories(benign), threshold),
        borderline_alarms=false_alarms(_trajectories(borderline), threshold),
        reliability=reliability(data, replicates=REPLICATES, seed=SEED),
        latency_ms=_latency(moderated.milliseconds, times),
        tokens=TokenCount(
            prompt=sum(verdict.prompt_tokens for verdict in verdicts),
            completion=sum(verdict.completion_tokens for verdict in verdicts),
        ),
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
    members: Sequence[Rated], against: Sequence[Rated], threshold: float, points: _Points
) -> dict[str, dict[str, Group]]:
    by_kind = {
        kind: _groups(members, against, threshold, points, kind=kind, alike=kind in _LIKE_WITH_LIKE)
        for kind in KINDS
    }
    return {kind: groups for kind, groups in by_kind.items() if groups}


def _groups(
    members: Sequence[Rated],
    against: Sequence[Rated],
    threshold: float,
    points: _Points,
    *,
    kind: str,
    alike: bool,
) -> dict[str, Group]:
    """Groups in the order of their names; `alike` sets each against its own kind alone."""
    named: dict[str, list[Rated]] = {}
    for each in members:
        if (name := KINDS[kind](each[0])) is not None:
            named.setdefault(name, []).append(each)
    return {
        name: _group(
            named[name],
            [each for each in against if not alike or KINDS[kind](each[0]) == name],
            threshold,
            points,
        )
        for name in sorted(named)
    }


def _group(members: Sequence[Rated], against: Sequence[Rated], threshold: float, points: _Points) -> Group:
    seen = [(each.cluster, verdict.risk) for each, verdict in members if verdict.risk is not None]
    others = [(each.cluster, verdict.risk) for each, verdict in against if verdict.risk is not None]
    risk = np.asarray([risk for _, risk in seen])
    cluster = numbered([cluster for cluster, _ in seen])
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
        dialogues=len(seen),
        against=len(others),
        auroc=area,
        alarmed=clustered_share(risk >= threshold, cluster),
        alarmed_at={
            rate: None if above is None else clustered_share(risk > above, cluster)
            for rate, above in points.items()
        },
    )


def _turns(known: Sequence[Rated], threshold: float) -> dict[int, TurnFigures]:
    last = max((len(verdict.trajectory) for _, verdict in known), default=0)
    return {turn: _turn(known, turn, threshold) for turn in range(1, last + 1)}


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
        p50=quantile(taken, 0.5),
        p95=quantile(taken, 0.95),
        p99=quantile(taken, 0.99),
        early=quantile(early, 0.5),
        late=quantile(late, 0.5),
        ratio=quantile([after / before for before, after in zip(early, late, strict=True) if before], 0.5),
    )
