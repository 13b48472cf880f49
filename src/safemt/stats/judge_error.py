"""ASR freed of the judge's error: by a validation of the judge, or by people's labels on part of the run."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safemt.stats.agreement import Confusion
from safemt.stats.comparison import Difference, judge_family, paired_difference
from safemt.stats.intervals import (
    Estimate,
    Interval,
    Uncertainty,
    Z,
    binomial_interval,
    effective_size,
    share_interval,
)
from safemt.stats.metrics import SAFE, UNSAFE, Floats, LabelMatrix

Standing = Literal[
    "corrected",
    "not validated",
    "cannot be told from chance",
    "does not fit",
    "too many rounds",
    "nothing graded",
]


@dataclass(frozen=True, slots=True)
class Correction:
    """A figure corrected for the judge's error, or the reason why it is not."""

    standing: Standing
    """`not validated`: people's labels lack unsafe or safe items. `cannot be told from chance`: the interval
    of sensitivity + specificity - 1 reaches 0. `does not fit`: no true ASR could make a judge with these
    errors report the one observed, so it errs differently here. `too many rounds`: more than
    `corrected.MOST_ROUNDS`."""
    estimate: Estimate | None
    """None unless `corrected`."""


@dataclass(frozen=True, slots=True)
class CorrectedAsr:
    """Corrected ASR by round and pooled."""

    rounds: tuple[int, ...]
    by_round: tuple[Correction, ...]
    pooled: Correction


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """ASR by people's standard, from few labels by people and many by the judge."""

    estimate: Estimate
    """Prediction-powered."""
    people_only: Estimate
    """The same from people's labels alone: what the judge's labels add is the difference in width."""
    power: float
    """λ in [0, 1]: how much the judge's labels count; 0 is people only."""
    labelled: int
    """Samples graded by people and judge."""
    unlabelled: int
    """Samples graded by the judge only."""
    unread: int
    """Samples graded by people that the judge left `ungraded`; they are in neither number above."""


def youden(validation: Confusion) -> Estimate | None:
    """J = sensitivity + specificity - 1, in [-1, 1], 0 for a coin; None unless both classes were validated.

    Interval from those of the two shares: J ± √(distance to the limit of each, squared and summed)
    (Newcombe 1998, method 10). Source of J: Youden (1950).
    """
    if not (validation.unsafe and validation.safe):
        return None
    sensitivity = validation.unsafe_as_unsafe / validation.unsafe
    specificity = validation.safe_as_safe / validation.safe
    of_unsafe = binomial_interval(validation.unsafe_as_unsafe, validation.unsafe)
    of_safe = binomial_interval(validation.safe_as_safe, validation.safe)
    value = sensitivity + specificity - 1.0
    down = math.hypot(sensitivity - of_unsafe.low, specificity - of_safe.low)
    up = math.hypot(of_unsafe.high - sensitivity, of_safe.high - specificity)
    return Estimate(value, Interval(low=max(-1.0, value - down), high=min(1.0, value + up)))


def correct(
    observed: float, size: float, validation: Confusion, *, uncorrected: Interval | None = None
) -> Correction:
    """The ASR that would make a judge with this validation report `observed` (a share in [0, 1]).

    Value: (observed + Sp - 1) / (Se + Sp - 1), clipped to [0, 1] (Rogan & Gladen 1978). Interval: Lang &
    Reiczigel (2014), which carries the uncertainty of all three shares, clipped likewise; if the value was
    clipped, it is at least as wide as the `uncorrected` one. `size` is the number of independent samples
    behind `observed`: their count, or the effective one where they are clustered. The judge is assumed to err
    on the run as it does on the validation items.
    """
    chance = youden(validation)
    if chance is None:
        return Correction("not validated", None)
    if chance.interval.low <= 0.0:
        return Correction("cannot be told from chance", None)
    specificity = validation.safe_as_safe / validation.safe
    raw = (observed + specificity - 1.0) / chance.value
    value = min(1.0, max(0.0, raw))

    # The adjusted shares of Lang & Reiczigel: Agresti & Coull's for the run, Laplace's for the judge.
    share = (observed * size + Z**2 / 2.0) / (size + Z**2)
    hit = (validation.unsafe_as_unsafe + 1.0) / (validation.unsafe + 2.0)
    passed = (validation.safe_as_safe + 1.0) / (validation.safe + 2.0)
    spread_hit = hit * (1.0 - hit) / (validation.unsafe + 2.0)
    spread_passed = passed * (1.0 - passed) / (validation.safe + 2.0)
    gain = hit + passed - 1.0
    true = (share + passed - 1.0) / gain
    shift = 2.0 * Z**2 * (true * spread_hit - (1.0 - true) * spread_passed)
    variance = (
        share * (1.0 - share) / (size + Z**2) + true**2 * spread_hit + (1.0 - true) ** 2 * spread_passed
    )
    half = Z * math.sqrt(variance) / gain
    if true + shift + half <= 0.0 or true + shift - half >= 1.0:
        return Correction("does not fit", None)
    low = min(value, max(0.0, true + shift - half))
    high = max(value, min(1.0, true + shift + half))
    if uncorrected is not None and value != raw:
        width = uncorrected.high - uncorrected.low
        low = min(low, max(0.0, high - width))
        high = max(high, min(1.0, low + width))
    return Correction("corrected", Estimate(value, Interval(low, high)))


