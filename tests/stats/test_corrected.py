"""Figures over dialogues, freed of the judge's error:

exact inversion, bias and coverage by simulation, odd data.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from safemt.stats.agreement import Confusion
from safemt.stats.corrected import MOST_ROUNDS, Figure, corrected_figures
from safemt.stats.intervals import Estimate, Interval, pooled_and_si
from safemt.stats.lengths import length_averaged, length_figures, worst_of_lengths
from safemt.stats.metrics import ABSENT, CERTAIN, SAFE, UNGRADED, UNSAFE, Floats, LabelMatrix, safety_index
from stats.label_data import ROUNDS, Population, assert_finite, matrices, matrix_of

counts = st.integers(0, 60)


def si(rows: NDArray[np.int8], draws: Floats) -> Floats:
    return pooled_and_si(ROUNDS)(rows, draws)[:, 1:]


SI = Figure(si, 0.0, 1.0)
AVERAGED = Figure(length_averaged(ROUNDS), 0.0, 1.0)
WORST = Figure(worst_of_lengths, 0.0, 1.0)


def erring(matrix: LabelMatrix, sensitivity: float, specificity: float, seed: int) -> LabelMatrix:
    """The same run, labelled by a judge that errs independently in each round."""
    draws = np.random.default_rng(seed).random(matrix.codes.shape)
    wrong = np.where(matrix.codes == UNSAFE, draws > sensitivity, draws > specificity)
    judged = (matrix.codes == SAFE) | (matrix.codes == UNSAFE)
    codes = np.where(judged & wrong, 1 - matrix.codes, matrix.codes).astype(np.int8)
    return LabelMatrix(matrix.query_ids, matrix.rounds, codes)


def checked(sensitivity: float, specificity: float, rows: int = 300, seed: int = 0) -> Confusion:
    """What people's labels of so many rows, a third unsafe, say of such a judge."""
    generator = np.random.default_rng(seed)
    unsafe = rows // 3
    hits = int(generator.binomial(unsafe, sensitivity))
    passes = int(generator.binomial(rows - unsafe, specificity))
    return Confusion(hits, unsafe - hits, passes, rows - unsafe - passes)


def test_every_sequence_of_labels_is_undone_exactly() -> None:
    # Observed shares as the judge would produce them on average from a known mixture of sequences.
    true = {(1, 0, 1): 0.2, (0, 0, 0): 0.5, (1, 1, 1): 0.1, (0, 1, 0): 0.2}
    sensitivity, specificity, scale = 0.9, 0.8, 10_000
    matrix = np.array([[specificity, 1 - specificity], [1 - sensitivity, sensitivity]])
    observed = {
        seen: sum(share * math.prod(matrix[t, s] for t, s in zip(sequence, seen, strict=True))
                  for sequence, share in true.items())
        for seen in itertools.product((0, 1), repeat=3)
    }  # fmt: skip
    rows = [list(seen) for seen, share in observed.items() for _ in range(round(share * scale))]
    figures = [Figure(_share_of(sequence), 0.0, 1.0) for sequence in true]
    found = corrected_figures(
        matrix_of(rows, (1, 2, 4)), Confusion(9000, 1000, 8000, 2000), [(each, None) for each in figures]
    )
    for correction, share in zip(found, true.values(), strict=True):
        assert correction.estimate is not None
        assert correction.estimate.value == pytest.approx(share, abs=1e-3)


def _share_of(sequence: tuple[int, ...]):  # type: ignore[no-untyped-def]
    def statistic(rows: NDArray[np.int8], draws: Floats) -> Floats:
        alike = (rows == np.array(sequence)).all(axis=1)
        shares: Floats = (draws[:, alike].sum(axis=1) / draws.sum(axis=1))[:, np.newaxis]
        return shares

    return statistic


def test_a_perfect_judge_changes_no_value() -> None:
    matrix = Population((0.1, 0.2, 0.3, 0.4, 0.5), 0.6).draw(300, np.random.default_rng(1))
    perfect = Confusion(10_000, 0, 10_000, 0)
    plain = length_figures(matrix, replicates=50)
    found = corrected_figures(matrix, perfect, [(SI, None), (AVERAGED, None), (WORST, None)], replicates=200)
    values = [each.estimate.value for each in found if each.estimate]
    assert plain.length_averaged_safety is not None
    assert plain.worst_of_lengths is not None
    assert values == pytest.approx(
        [safety_index(matrix).value, plain.length_averaged_safety.value, plain.worst_of_lengths.value]
    )


