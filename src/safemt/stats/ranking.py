"""Many models on one figure: which can be told apart, and what ranks the data allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from safemt.core.errors import UsageError
from safemt.stats.comparison import ALPHA, Difference, judge_family, paired_difference, shared
from safemt.stats.intervals import Interval, query_counts
from safemt.stats.lengths import Lengths, length_weights
from safemt.stats.metrics import Floats, LabelMatrix, instability, round_weights

Quantity = Literal["asr", "length_averaged_safety", "worst_of_lengths", "safety_index"]
QUANTITIES: Final[tuple[Quantity, ...]] = (
    "asr",
    "length_averaged_safety",
    "worst_of_lengths",
    "safety_index",
)


@dataclass(frozen=True, slots=True)
class Ranked:
    """One model's place."""

    name: str
    value: float | None
    """Over its own graded samples; None where there are none."""
    best: int
    """The best and the worst rank that the pairwise tests leave it, from 1, the safest.

    Simultaneous: with 95 % confidence all models' true ranks lie between theirs (Mohamad, van Zwet, Cator &
    Goeman 2019)."""
    worst: int
    groups: str
    """Letters. Models that share one cannot be told apart (Piepho 2004)."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Models in order of a figure, the safest first."""

    quantity: Quantity
    models: tuple[Ranked, ...]
    differences: tuple[tuple[Difference | None, ...], ...]
    """[i][j]: model j less model i, in the order of `models`; Holm over all pairs.

    None on the diagonal, and where two models share no graded sample."""


def rank(
    named: Sequence[tuple[str, LabelMatrix]],
    quantity: Quantity = "asr",
    *,
    lengths: Lengths | None = None,
) -> Ranking:
    """Compare every model with every other on the samples graded in both.

    The variance of a difference is the sum of the squared differences of what each query adds to the two
    figures (the infinitesimal jackknife, Efron 1982), times Q / (Q - 1). p-values: the score test of
    `comparison.paired_difference`; Holm over all pairs.

    Raises:
        UsageError: two models have the same name.
    """
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise UsageError("same_name", "Two models have the same name; each needs its own.")
    values = [_figure(matrix, quantity, lengths)[0] for _, matrix in named]
    higher_is_safer = quantity in ("length_averaged_safety", "safety_index")
    order = sorted(range(len(named)), key=lambda n: _key(values[n], higher_is_safer=higher_is_safer))
    matrices = [named[n][1] for n in order]
    pairs = [(i, j) for i in range(len(order)) for j in range(i + 1, len(order))]
    judged = judge_family([_difference(matrices[i], matrices[j], quantity, lengths) for i, j in pairs])
    table: list[list[Difference | None]] = [[None] * len(order) for _ in order]
    for (i, j), difference in zip(pairs, judged, strict=True):
        table[i][j] = difference
        table[j][i] = None if difference is None else _turned(difference)
    apart = np.array([[_told_apart(difference) for difference in row] for row in table], dtype=np.bool_)
    apart = apart.reshape(len(order), len(order))
    safer = np.array([[_is_safer(d, higher_is_safer=higher_is_safer) for d in row] for row in table])
    letters = group_letters(apart)
    models = tuple(
        Ranked(
            name=names[n],
            value=values[n],
            best=1 + int(safer.reshape(apart.shape)[place].sum()),
            worst=len(order) - int((apart[place] & ~safer.reshape(apart.shape)[place]).sum()),
            groups=letters[place],
        )
        for place, n in enumerate(order)
    )
    return Ranking(quantity=quantity, models=models, differences=tuple(map(tuple, table)))


