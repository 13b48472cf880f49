"""ASR corrected for the judge's errors: by a validation of the judge, or by people's labels of a part."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safemt.stats.agreement import Confusion, balanced_accuracy
from safemt.stats.intervals import (
    Estimate,
    Interval,
    Uncertainty,
    Z,
    share_estimate,
)
from safemt.stats.metrics import SAFE, UNSAFE, Floats, LabelMatrix

Standing = Literal["corrected", "not validated", "no better than chance", "does not fit", "nothing graded"]


@dataclass(frozen=True, slots=True)
class Correction:
    """An ASR corrected for the judge's errors, or the reason why there is none."""

    standing: Standing
    """`not validated`: people's labels lack unsafe or safe items. `no better than chance`: the interval of
    sensitivity + specificity - 1 includes 0, so the observed ASR does not depend on the true one. `does not
    fit`: with these errors no true ASR leads to the observed one, so the judge errs differently here."""
    estimate: Estimate | None
    """A share in [0, 1]; None unless `corrected`."""


@dataclass(frozen=True, slots=True)
class CorrectedAsr:
    """Corrected ASR by round and pooled."""

    rounds: tuple[int, ...]
    by_round: tuple[Correction, ...]
    pooled: Correction


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """ASR as people would judge it, from few labels by people and many by the judge."""

    estimate: Estimate
    """Prediction-powered."""
    people_only: Estimate
    """The same from people's labels alone. The judge's labels make the interval above narrower."""
    power: float
    """λ in [0, 1], the weight of the judge's labels; 0 uses people's alone."""
    labelled: int
    """Samples graded by people and by the judge."""
    unlabelled: int
    """Samples graded by the judge only."""
    unread: int
    """Samples graded by people but left `ungraded` by the judge; the numbers above leave them out."""


def youden(validation: Confusion) -> Estimate | None:
    """J = sensitivity + specificity - 1 = 2 · `balanced_accuracy` - 1 in [-1, 1], 0 for a coin (Youden 1950).

    None unless both classes were validated.
    """
    balanced = balanced_accuracy(validation)
    if balanced is None:
        return None
    value, low, high = (
        2.0 * each - 1.0 for each in (balanced.value, balanced.interval.low, balanced.interval.high)
    )
    return Estimate(value, Interval(low, high))


def correct(observed: float, size: float, validation: Confusion) -> Correction:
    """The true ASR with which a judge of this validation would report `observed`, a share in [0, 1].

    Value: (observed + Sp - 1) / (Se + Sp - 1), clipped to [0, 1] (Rogan & Gladen 1978). The interval is that
    of Lang & Reiczigel (2014), which includes the uncertainty of all three shares, clipped likewise. `size`
    is the number of independent samples of `observed`: their count, or the effective size if they are
    clustered. The judge is assumed to err in the run as it does on the validation items.
    """
    chance = youden(validation)
    if chance is None:
        return Correction("not validated", None)
    if chance.interval.low <= 0.0:
        return Correction("no better than chance", None)
    specificity = validation.safe_as_safe / validation.safe
    value = min(1.0, max(0.0, (observed + specificity - 1.0) / chance.value))

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
    return Correction("corrected", Estimate(value, Interval(low, high)))


def corrected_asr(observed: Uncertainty, validation: Confusion) -> CorrectedAsr:
    """`correct` the ASR of each round, and the pooled ASR at its effective size (clustered by query)."""
    nothing = Correction("nothing graded", None)
    return CorrectedAsr(
        rounds=observed.rounds,
        by_round=tuple(
            nothing if asr is None else correct(asr.value, size, validation)
            for asr, size in zip(observed.asr, observed.graded, strict=True)
        ),
        pooled=nothing
        if observed.pooled is None
        else correct(observed.pooled.value, observed.pooled_size, validation),
    )


def prediction_powered(judged: LabelMatrix, people: LabelMatrix) -> PredictionPowered | None:
    """ASR over the samples that the judge graded, if people labelled a random part of them.

    Value: mean of people's labels + λ · (mean of the judge's labels on the rest - on people's part),
    clipped to [0, 1] (Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023). λ in [0, 1] minimises the
    variance (PPI++: Angelopoulos, Duchi & Zrnic 2023). The value is unbiased however wrong the judge is, as
    long as people's samples were chosen at random. The variance is summed by query, so the samples of a
    query may depend on each other; the interval is `score_interval` at the `effective_size`. Samples are
    matched by query and round. None if no sample is graded by both; with one labelled query the intervals
    are [0, 1].
    """
    judge, person = judged.codes, _aligned(people, judged)
    labelled = (judge >= SAFE) & (person >= SAFE)
    rest = (judge >= SAFE) & (person < SAFE)
    n, n_rest = int(labelled.sum()), int(rest.sum())
    if n == 0:
        return None
    by_person = _deviations(person, labelled)
    by_judge = _deviations(judge, labelled)
    by_judge_elsewhere = _deviations(judge, rest)
    difference = by_judge - by_judge_elsewhere
    power = 0.0
    if n_rest and difference @ difference > 0.0:
        power = float(np.clip(by_person @ difference / (difference @ difference), 0.0, 1.0))
    people_mean = _mean_unsafe(person, labelled)
    shift = _mean_unsafe(judge, rest) - _mean_unsafe(judge, labelled)
    per_query = labelled.sum(axis=1)
    queries = float(per_query.sum() ** 2 / (per_query**2).sum())
    return PredictionPowered(
        estimate=_clustered(people_mean + power * shift, by_person - power * difference, queries),
        people_only=_clustered(people_mean, by_person, queries),
        power=power,
        labelled=n,
        unlabelled=n_rest,
        unread=int(((judge < SAFE) & (person >= SAFE)).sum()),
    )


def _aligned(matrix: LabelMatrix, like: LabelMatrix) -> NDArray[np.int8]:
    """The codes of `matrix`, arranged in the rows and columns of `like`; -1 where it has none."""
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
    """Each query's part of the mean of unsafe labels `where`, minus its part if it were average; (Q,)."""
    apart = np.where(where, (codes == UNSAFE) - _mean_unsafe(codes, where), 0.0)
    deviations: Floats = apart.sum(axis=1) / max(1, where.sum())
    return deviations


def _clustered(value: float, deviations: Floats, queries: float) -> Estimate:
    """A share whose error is the sum of independent deviations, one per query."""
    return share_estimate(min(1.0, max(0.0, value)), float(deviations @ deviations), queries)