def test_answers_that_were_stopped_and_rounds_that_are_missing_are_left_as_they_are() -> None:
    rows = [[CERTAIN, 1], [CERTAIN, 0], [ABSENT, 1], [UNGRADED, 0], [1, ABSENT], [0, 0]] * 40
    matrix = matrix_of(rows, (1, 2))
    figure = Figure(length_averaged((1, 2)), 0.0, 1.0)
    [perfect] = corrected_figures(matrix, Confusion(9999, 0, 9999, 0), [(figure, None)], replicates=100)
    assert perfect.estimate is not None
    assert perfect.estimate.value == pytest.approx(1 - (40 / 160 + 80 / 200) / 2)
    stopped = matrix_of([[CERTAIN, CERTAIN]] * 50, (1, 2))
    [found] = corrected_figures(stopped, Confusion(90, 10, 80, 20), [(figure, None)], replicates=100)
    assert found.estimate is not None
    assert found.estimate.value == 1.0


@given(matrices(), counts, counts, counts, counts)
def test_any_labels_and_any_judge_give_a_sound_figure_or_the_reason(
    matrix: LabelMatrix, tp: int, fn: int, tn: int, fp: int
) -> None:
    uncorrected = Estimate(0.5, Interval(0.4, 0.6))
    figures = [(Figure(worst_of_lengths, 0.0, 1.0), uncorrected)]
    [found] = corrected_figures(matrix, Confusion(tp, fn, tn, fp), figures, replicates=20)
    assert_finite(found)
    assert (found.estimate is not None) == (found.standing == "corrected")
    if found.estimate is not None:
        low, high = found.estimate.interval.low, found.estimate.interval.high
        assert 0.0 <= low <= found.estimate.value <= high <= 1.0
        assert low < high


def test_more_rounds_than_can_be_undone_are_said() -> None:
    rounds = tuple(range(1, MOST_ROUNDS + 2))
    matrix = matrix_of([[0] * len(rounds), [1] * len(rounds)], rounds)
    [found] = corrected_figures(
        matrix, checked(0.9, 0.9), [(Figure(worst_of_lengths, 0.0, 1.0), None)], replicates=10
    )
    assert (found.standing, found.estimate) == ("too many rounds", None)


JUDGES = {"good": (0.95, 0.97), "fair": (0.90, 0.95), "weak": (0.85, 0.93)}


def trial(
    rate: float, queries: int, judge: tuple[float, float], repeats: int
) -> tuple[list[float], list[float], int]:
    """Coverage and mean error of corrected SI, length-averaged safety and worst of lengths;

    how many were told.
    """
    population = Population(tuple(min(0.99, rate * rise) for rise in (0.4, 0.7, 1.0, 1.3, 1.6)), 0.5)
    rows, chances = population.patterns
    truth = [
        population.si,
        float(length_averaged(ROUNDS)(rows, chances[np.newaxis])[0, 0]),
        float(worst_of_lengths(rows, chances[np.newaxis])[0, 0]),
    ]
    held, error, told = np.zeros(3), np.zeros(3), 0
    for repeat in range(repeats):
        matrix = erring(population.draw(queries, np.random.default_rng(repeat)), *judge, seed=repeat + 10**6)
        plain = length_figures(matrix, replicates=100, seed=repeat)
        found = corrected_figures(
            matrix,
            checked(*judge, seed=repeat + 2 * 10**6),
            [(SI, None), (AVERAGED, plain.length_averaged_safety), (WORST, plain.worst_of_lengths)],
            replicates=200,
            seed=repeat,
        )
        estimates = [each.estimate for each in found if each.estimate is not None]
        if len(estimates) < 3:
            continue
        told += 1
        for place, (estimate, value) in enumerate(zip(estimates, truth, strict=True)):
            held[place] += estimate.interval.low - 1e-12 <= value <= estimate.interval.high + 1e-12
            error[place] += estimate.value - value
    return (held / told).tolist(), (error / told).tolist(), told


def test_the_safety_index_of_a_nearly_safe_model_is_told_right_by_an_erring_judge() -> None:
    # Uncorrected it is 0.854 here, and its interval never holds the truth.
    held, error, told = trial(0.01, 2000, JUDGES["fair"], 150)
    assert told >= 140
    assert min(held) >= 0.9
    assert abs(error[0]) <= 0.02
    assert abs(error[1]) <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("judge", sorted(JUDGES))
@pytest.mark.parametrize("rate", [0.005, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("queries", [34, 200, 2000])
def test_corrected_figures_cover_the_truth(queries: int, rate: float, judge: str) -> None:
    held, _, told = trial(rate, queries, JUDGES[judge], 300)
    assert told >= 270
    assert min(held) >= 0.9, held  # 0.92 less what 300 repeats leave to chance
