"""Trend over turns, first unsafe rounds, and what ungraded samples hide."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given

from safemt.stats.intervals import Estimate, binomial_interval
from safemt.stats.metrics import ABSENT, SAFE, UNGRADED, UNSAFE, LabelMatrix, safety_index
from safemt.stats.trend import Bound, first_unsafe, trend, ungraded_bounds
from stats.label_data import CURVES, ROUNDS, Population, assert_finite, matrices, matrix_of

NOT_THERE = (ABSENT, UNGRADED)


def plain_slope(matrix: LabelMatrix) -> tuple[float | None, int]:
    above = below = 0.0
    queries = 0
    for row in matrix.codes.tolist():
        points = [
            (math.log2(k), code) for k, code in zip(matrix.rounds, row, strict=True) if code not in NOT_THERE
        ]
        if len(points) > 1:
            queries += 1
            mean = sum(x for x, _ in points) / len(points)
            above += sum((x - mean) * (code == UNSAFE) for x, code in points)
            below += sum((x - mean) ** 2 for x, _ in points)
    return (above / below if queries else None), queries


@given(matrices())
def test_the_slope_is_least_squares_within_queries(matrix: LabelMatrix) -> None:
    found = trend(matrix, replicates=20)
    expected, queries = plain_slope(matrix)
    assert_finite(found)
    assert found.queries == queries
    if found.slope is None:
        assert expected is None
        assert found.direction == "cannot tell at this size"
    else:
        assert found.slope.value == pytest.approx(expected, abs=1e-12)
        interval = found.slope.interval
        assert interval.low <= found.slope.value + 1e-12
        assert interval.high >= found.slope.value - 1e-12
        assert interval.high - interval.low > 0.0


def test_on_complete_data_it_is_the_plain_regression() -> None:
    matrix = Population(CURVES["steep"], 0.8).draw(200, np.random.default_rng(1))
    x = np.tile(np.log2(ROUNDS), 200)
    found = trend(matrix, replicates=100).slope
    assert found is not None
    assert found.value == pytest.approx(np.polyfit(x, matrix.unsafe.ravel(), 1)[0])


def test_gaps_do_not_pass_for_a_trend() -> None:
    # Hard queries were only asked at length: across queries ASR rises, within none of them does it.
    rows = [[SAFE, SAFE, ABSENT, ABSENT]] * 50 + [[ABSENT, ABSENT, UNSAFE, UNSAFE]] * 50
    found = trend(matrix_of(rows, (1, 2, 4, 8)))
    assert found.slope is not None
    assert found.slope.value == 0.0
    assert found.direction == "cannot tell at this size"


def test_a_rise_and_a_fall_are_told_from_chance() -> None:
    generator = np.random.default_rng(2)
    rising = Population(CURVES["rising"], 0.8).draw(200, generator)
    falling = LabelMatrix(rising.query_ids, rising.rounds, rising.codes[:, ::-1])
    flat = Population(CURVES["flat"], 0.8).draw(200, generator)
    assert trend(rising).direction == "rises"
    assert trend(falling).direction == "falls"
    assert trend(flat).direction == "cannot tell at this size"


def test_no_event_is_no_proof_of_a_flat_curve() -> None:
    found = trend(matrix_of([[SAFE] * 5] * 100)).slope
    assert found is not None
    assert found.value == 0.0
    assert found.interval.high == pytest.approx(-found.interval.low)
    assert 0.004 < found.interval.high < 0.02


def test_one_query_says_nothing_of_the_trend_of_others() -> None:
    found = trend(matrix_of([[SAFE, SAFE, UNSAFE, UNSAFE, UNSAFE]])).slope
    steepest = found.value if found else 0.0
    assert found is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((-steepest, steepest))


def test_slope_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(3)
    population = Population(CURVES["rising"], 0.8)
    truth = float(np.polyfit(np.log2(ROUNDS), population.curve, 1)[0])
    held = 0
    for repeat in range(500):
        found = trend(population.draw(120, generator), replicates=150, seed=repeat).slope
        held += found is not None and found.interval.low <= truth <= found.interval.high
    assert 0.93 <= held / 500 <= 0.97


@given(matrices())
def test_every_query_turns_unsafe_once_or_never(matrix: LabelMatrix) -> None:
    found = first_unsafe(matrix)
    assert_finite(found)
    graded = [[c for c in row if c not in NOT_THERE] for row in matrix.codes.tolist()]
    assert found.queries == sum(bool(row) for row in graded)
    if not found.queries:
        assert found.never is None
        assert set(found.by_round) <= {None}
        return
    for column, estimate in enumerate(found.by_round):
        firsts = sum(row.index(UNSAFE) == column for row in matrix.codes.tolist() if UNSAFE in row)
        assert estimate == Estimate(firsts / found.queries, binomial_interval(firsts, found.queries))
    never = sum(bool(row) and UNSAFE not in row for row in graded)
    assert found.never == Estimate(never / found.queries, binomial_interval(never, found.queries))


@given(matrices())
def test_bounds_are_the_figures_of_the_two_readings(matrix: LabelMatrix) -> None:
    found = ungraded_bounds(matrix)
    assert_finite(found)
    assert found.rounds == matrix.rounds
    codes = matrix.codes.tolist()
    assert found.ungraded == tuple(
        sum(row[c] == UNGRADED for row in codes) for c in range(len(matrix.rounds))
    )
    for column, bound in enumerate(found.asr):
        there = [row[column] for row in codes if row[column] != ABSENT]
        if bound is None:
            assert not there
        else:
            unsafe, unknown = there.count(UNSAFE), there.count(UNGRADED)
            assert bound.if_safe == pytest.approx(unsafe / len(there))
            assert bound.if_unsafe == pytest.approx((unsafe + unknown) / len(there))
    everything = [code for row in codes for code in row if code != ABSENT]
    assert (found.pooled is None) == (found.si is None) == (not everything)
    if found.pooled is not None and found.si is not None:
        assert found.pooled.if_safe == pytest.approx(everything.count(UNSAFE) / len(everything))
        read = [[UNSAFE if c == UNGRADED else c for c in row] for row in codes]
        assert found.si.if_unsafe == safety_index(matrix_of(read, matrix.rounds)).value


def test_the_bounds_on_asr_are_strict() -> None:
    rows = [[SAFE, UNGRADED, UNSAFE], [UNGRADED, UNSAFE, ABSENT], [SAFE, SAFE, UNGRADED]]
    found = ungraded_bounds(matrix_of(rows, (1, 2, 4)))
    gaps = [(q, k) for q, row in enumerate(rows) for k, code in enumerate(row) if code == UNGRADED]
    shares = []
    for reading in itertools.product((SAFE, UNSAFE), repeat=len(gaps)):
        filled = [list(row) for row in rows]
        for (q, k), code in zip(gaps, reading, strict=True):
            filled[q][k] = code
        there = [code for row in filled for code in row if code != ABSENT]
        shares.append(there.count(UNSAFE) / len(there))
    assert found.pooled == Bound(if_safe=min(shares), if_unsafe=max(shares))
    assert found.ungraded == (1, 1, 1)
