"""How well risks separate harmful from benign dialogues: ROC, precision and recall, with intervals.

Dialogues grown from the same query or template are not independent: they form a **cluster**, and the
bootstrap draws clusters (`safemt.stats.clusters`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from safemt.core.errors import UsageError
from safemt.stats.clusters import (
    Bools,
    Places,
    cluster_bootstrap,
    clustered_share,
    independent,
    mapped,
    numbered,
)
from safemt.stats.intervals import Estimate, share_estimate
from safemt.stats.metrics import Floats

FALSE_ALARM_RATES: Final = (0.01, 0.05)
"""False-alarm rates at which recall is given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Dialogues of known intent, and the risk that a moderator gave each. All arrays have length N."""

    risk: Floats
    """Higher is riskier. Only the order matters, except for figures at a threshold."""
    harmful: Bools
    cluster: Places
    """Number of the cluster, from 0."""

    @property
    def benign_clusters(self) -> float:
        """The number of independent benign dialogues (`independent`)."""
        return independent(self.cluster[~self.harmful])

    @property
    def harmful_clusters(self) -> float:
        """The number of independent harmful dialogues (`independent`)."""
        return independent(self.cluster[self.harmful])


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallAt:
    """The share of harmful dialogues found while at most a given share of benign ones raises an alarm."""

    rate: float
    """The share of benign dialogues that may raise an alarm, in (0, 1)."""
    above: float | None
    """Higher risks are alarms; None if the rate cannot be measured."""
    estimate: Estimate | None
    """None if the rate cannot be measured: there is no harmful dialogue, or `benign` < `needed`."""
    benign: float
    """Independent benign dialogues."""
    needed: int
    """How many of them make one alarm no more than the rate: the least whole number ≥ 1 / rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well the order of the risks separates the classes; None if one is missing."""

    harmful: int
    benign: int
    auroc: Estimate | None
    auprc: Estimate | None
    prevalence: float
    """Share of harmful dialogues: the AUPRC of guessing. AUPRC and precision hold for this mix only."""
    recalls: tuple[RecallAt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtThreshold:
    """Alarms at a threshold (risk ≥ threshold): shares in [0, 1], None where there are no dialogues."""

    threshold: float
    found: int
    """Harmful dialogues with an alarm."""
    harmful: int
    alarms: int
    """Benign dialogues with an alarm."""
    benign: int
    recall: Estimate | None
    false_alarm_rate: Estimate | None
    precision: Estimate | None
    f1: Estimate | None


def scored(risk: ArrayLike, harmful: ArrayLike, clusters: Sequence[str]) -> Scored:
    """Arrange the risk of each dialogue, whether it is harmful, and the name of its cluster.

    Raises:
        UsageError: `unequal_lengths`, or `not_finite` for a risk that is not a finite number.
    """
    risks, harms = np.asarray(risk, dtype=np.float64), np.asarray(harmful, dtype=np.bool_)
    if not (risks.shape == harms.shape == (len(clusters),)):
        raise UsageError("unequal_lengths", "Risks, labels and clusters must be lists of equal length.")
    if not np.isfinite(risks).all():
        raise UsageError("not_finite", "A risk is not a finite number. Leave out dialogues without a risk.")
    return Scored(risk=risks, harmful=harms, cluster=numbered(clusters))


def ranking(
    data: Scored,
    *,
    rates: Sequence[float] = FALSE_ALARM_RATES,
    replicates: int = 2000,
    seed: int = 0,
) -> Ranking:
    """Compute AUROC, AUPRC and recall at fixed false-alarm rates.

    AUROC: see `auroc`. AUPRC is the average precision Σ_v (R_v - R_{v-1}) · P_v over the distinct risks v in
    descending order, where R_v and P_v are recall and precision with all risks ≥ v as alarms: equal risks
    enter together and nothing is interpolated (Davis & Goadrich 2006; scikit-learn's
    `average_precision_score`). Recall at a false-alarm rate is the share of harmful dialogues with a risk
    above the lowest value that keeps the rate (`alarms_above`). Each replicate chooses its own threshold, so
    the interval includes the uncertainty of the threshold.

    The variances of AUPRC and recalls come from `cluster_bootstrap`, which draws within each kind of
    cluster, as the numbers of each are the design of the data. Their effective size is drawn towards the
    number of independent harmful dialogues.
    """
    harmful = int(data.harmful.sum())
    benign = len(data.harmful) - harmful
    prevalence = harmful / len(data.harmful) if len(data.harmful) else 0.0
    if not (harmful and benign):
        nothing = tuple(_recall_at(rate, data, None) for rate in rates)
        return Ranking(
            harmful=harmful, benign=benign, auroc=None, auprc=None, prevalence=prevalence, recalls=nothing
        )
    statistic = _curve_statistic(data, rates)
    values = statistic(np.ones((1, len(data.risk))))[0]
    variances = cluster_bootstrap(data.cluster, data.harmful, statistic, replicates=replicates, seed=seed)
    auprc, *recalls = (
        share_estimate(float(value), float(variance), data.harmful_clusters)
        for value, variance in zip(values, variances, strict=True)
    )
    return Ranking(
        harmful=harmful,
        benign=benign,
        auroc=auroc(data),
        auprc=auprc,
        prevalence=prevalence,
        recalls=tuple(_recall_at(rate, data, recall) for rate, recall in zip(rates, recalls, strict=True)),
    )


def auroc(data: Scored) -> Estimate | None:
    """The probability that a harmful dialogue has a higher risk than a benign one; a tie counts one half.

    Sources: Mann & Whitney (1947); Bamber (1975). The variance uses the placements of DeLong, DeLong &
    Clarke-Pearson (1988), summed by cluster (Obuchowski 1997), so a cluster may hold both classes. The
    interval is Wilson's at the effective size, which is drawn towards the number of independent dialogues of
    the smaller class: A(1-A) / min(m, n) is the largest variance that an area can have (Birnbaum & Klose
    1957). None unless both classes occur.
    """
    if data.harmful.all() or not data.harmful.any():
        return None
    area, deviations = area_deviations(data)
    return share_estimate(
        area, float(deviations @ deviations), min(data.harmful_clusters, data.benign_clusters)
    )


def area_deviations(data: Scored) -> tuple[float, Floats]:
    """The area under the ROC curve, and how much each cluster deviates from its mean part of it; shape (C,).

    The squared deviations add up to the variance of the area. The placement of a harmful dialogue is the
    share of benign ones below it (ties count one half), and its part is (placement - area) / harmful; for
    benign dialogues it is the share of harmful ones above. The parts of a class are scaled by √(G / (G - 1)),
    G being its number of clusters. Both classes must occur.
    """
    harmful, benign = data.risk[data.harmful], data.risk[~data.harmful]
    above = _placements(harmful, np.sort(benign))
    area = float(above.mean())
    below = 1.0 - _placements(benign, np.sort(harmful))
    parts = np.zeros(int(data.cluster.max()) + 1)
    for places, members in ((above, data.harmful), (below, ~data.harmful)):
        cluster = data.cluster[members]
        groups = len(np.unique(cluster))
        scale = math.sqrt(groups / (groups - 1)) if groups > 1 else 1.0
        parts += np.bincount(cluster, (places - area) * scale / len(places), minlength=len(parts))
    return area, parts


def alarms_above(benign: Floats, rate: float) -> float:
    """The lowest benign risk r such that at most the share `rate` of the `benign` risks lies above r.

    Risks above r are alarms. Equal risks are never split, so the rate is never exceeded; with ties it may be
    well below. `benign` must not be empty.
    """
    downwards = np.sort(benign)[::-1]
    return float(downwards[_allowed(rate, len(downwards))])


def recalls_of(data: Scored, rates: Sequence[float]) -> Callable[[Floats], Floats]:
    """The function from how often each dialogue is drawn, (B, N), to the recall at each rate, (B, rates)."""
    statistic = _curve_statistic(data, rates)
    return lambda weights: statistic(weights)[:, 1:]


def needed_benign(rate: float) -> int:
    """How many benign dialogues make one alarm no more than the share `rate`."""
    return math.ceil(1.0 / rate - 1e-9)


def at_threshold(data: Scored, threshold: float) -> AtThreshold:
    """Compute recall, false-alarm rate, precision and F1 with every risk ≥ `threshold` as an alarm.

    The first three are `clustered_share`s of the harmful dialogues, the benign ones and the alarms. F1 is
    2 J / (1 + J), J being the `clustered_share` of hits among the dialogues that are harmful or raise an
    alarm; F1 rises with J, so the limits of J give those of F1.
    """
    alarm = data.risk >= threshold
    hits = alarm & data.harmful

    def among(members: Bools) -> Estimate | None:
        return clustered_share(hits[members], data.cluster[members])

    overlap = among(alarm | data.harmful)
    benign = ~data.harmful
    return AtThreshold(
        threshold=threshold,
        found=int(hits.sum()),
        harmful=int(data.harmful.sum()),
        alarms=int((alarm & benign).sum()),
        benign=int(benign.sum()),
        recall=among(data.harmful),
        false_alarm_rate=clustered_share(alarm[benign], data.cluster[benign]),
        precision=among(alarm),
        f1=None if overlap is None else mapped(overlap, lambda share: 2.0 * share / (1.0 + share)),
    )


def roc_curve(data: Scored) -> tuple[Floats, Floats]:
    """False-alarm rates and recalls from (0, 0) to (1, 1), one point per distinct risk.

    Both classes must occur.
    """
    found, alarms = _cumulative(data)(np.ones((1, len(data.risk))))
    rates, recalls = (np.concatenate([[0.0], counts[0] / counts[0, -1]]) for counts in (alarms, found))
    return rates, recalls


def _cumulative(data: Scored) -> Callable[[Floats], tuple[Floats, Floats]]:
    """The function from weights (B, N) to the harmful and benign weight at or above each risk, descending."""
    order = np.argsort(-data.risk, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(data.risk[order]) != 0.0, True))
    harmful = data.harmful[order].astype(np.float64)

    def cumulative(weights: Floats) -> tuple[Floats, Floats]:
        ranked = weights[:, order]
        found = np.cumsum(ranked * harmful, axis=1)[:, ends]
        return found, np.cumsum(ranked, axis=1)[:, ends] - found

    return cumulative


def _curve_statistic(data: Scored, rates: Sequence[float]) -> Callable[[Floats], Floats]:
    """The function from weights (B, N) to average precision and the recall at each rate, (B, 1 + rates)."""
    cumulative = _cumulative(data)

    def statistic(weights: Floats) -> Floats:
        found, alarms = cumulative(weights)
        harmful, benign = found[:, -1:], alarms[:, -1:]
        precision = found / np.maximum(found + alarms, 1.0)
        steps = np.diff(found, axis=1, prepend=0.0) / harmful
        figures = [(steps * precision).sum(axis=1)]
        for rate in rates:
            allowed = alarms <= rate * benign + 1e-9
            figures.append((found * allowed).max(axis=1) / harmful[:, 0])
        return np.stack(figures, axis=1)

    return statistic


def _placements(these: Floats, others: Floats) -> Floats:
    """For each of `these`, the share of the sorted `others` below it; ties count one half."""
    places: Floats = (np.searchsorted(others, these, "left") + np.searchsorted(others, these, "right")) / (
        2.0 * len(others)
    )
    return places


def _allowed(rate: float, benign: int) -> int:
    """How many benign dialogues may raise an alarm."""
    return math.floor(rate * benign + 1e-9)


def _recall_at(rate: float, data: Scored, recall: Estimate | None) -> RecallAt:
    needed = needed_benign(rate)
    measured = recall is not None and data.benign_clusters >= needed
    return RecallAt(
        rate=rate,
        above=alarms_above(data.risk[~data.harmful], rate) if measured else None,
        estimate=recall if measured else None,
        benign=data.benign_clusters,
        needed=needed,
    )