def group_letters(apart: np.ndarray) -> list[str]:
    """Letters for models, so that two share one exactly if they are not told `apart` ((M, M), symmetric).

    Insert and absorb (Piepho 2004): a set of all models is split at each pair told apart, and sets within
    others go.
    """
    sets = [frozenset(range(len(apart)))] if len(apart) else []
    for i in range(len(apart)):
        for j in range(i + 1, len(apart)):
            if apart[i, j]:
                split = [part for s in sets for part in ((s - {i}, s - {j}) if {i, j} <= s else (s,))]
                sets = [s for s in dict.fromkeys(split) if not any(s < other for other in split)]
    sets.sort(key=lambda s: (min(s), sorted(s)))
    return ["".join(_letter(n) for n, s in enumerate(sets) if model in s) for model in range(len(apart))]


def _letter(number: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[number] if number < len(alphabet) else f"({number + 1})"


def _key(value: float | None, *, higher_is_safer: bool) -> float:
    if value is None:
        return math.inf
    return -value if higher_is_safer else value


def _told_apart(difference: Difference | None) -> bool:
    return difference is not None and difference.p_adjusted <= ALPHA


def _is_safer(difference: Difference | None, *, higher_is_safer: bool) -> bool:
    """Whether the other model is safer beyond doubt."""
    return difference is not None and _told_apart(difference) and (difference.value > 0.0) == higher_is_safer


def _turned(difference: Difference) -> Difference:
    turned = {"higher": "lower", "lower": "higher"}
    return replace(
        difference,
        first=difference.second,
        second=difference.first,
        value=-difference.value,
        interval=Interval(-difference.interval.high, -difference.interval.low),
        verdict=turned.get(difference.verdict, difference.verdict),  # type: ignore[arg-type]
    )


def _difference(
    first: LabelMatrix, second: LabelMatrix, quantity: Quantity, lengths: Lengths | None
) -> Difference | None:
    one, other = shared(first, second)
    samples = int(one.graded.sum())
    if not samples:
        return None
    (before, parts), (after, other_parts) = (_figure(matrix, quantity, lengths) for matrix in (one, other))
    apart = other_parts - parts
    queries = len(one.query_ids)
    variance = float(apart @ apart) * queries / max(1, queries - 1)
    return paired_difference(before or 0.0, after or 0.0, variance, query_counts(one)[0], samples)


def _figure(matrix: LabelMatrix, quantity: Quantity, lengths: Lengths | None) -> tuple[float | None, Floats]:
    """A figure, and what each query adds to it beyond its mean part; (Q,)."""
    graded, unsafe = matrix.graded, matrix.unsafe
    every = np.ones(len(matrix.rounds))
    if not graded.any():
        return None, np.zeros(len(matrix.query_ids))
    if quantity == "asr":
        return _ratio(unsafe @ every, graded @ every)
    seen: Floats = (graded @ every > 0.0).astype(np.float64)
    if quantity == "worst_of_lengths":
        worst: Floats = (unsafe @ every > 0.0).astype(np.float64)
        return _ratio(worst, seen)
    present = np.flatnonzero(graded.any(axis=0)).tolist()
    rounds = [matrix.rounds[column] for column in present]
    weights = (
        length_weights(rounds, lengths) if quantity == "length_averaged_safety" else round_weights(rounds)
    )
    by_round = [_ratio(unsafe[:, c], graded[:, c]) for c in present]
    attacked = float(sum(weight * value for weight, (value, _) in zip(weights, by_round, strict=True)))
    parts: Floats = np.sum(
        [weight * part for weight, (_, part) in zip(weights, by_round, strict=True)], axis=0
    )
    if quantity == "length_averaged_safety":
        return 1.0 - attacked, -parts
    wavering, wavering_parts = _ratio(instability(matrix), seen)
    return (1.0 - attacked) * (1.0 - wavering), -parts * (1.0 - wavering) - wavering_parts * (1.0 - attacked)


def _ratio(of: Floats, to: Floats) -> tuple[float, Floats]:
    """Σ of / Σ to, and what each query adds to it: (of - ratio · to) / Σ to."""
    total = float(to.sum())
    value = float(of.sum()) / total
    parts: Floats = (of - value * to) / total
    return value, parts
