"""Figures over whole dialogues, freed of the judge's error.

A judge with sensitivity Se and specificity Sp turns the true sequence of labels of a query into an observed
one. Over the rounds it errs independently, so the shares of observed sequences are q_obs = q · M, M the
tensor product over the rounds of [[Sp, 1-Sp], [1-Se, Se]], and q = q_obs · M⁻¹. ASR, trend, length-averaged
safety, worst of lengths and both factors of SI are linear in q. Therefore q is not clipped to the simplex:
clipping the sequences biases SI by up to 0.13 (34 queries, Se .85, Sp .93, true ASR 0.5 %), clipping the
figure by 0.03.

Answers that a provider's filter or a moderator stopped are safe without a judge, and stay as they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from safemt.stats.agreement import Confusion
from safemt.stats.intervals import (
    LEVEL,
    Codes,
    Estimate,
    Interval,
    Statistic,
    Z,
    distinct,
    graded_queries,
)
from safemt.stats.judge_error import Correction, standing_of
from safemt.stats.metrics import SAFE, UNGRADED, UNSAFE, Floats, LabelMatrix

MOST_ROUNDS: Final = 8
"""Beyond it the table of sequences grows out of hand, and the correction amplifies noise beyond use."""

_CELLS: Final = 1 << 21
_FLOOR: Final = 0.5


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a run: how it is computed from weighted sequences, and its range."""

    statistic: Statistic
    """From rows (U, R) and weights (B, U) to (B, S). Linear in the weights, or a product of such figures."""
    low: float
    high: float


def corrected_figures(
    matrix: LabelMatrix,
    validation: Confusion,
    figures: Sequence[tuple[Figure, Estimate | None]],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[Correction, ...]:
    """Each figure, given with its uncorrected estimate, corrected for the judge's error.

    Value: the statistic of the sequences behind the observed ones, clipped to the figure's range. Interval: ±
    half the distance of the 2.5 % and 97.5 % quantiles of a bootstrap that draws queries, and Se and Sp from
    Beta(hits + 1, misses + 1), widened by half a query so that no event is not taken for certainty. It is
    never narrower than the uncorrected one if the value was clipped. Simulated coverage: docs/statistics.md.
    """
    seen = graded_queries(matrix)
    queries = len(seen.query_ids)
    if not queries:
        return tuple(Correction("nothing graded", None) for _ in figures)
    if len(matrix.rounds) > MOST_ROUNDS:
        return tuple(Correction("too many rounds", None) for _ in figures)
    standing = standing_of(seen, validation)
    if standing != "corrected":
        return tuple(Correction(standing, None) for _ in figures)
    rows, counts = distinct(np.maximum(seen.codes, UNGRADED))
    table = _Table.of(rows)
    generator = np.random.default_rng(seed)
    best = _shares(validation)
    plain = table.true_weights(counts[np.newaxis].astype(np.float64), *(np.array([share]) for share in best))
    varied_weights = _replicates(table, counts, validation, replicates, generator)
    found: list[Correction] = []
    for figure, uncorrected in figures:
        value = float(figure.statistic(table.rows, plain)[0, 0])
        varied = np.concatenate([figure.statistic(table.rows, weights)[:, 0] for weights in varied_weights])
        low, high = np.quantile(varied, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
        floor = Z * _FLOOR * (figure.high - figure.low) / (queries + 2.0)
        half = math.hypot((high - low) / 2.0, floor)
        found.append(Correction("corrected", _within(figure, value, half, uncorrected)))
    return tuple(found)


def _within(figure: Figure, raw: float, half: float, uncorrected: Estimate | None) -> Estimate:
    value = min(figure.high, max(figure.low, raw))
    low, high = max(figure.low, min(value, raw - half)), min(figure.high, max(value, raw + half))
    if uncorrected is not None and value != raw:
        width = uncorrected.interval.high - uncorrected.interval.low
        low = min(low, max(figure.low, high - width))
        high = max(high, min(figure.high, low + width))
    return Estimate(value, Interval(low, high))


def _shares(validation: Confusion) -> tuple[float, float]:
    return (
        validation.unsafe_as_unsafe / validation.unsafe,
        validation.safe_as_safe / validation.safe,
    )


def _replicates(
    table: "_Table",
    counts: NDArray[np.int64],
    validation: Confusion,
    replicates: int,
    generator: np.random.Generator,
) -> list[Floats]:
    """Weights of true sequences under redrawn queries and redrawn Se and Sp, in chunks of (B, C)."""
    total = int(counts.sum())
    sensitivity = generator.beta(
        validation.unsafe_as_unsafe + 1, validation.unsafe_as_safe + 1, size=replicates
    )
    specificity = generator.beta(validation.safe_as_safe + 1, validation.safe_as_unsafe + 1, size=replicates)
    draws = generator.multinomial(total, counts / total, size=replicates).astype(np.float64)
    chunk = max(1, _CELLS // len(table.rows))
    return [
        table.true_weights(draws[at : at + chunk], sensitivity[at : at + chunk], specificity[at : at + chunk])
        for at in range(0, replicates, chunk)
    ]


@dataclass(frozen=True, slots=True)
class _Group:
    """Queries that the judge labelled in the same rounds."""

    judged: tuple[int, ...]
    """Columns."""
    observed: NDArray[np.intp]
    """Numbers of the observed rows that belong to it."""
    places: NDArray[np.intp]
    """Where each of them lies among the 2^judged sequences."""


@dataclass(frozen=True, slots=True)
class _Table:
    """All true sequences that could lie behind the observed rows."""

    rows: Codes
    """(C, R): group by group."""
    groups: tuple[_Group, ...]

    @classmethod
    def of(cls, observed: Codes) -> "_Table":
        judged = (observed == SAFE) | (observed == UNSAFE)
        kinds = np.where(judged, np.int8(SAFE), observed)
        alike, of_row = np.unique(kinds, axis=0, return_inverse=True)
        groups, tables = [], []
        for number, kind in enumerate(alike):
            members = np.flatnonzero(of_row.reshape(-1) == number)
            columns = np.flatnonzero(kind == SAFE)
            bits = 1 << np.arange(len(columns))[::-1]
            sequences = np.tile(kind, (2 ** len(columns), 1))
            sequences[:, columns] = (np.arange(2 ** len(columns))[:, np.newaxis] & bits) > 0
            places = ((observed[members][:, columns] == UNSAFE) @ bits).astype(np.intp)
            groups.append(_Group(tuple(columns.tolist()), members, places))
            tables.append(sequences)
        return cls(np.concatenate(tables).astype(np.int8), tuple(groups))

    def true_weights(self, draws: Floats, sensitivity: Floats, specificity: Floats) -> Floats:
        """From the weights of observed rows, (B, U), to those of true sequences, (B, C), by M⁻¹."""
        gain = sensitivity + specificity - 1.0
        undo = (
            np.stack(
                [
                    np.stack([sensitivity, specificity - 1.0], -1),
                    np.stack([sensitivity - 1.0, specificity], -1),
                ],
                -2,
            )
            / gain[:, np.newaxis, np.newaxis]
        )
        parts = []
        for group in self.groups:
            size = len(group.judged)
            weights = np.zeros((len(draws), 2**size))
            weights[:, group.places] = draws[:, group.observed]
            for _ in range(size):
                # The last round's axis is undone and comes out first; after all of them the order is as
                # before.
                folded = weights.reshape(len(draws), -1, 2) @ undo
                weights = folded.transpose(0, 2, 1).reshape(len(draws), -1)
            parts.append(weights)
        return np.concatenate(parts, axis=1)