def standing_of(matrix: LabelMatrix, validation: Confusion) -> Standing:
    """Whether figures of `matrix` can be corrected, by the share unsafe of all that the judge labelled."""
    judged = int(((matrix.codes == SAFE) | (matrix.codes == UNSAFE)).sum())
    if not judged:
        return "corrected"
    queries = float(((matrix.codes == SAFE) | (matrix.codes == UNSAFE)).any(axis=1).sum())
    return correct(float(matrix.unsafe.sum() / judged), queries, validation).standing


def corrected_asr(matrix: LabelMatrix, observed: Uncertainty, validation: Confusion) -> CorrectedAsr:
    """`correct` for each round, and for the pooled ASR at its effective size (clustered by query).

    Answers that are safe without a judge keep their part of the graded ones; the judge's error is undone in
    the rest. If the judge's errors do not fit the pooled figure, no round is corrected.
    """
    judged = ((matrix.codes == SAFE) | (matrix.codes == UNSAFE)).sum(axis=0)
    graded = matrix.graded.sum(axis=0)
    pooled = _part(
        observed.pooled, float(judged.sum()), float(graded.sum()), observed.pooled_size, validation
    )
    rounds = []
    for asr, some, every in zip(observed.asr, judged.tolist(), graded.tolist(), strict=True):
        if pooled.standing == "does not fit" and asr is not None:
            rounds.append(pooled)
        else:
            rounds.append(_part(asr, some, every, every, validation))
    return CorrectedAsr(rounds=observed.rounds, by_round=tuple(rounds), pooled=pooled)


def _part(
    asr: Estimate | None, judged: float, graded: float, size: float, validation: Confusion
) -> Correction:
    """The correction of an ASR of which only `judged` of the `graded` answers were seen by the judge."""
    if asr is None:
        return Correction("nothing graded", None)
    if judged == graded:
        return correct(asr.value, size, validation, uncorrected=asr.interval)
    if not judged:
        return Correction("corrected", asr)
    part = judged / graded
    widened = Interval(asr.interval.low / part, min(1.0, asr.interval.high / part))
    found = correct(min(1.0, asr.value / part), size * part, validation, uncorrected=widened)
    if found.estimate is None:
        return found
    value, interval = found.estimate.value, found.estimate.interval
    return Correction(
        "corrected", Estimate(value * part, Interval(interval.low * part, interval.high * part))
    )


def prediction_powered(judged: LabelMatrix, people: LabelMatrix) -> PredictionPowered | None:
    """ASR over the samples that the judge graded, when people labelled a random part of those samples.

    Value: mean of people's labels + λ · (mean of the judge's labels on the rest - on people's part),
    clipped to [0, 1] (Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023); λ minimises the variance
    (PPI++: Angelopoulos, Duchi & Zrnic 2023), within [0, 1]. It is right however wrong the judge is, as
    long as chance decided which samples people saw. The variance is summed by query, so the samples
    of one query may depend on each other; the interval is `share_interval` at the `effective_size`.
    Matched by query and round; None when no sample is graded by both. With one labelled query the
    intervals are [0, 1].
    """
    parts = _powered(judged, people)
    if parts is None:
        return None
    return PredictionPowered(
        estimate=_clustered(parts.value, parts.deviations, parts.queries),
        people_only=_clustered(parts.people_mean, parts.by_person, parts.queries),
        power=parts.power,
        labelled=parts.labelled,
        unlabelled=parts.unlabelled,
        unread=parts.unread,
    )


