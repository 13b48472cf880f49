"""Intervals: known values, laws, degenerate data, and coverage of a known truth by simulation."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from safemt.core.errors import UsageError
from safemt.stats import intervals
from safemt.stats.intervals import (
    Estimate,
    Interval,
    bootstrap,
    cluster_variance,
    difference_interval,
    distinct,
    effective_size,
    graded_queries,
    pooled_and_si,
    proportion,
    query_counts,
    score_interval,
    wilson,
)
from safemt.stats.metrics import SAFE, UNSAFE, LabelMatrix, asr_by_round, safety_index
from stats.label_data import CURVES, ROUNDS, Population, assert_finite, matrices, matrix_of

graded_codes = st.sampled_from([SAFE, UNSAFE])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_values_tabled_by_newcombe_1998(
    successes: int, n: int, low: float, high: float
) -> None:
    found = wilson(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(0, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_the_score_equation(trial: tuple[int, int]) -> None:
    successes, n = trial
    found = wilson(successes, n)
    if n == 0:
        assert found == Interval(0.0, 1.0)
        assert proportion(successes, n) is None
        return
    assert found.low <= successes / n <= found.high
    assert proportion(successes, n) == Estimate(successes / n, found)
    for end in (found.low, found.high):
        distance = abs(successes / n - end)
        assert distance == pytest.approx(
            intervals.Z * math.sqrt(max(0.0, end * (1 - end)) / n), abs=1e-7
        ) or end in (0.0, 1.0)


def test_nothing_seen_is_never_certainty() -> None:
    none, every = wilson(0, 34), wilson(34, 34)
    assert none.low == 0.0
    assert none.high == pytest.approx(0.1015, abs=1e-4)
    assert every.low == pytest.approx(1 - none.high)
    assert every.high == 1.0


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(UsageError) as caught:
        wilson(successes, n)
    assert caught.value.code == "impossible_counts"


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 5000))
def test_effective_size_is_the_count_of_queries_for_plain_yes_and_no(
    share: float, tie: float, queries: int
) -> None:
    plain = share * (1 - share) / queries
    assert effective_size(share, plain, queries) == pytest.approx(queries)
    # Less variance than that is worth more queries, never so many as the variance alone would say.
    found = effective_size(share, plain * tie, queries)
    assert found >= queries * (1 - 1e-9)
    assert found * tie <= queries * (1 + 1e-9)


@given(st.floats(-1, 1), st.floats(0, 1), st.integers(2, 5000))
def test_a_difference_interval_holds_its_value_and_has_width(
    value: float, share: float, queries: int
) -> None:
    found = difference_interval(value, share * (1 - value**2) / queries, queries)
    assert -1.0 <= found.low <= value <= found.high <= 1.0
    assert found.high - found.low > 1.0 / queries / 2


def test_one_pair_says_nothing_of_a_difference() -> None:
    assert difference_interval(1.0, 0.0, 1.0) == Interval(-1.0, 1.0)


@given(matrices(codes=graded_codes, min_queries=1), st.data())
def test_reweighting_is_the_same_as_drawing_queries_one_by_one(
    matrix: LabelMatrix, data: st.DataObject
) -> None:
    assume(matrix.rounds)
    queries = len(matrix.query_ids)
    drawn = data.draw(st.lists(st.integers(0, queries - 1), min_size=1, max_size=queries))
    found = pooled_and_si(matrix.rounds)(
        matrix.codes, np.bincount(drawn, minlength=queries)[np.newaxis].astype(np.float64)
    )
    again = matrix_of(matrix.codes[drawn].tolist(), matrix.rounds)
    assert found[0, 0] == pytest.approx(again.unsafe.sum() / again.graded.sum())
    assert found[0, 1] == pytest.approx(safety_index(again).value, abs=1e-9)


@given(matrices(min_queries=1), st.data())
def test_reweighting_shares_out_the_weight_of_rounds_that_were_not_drawn(
    matrix: LabelMatrix, data: st.DataObject
) -> None:
    seen = graded_queries(matrix)
    assume(seen.query_ids)
    queries = len(seen.query_ids)
    drawn = data.draw(st.lists(st.integers(0, queries - 1), min_size=1, max_size=queries))
    found = pooled_and_si(seen.rounds)(
        seen.codes, np.bincount(drawn, minlength=queries)[np.newaxis].astype(np.float64)
    )
    again = matrix_of(seen.codes[drawn].tolist(), seen.rounds)
    assert found[0, 1] == pytest.approx(safety_index(again).value, abs=1e-9)


def test_the_variance_is_that_of_a_plain_bootstrap_loop() -> None:
    matrix = Population(CURVES["rising"], 0.8).draw(60, np.random.default_rng(1))
    fast = cluster_variance(matrix.codes, pooled_and_si(ROUNDS), replicates=4000, seed=2)
    generator = np.random.default_rng(3)
    plain = []
    for _ in range(4000):
        again = matrix_of(matrix.codes[generator.integers(0, 60, 60)].tolist())
        plain.append((float(again.unsafe.mean()), safety_index(again).value or 0.0))
    assert fast == pytest.approx(np.var(plain, axis=0), rel=0.1)


def test_replicates_come_out_the_same_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Population(CURVES["steep"], 0.8).draw(40, np.random.default_rng(1))
    whole = bootstrap(matrix, replicates=50)
    monkeypatch.setattr(intervals, "_CHUNK_CELLS", 7 * len(distinct(matrix.codes)[0]))
    assert bootstrap(matrix, replicates=50) == whole


def test_a_seed_gives_one_result_whatever_the_order_of_queries() -> None:
    matrix = Population(CURVES["rising"], 0.8).draw(80, np.random.default_rng(1))
    turned = LabelMatrix(matrix.query_ids, matrix.rounds, matrix.codes[::-1])
    assert bootstrap(matrix, seed=5) == bootstrap(turned, seed=5)
    assert bootstrap(matrix, seed=5) != bootstrap(matrix, seed=6)


def test_too_few_replicates_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        bootstrap(matrix_of([[0, 1, 0, 1, 0], [1, 1, 0, 1, 0]]), replicates=1)
    assert caught.value.code == "too_few_replicates"


@given(matrices())
def test_every_figure_lies_in_its_interval_and_nothing_is_nan(matrix: LabelMatrix) -> None:
    found = bootstrap(matrix, replicates=20)
    assert_finite(found)
    assert found.rounds == matrix.rounds
    assert found.graded == tuple(int(n) for n in matrix.graded.sum(axis=0))
    for asr, expected in zip(found.asr, asr_by_round(matrix), strict=True):
        assert (asr is None) == math.isnan(expected)
        assert asr is None or asr.value == pytest.approx(expected)
    graded = bool(matrix.graded.any())
    assert (found.pooled is not None) == (found.si is not None) == graded
    index = safety_index(matrix).value
    assert found.si is None or found.si.value == index
    for estimate in (*found.asr, found.pooled, found.si):
        if estimate is not None:
            assert 0.0 <= estimate.interval.low <= estimate.value <= estimate.interval.high <= 1.0
            assert estimate.interval.high - estimate.interval.low > 0.1


def test_one_query_says_nothing_of_how_queries_differ() -> None:
    found = bootstrap(matrix_of([[0, 0, 1, 1, 1]]))
    assert found.pooled == Estimate(0.6, Interval(0.0, 1.0))
    assert found.si is not None
    assert found.si.interval == Interval(0.0, 1.0)
    assert found.pooled_size == 0.0
    assert found.asr[0] == Estimate(0.0, wilson(0, 1))


@pytest.mark.parametrize("code", [SAFE, UNSAFE])
def test_labels_all_alike_give_wilson_with_one_observation_per_query(code: int) -> None:
    found = bootstrap(matrix_of(np.full((50, 5), code).tolist()))
    assert found.pooled_size == pytest.approx(50)
    assert found.pooled == Estimate(float(code), wilson(50 * code, 50))
    assert found.si is not None
    assert found.si.value == pytest.approx(1.0 - code)
    assert found.si.interval.low == pytest.approx(wilson(50 * (1 - code), 50).low, abs=1e-9)
    assert found.si.interval.high == pytest.approx(wilson(50 * (1 - code), 50).high, abs=1e-9)


def test_a_first_round_that_few_queries_have_widens_the_index_not_the_rest() -> None:
    rows = np.zeros((500, 5), dtype=int)
    rows[10:, 0] = -1
    uneven, even = bootstrap(matrix_of(rows.tolist())), bootstrap(matrix_of(np.zeros((500, 5), int).tolist()))
    assert uneven.si is not None
    assert even.si is not None
    assert uneven.pooled is not None
    assert uneven.si.interval.low < 0.9 < even.si.interval.low
    assert uneven.pooled.interval.high < 0.02
    assert query_counts(matrix_of(rows.tolist()))[0] == pytest.approx(500, rel=0.01)


def test_rounds_that_hang_together_are_worth_fewer_samples() -> None:
    generator = np.random.default_rng(1)
    alike = bootstrap(Population(CURVES["flat"], 1.0).draw(400, generator)).pooled_size
    apart = bootstrap(Population(CURVES["flat"], 0.0).draw(400, generator)).pooled_size
    assert alike == pytest.approx(400, rel=0.05)
    assert apart == pytest.approx(2000, rel=0.2)


def coverage(population: Population, queries: int, *, repeats: int, seed: int) -> tuple[float, float, float]:
    """Share of simulated runs whose intervals hold the true first-round ASR, pooled ASR and SI."""
    generator = np.random.default_rng(seed)
    held = np.zeros(3)
    for repeat in range(repeats):
        found = bootstrap(population.draw(queries, generator), replicates=200, seed=repeat)
        truths = (population.curve[0], population.pooled, population.si)
        for place, (estimate, truth) in enumerate(
            zip((found.asr[0], found.pooled, found.si), truths, strict=True)
        ):
            assert estimate is not None
            held[place] += estimate.interval.low <= truth <= estimate.interval.high
    first, pooled, si = (held / repeats).tolist()
    return first, pooled, si


def test_the_population_is_as_stated() -> None:
    population = Population(CURVES["steep"], 0.8)
    large = population.draw(400_000, np.random.default_rng(1))
    assert asr_by_round(large) == pytest.approx(population.curve, abs=0.003)
    assert safety_index(large).value == pytest.approx(population.si, abs=0.003)
    assert np.corrcoef(large.codes[:, 3], large.codes[:, 4])[0, 1] > 0.4


@pytest.mark.parametrize("queries", [100, 500])
@pytest.mark.parametrize("curve", sorted(CURVES))
def test_intervals_hold_the_truth_in_95_of_100_runs(curve: str, queries: int) -> None:
    shares = coverage(Population(CURVES[curve], 0.8), queries, repeats=700, seed=queries)
    assert all(0.93 <= share <= 0.97 for share in shares[1:]), shares
    # One round is a plain share, whose coverage jumps with n and p (Brown, Cai & DasGupta 2001).
    assert 0.92 <= shares[0] <= 0.985, shares


CORNERS = {
    "rare": (0.02,) * 5,
    "nearly all": (0.98,) * 5,
    "rare, rising": (0.01, 0.02, 0.04, 0.08, 0.10),
    "high, rising": (0.90, 0.93, 0.95, 0.97, 0.98),
    "falling": (0.90, 0.80, 0.50, 0.30, 0.20),
} | CURVES


@pytest.mark.slow
@pytest.mark.parametrize("queries", [34, 200, 2000])
@pytest.mark.parametrize("tie", [0.0, 0.9])
@pytest.mark.parametrize("curve", sorted(CORNERS))
def test_intervals_do_not_promise_too_much_in_any_corner(curve: str, tie: float, queries: int) -> None:
    _, pooled, si = coverage(Population(CORNERS[curve], tie), queries, repeats=800, seed=queries)
    assert min(pooled, si) >= 0.92, (pooled, si)  # 0.93 less what 800 repeats leave to chance
    assert si <= 0.99, si


def test_results_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        wilson(1, 2).low = 0.0  # type: ignore[misc]


def test_a_share_of_a_size_that_is_not_whole() -> None:
    between = score_interval(0.25, 10.5)
    assert score_interval(0.25, 11.0).high < between.high < score_interval(0.25, 10.0).high