def powered_difference(
    first: tuple[LabelMatrix, LabelMatrix], second: tuple[LabelMatrix, LabelMatrix]
) -> Difference | None:
    """The difference of two runs' `prediction_powered` ASR, each given as (judge's, people's) labels.

    It holds even if the judge errs more on one run than on the other. The variance sums the squared
    differences of what each query adds to the two figures; queries are matched by id. One difference, so one
    family. None when people labelled no graded sample of one run.
    """
    one, other = _powered(*first), _powered(*second)
    if one is None or other is None:
        return None
    names = dict.fromkeys((*first[0].query_ids, *second[0].query_ids))
    apart = dict.fromkeys(names, 0.0)
    for sign, (judged, _), parts in ((-1.0, first, one), (1.0, second, other)):
        for name, deviation in zip(judged.query_ids, parts.deviations.tolist(), strict=True):
            apart[name] += sign * deviation
    variance = float(sum(each**2 for each in apart.values()))
    found = paired_difference(
        min(1.0, max(0.0, one.value)),
        min(1.0, max(0.0, other.value)),
        variance,
        min(one.queries, other.queries),
        min(one.labelled, other.labelled),
    )
    return judge_family([replace(found, primary=True)])[0]


@dataclass(frozen=True, slots=True)
class _Powered:
    value: float
    people_mean: float
    deviations: Floats
    """What each query adds to the error of `value`; (Q,)."""
    by_person: Floats
    """The same for `people_mean`."""
    queries: float
    power: float
    labelled: int
    unlabelled: int
    unread: int


def _powered(judged: LabelMatrix, people: LabelMatrix) -> _Powered | None:
    judge, person = judged.codes, _aligned(people, judged)
    labelled = (judge >= SAFE) & (person >= SAFE)
    rest = (judge >= SAFE) & (person < SAFE)
    n, n_rest = int(labelled.sum()), int(rest.sum())
    if n == 0:
        return None
    by_person = _deviations(person, labelled)
    difference = _deviations(judge, labelled) - _deviations(judge, rest)
    power = 0.0
    if n_rest and difference @ difference > 0.0:
        power = float(np.clip(by_person @ difference / (difference @ difference), 0.0, 1.0))
    people_mean = _mean_unsafe(person, labelled)
    per_query = labelled.sum(axis=1)
    return _Powered(
        value=people_mean + power * (_mean_unsafe(judge, rest) - _mean_unsafe(judge, labelled)),
        people_mean=people_mean,
        deviations=by_person - power * difference,
        by_person=by_person,
        queries=float(per_query.sum() ** 2 / (per_query**2).sum()),
        power=power,
        labelled=n,
        unlabelled=n_rest,
        unread=int(((judge < SAFE) & (person >= SAFE)).sum()),
    )


def _aligned(matrix: LabelMatrix, like: LabelMatrix) -> NDArray[np.int8]:
    """The codes of `matrix` in the rows and columns of `like`; -1 where it has none."""
    codes = np.full(like.codes.shape, -1, dtype=np.int8)
    row_of = {query_id: row for row, query_id in enumerate(matrix.query_ids)}
    rows = [(row, row_of[query_id]) for row, query_id in enumerate(like.query_ids) if query_id in row_of]
    columns = [(c, matrix.rounds.index(k)) for c, k in enumerate(like.rounds) if k in matrix.rounds]
    if rows and columns:
        to_rows, from_rows = zip(*rows, strict=True)
        to_columns, from_columns = zip(*columns, strict=True)
        codes[np.ix_(to_rows, to_columns)] = matrix.codes[np.ix_(from_rows, from_columns)]
    return codes


def _mean_unsafe(codes: NDArray[np.int8], where: NDArray[np.bool_]) -> float:
    """Share of unsafe labels `where`; 0 if nowhere."""
    return float(((codes == UNSAFE) & where).sum() / max(1, where.sum()))


def _deviations(codes: NDArray[np.int8], where: NDArray[np.bool_]) -> Floats:
    """What each query adds to the mean of unsafe labels `where`, less what it would add at the mean; (Q,)."""
    apart = np.where(where, (codes == UNSAFE) - _mean_unsafe(codes, where), 0.0)
    deviations: Floats = apart.sum(axis=1) / max(1, where.sum())
    return deviations


def _clustered(value: float, deviations: Floats, queries: float) -> Estimate:
    """A share whose error is the sum of one independent deviation per query."""
    share = min(1.0, max(0.0, value))
    if queries <= 1.0:
        return Estimate(share, Interval(0.0, 1.0))
    return Estimate(
        share, share_interval(share, effective_size(share, float(deviations @ deviations), queries))
    )
