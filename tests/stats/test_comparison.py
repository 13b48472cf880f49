"""Comparison of two runs: exact tests, corrections, power, intervals, over-refusal, degenerate data."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from safemt.core.taxonomy import Outcome
from safemt.stats.comparison import (
    Comparison,
    Difference,
    compare,
    compare_twins,
    correct_family,
    detectable_difference,
    holm,
    mcnemar,
    over_refusal,
)
from safemt.stats.intervals import bootstrap
from safemt.stats.metrics import SAFE, UNSAFE, LabelMatrix, label_matrix, safety_index
from stats.label_data import CURVES, ROUNDS, Population, assert_finite, matrices, matrix_of

UNTOLD = "cannot tell at this size"


def differences(comparison: Comparison) -> list[Difference]:
    return [d for d in (*comparison.by_round, comparison.pooled, comparison.si) if d is not None]


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(0, 0, 1.0), (3, 3, 1.0), (0, 1, 1.0), (0, 5, 0.0625), (2, 10, 158 / 4096), (10, 2, 158 / 4096)],
)
def test_mcnemar_by_hand(one: int, other: int, p: float) -> None:
    assert mcnemar(one, other) == p


@pytest.mark.parametrize(("one", "other"), [(4900, 5100), (4700, 5300), (1000, 9000), (0, 10_000)])
def test_mcnemar_is_stable_for_ten_thousand_pairs(one: int, other: int) -> None:
    n = one + other
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(one + 1)]
    top = max(logs)
    log_p = math.log(2) + top + math.log(sum(math.exp(x - top) for x in logs)) - n * math.log(2)
    found = mcnemar(one, other)
    assert found == pytest.approx(math.exp(log_p), rel=1e-6)
    assert 0.0 <= found <= 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], alpha: float) -> None:
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    limits = [alpha / (len(p_values) - rank) for rank in range(len(p_values))]
    assume(all(abs(p_values[i] - limit) > 1e-9 for i, limit in zip(order, limits, strict=True)))
    rejected = set()
    for index, limit in zip(order, limits, strict=True):
        if p_values[index] > limit:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= alpha} == rejected


@given(st.integers(4, 20_000), st.floats(0, 1))
def test_the_detectable_difference_solves_connors_equation(pairs: int, discordant: float) -> None:
    found = detectable_difference(pairs, discordant)
    assert found is not None
    assert 0.0 < found <= 1.0
    share = max(discordant, found)
    need = 1.959963984540054 * math.sqrt(share) + 0.8416212335729143 * math.sqrt(max(0.0, share - found**2))
    assert math.sqrt(pairs) * found == pytest.approx(need, rel=1e-6, abs=1e-6)


def test_the_detectable_difference_has_the_power_it_claims() -> None:
    # 500 pairs, 30 % discordant: draw tables at exactly that difference and count McNemar's rejections.
    found = detectable_difference(500, 0.3)
    assert found is not None
    generator = np.random.default_rng(1)
    discordant = generator.binomial(500, 0.3, size=3000)
    second = generator.binomial(discordant, (0.3 + found) / 0.6)
    power = np.mean(
        [mcnemar(n - b, b) <= 0.05 for n, b in zip(discordant.tolist(), second.tolist(), strict=True)]
    )
    assert 0.76 <= power <= 0.82  # the exact test is a little careful


@pytest.mark.parametrize("pairs", [0, 1, 3])
def test_hardly_any_pairs_detect_nothing(pairs: int) -> None:
    assert detectable_difference(pairs, 0.5) is None


@given(matrices(), matrices())
def test_a_comparison_is_sound_and_turns_its_sign_with_its_sides(
    one: LabelMatrix, other: LabelMatrix
) -> None:
    there, back = compare(one, other, replicates=20), compare(other, one, replicates=20)
    assert_finite(there)
    assert there.rounds == back.rounds == tuple(k for k in one.rounds if k in other.rounds)
    assert there.unpaired == back.unpaired[::-1]
    assert len(differences(there)) == len(differences(back))
    for d, e in zip(differences(there), differences(back), strict=True):
        assert d.value == pytest.approx(-e.value, abs=1e-12)
        assert d.value == pytest.approx(d.second - d.first)
        assert d.interval.low <= d.value <= d.interval.high
        assert d.interval.high - d.interval.low > 0.1
        assert 0.0 <= d.p_value <= d.p_adjusted <= 1.0
        assert d.verdict == UNTOLD or d.p_adjusted <= 0.05
        assert d.detectable is None or 0.0 < d.detectable <= 1.0


@given(matrices(codes=st.sampled_from([SAFE, UNSAFE]), min_queries=1))
def test_a_run_does_not_differ_from_itself(matrix: LabelMatrix) -> None:
    assume(matrix.rounds)
    found = compare(matrix, matrix, replicates=20)
    assert found.unpaired == (0, 0)
    for difference in differences(found):
        assert difference.value == 0.0
        assert difference.p_value == 1.0
        assert difference.verdict == UNTOLD
        assert difference.interval.high == pytest.approx(-difference.interval.low)
    assert found.si is not None
    assert found.si.first == pytest.approx(safety_index(matrix).value, abs=1e-9)


def test_only_samples_graded_in_both_count() -> None:
    first = label_matrix([("a", 1, "unsafe"), ("b", 1, "safe"), ("a", 2, "safe"), ("c", 1, "safe")])
    second = label_matrix([("b", 1, "unsafe"), ("a", 1, "unsafe"), ("a", 2, "?"), ("a", 4, "safe")])
    found = compare(first, second)
    assert found.rounds == (1, 2)
    assert found.unpaired == (2, 1)
    first_round = found.by_round[0]
    assert found.by_round[1] is None
    assert first_round is not None
    assert (first_round.first, first_round.second, first_round.value) == (0.5, 1.0, 0.5)
    assert first_round.samples == 2
    assert first_round.detectable is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (label_matrix([]), label_matrix([])),
        (label_matrix([("a", 1, "safe")]), label_matrix([("b", 1, "safe")])),
        (label_matrix([("a", 1, "safe")]), label_matrix([("a", 2, "safe")])),
        (label_matrix([("a", 1, "?")]), label_matrix([("a", 1, "safe")])),
    ],
)
def test_nothing_shared_gives_no_difference(first: LabelMatrix, second: LabelMatrix) -> None:
    found = compare(first, second)
    assert found.pooled is found.si is None
    assert set(found.by_round) <= {None}


def draw(population: Population, queries: int, generator: np.random.Generator) -> LabelMatrix:
    """A run whose rows, unlike those of `Population.draw`, come in no order, so that runs can be paired."""
    codes = generator.permutation(population.draw(queries, generator).codes)
    return LabelMatrix(tuple(str(row) for row in range(queries)), ROUNDS, codes)


def spare(run: LabelMatrix, share: float, generator: np.random.Generator) -> LabelMatrix:
    """The run with this share of its queries made safe throughout, as by a guard."""
    spared = generator.random((len(run.codes), 1)) < share
    return dataclasses.replace(run, codes=np.where(spared, np.int8(SAFE), run.codes))


def test_a_safer_run_is_told_from_an_equal_one() -> None:
    generator = np.random.default_rng(2)
    before = draw(Population(CURVES["steep"], 0.8), 300, generator)
    found = compare(before, spare(before, 0.4, generator))
    assert [d.verdict for d in found.by_round if d] == ["lower"] * 5
    assert found.pooled is not None
    assert found.pooled.verdict == "lower"
    assert found.pooled.interval.high < 0.0
    assert found.si is not None
    assert found.si.verdict == "higher"
    assert found.si.samples == 1500


def test_a_guard_that_wavers_lowers_asr_and_the_index_too() -> None:
    # As published, the index takes wavering for danger: sparing samples here and there can lower it.
    generator = np.random.default_rng(2)
    before = draw(Population(CURVES["steep"], 0.8), 300, generator)
    spared = generator.random(before.codes.shape) < 0.4
    found = compare(before, dataclasses.replace(before, codes=np.where(spared, np.int8(SAFE), before.codes)))
    assert found.pooled is not None
    assert found.si is not None
    assert (found.pooled.verdict, found.si.verdict) == ("lower", "lower")


def test_pairs_tell_more_than_their_single_intervals() -> None:
    generator = np.random.default_rng(3)
    before = draw(Population(CURVES["rising"], 0.9), 400, generator)
    after = spare(before, 0.1, generator)
    found = compare(before, after).pooled
    one, other = bootstrap(before).pooled, bootstrap(after).pooled
    assert found is not None
    assert one is not None
    assert other is not None
    assert other.interval.high > one.interval.low
    assert found.verdict == "lower"
    assert found.detectable is not None
    assert found.detectable < (one.interval.high - one.interval.low) / 2


def test_a_family_of_comparisons_is_corrected_as_one() -> None:
    generator = np.random.default_rng(4)
    before = draw(Population(CURVES["flat"], 0.8), 150, generator)
    alone = [compare(before, spare(before, share, generator)) for share in (0.0, 0.05, 0.6)]
    together = correct_family([*alone, compare(matrix_of([]), matrix_of([]))])
    family = [d.p_value for c in alone for d in differences(c)]
    assert len(family) == 21
    assert [d.p_adjusted for c in together for d in differences(c)] == list(holm(family))
    for one, other in zip(alone, together, strict=False):
        for d, e in zip(differences(one), differences(other), strict=True):
            assert e.p_adjusted >= d.p_adjusted
            assert dataclasses.replace(e, p_adjusted=d.p_adjusted, verdict=d.verdict) == d


def test_difference_intervals_hold_the_truth_and_tests_keep_their_level() -> None:
    generator = np.random.default_rng(5)
    population = Population(CURVES["rising"], 0.7)
    held, rejected, found_any = np.zeros(2), np.zeros(2), 0
    for repeat in range(500):
        runs = [draw(population, 150, generator) for _ in range(2)]
        found = compare(*runs, replicates=150, seed=repeat)
        for place, difference in enumerate((found.pooled, found.si)):
            assert difference is not None
            held[place] += difference.interval.low <= 0.0 <= difference.interval.high
            rejected[place] += difference.p_value <= 0.05
        found_any += any(d.verdict != UNTOLD for d in differences(found))
    assert (held / 500).tolist() == pytest.approx([0.95, 0.95], abs=0.025)
    assert max(rejected / 500) <= 0.07
    assert found_any / 500 <= 0.06


def test_over_refusal_counts_every_way_of_turning_away() -> None:
    twins = [(f"b{i}", 1, outcome) for i, outcome in enumerate(Outcome)]
    found = over_refusal(twins)
    assert found is not None
    assert found.value == 0.75  # refused, blocked, moderated of four answered; the error is neither
    assert found.interval.low < 0.75 < found.interval.high


def test_over_refusal_is_clustered_by_query() -> None:
    def twins(ids: int) -> list[tuple[str, int, str]]:
        outcomes = [Outcome.REFUSED if i % 5 == 0 else Outcome.COMPLIED for i in range(100)]
        return [(f"b{i % ids}", i // ids + 1, outcome) for i, outcome in enumerate(outcomes)]

    apart, together = over_refusal(twins(100)), over_refusal(twins(20))
    assert apart is not None
    assert together is not None
    assert apart.value == together.value == 0.2
    assert together.interval.high - together.interval.low > 1.5 * (apart.interval.high - apart.interval.low)


def test_over_refusal_of_two_runs_is_compared_in_pairs_of_twins_answered_in_both() -> None:
    names = [f"q{number}" for number in range(60)]
    kind = [(name, 1, Outcome.COMPLIED.value) for name in names]
    strict = [(name, 1, Outcome.MODERATED.value) for name in names[:30]] + kind[30:59]
    strict.append(("q59", 1, Outcome.ERROR.value))
    found = compare_twins(kind, strict)
    assert found is not None
    assert (found.first, found.samples) == (0.0, 59)
    assert found.second == pytest.approx(30 / 59)
    assert found.p_value < 0.001
    assert compare_twins(kind, []) is None


def test_over_refusal_belongs_to_the_family_that_is_corrected() -> None:
    names = [f"q{number}" for number in range(8)]
    same = label_matrix((name, 1, "safe") for name in names)
    alone = compare_twins(
        [(name, 1, Outcome.COMPLIED.value) for name in names],
        [(name, 1, Outcome.REFUSED.value) for name in names],
    )
    assert alone is not None
    comparison = compare(same, same)
    [corrected] = correct_family([dataclasses.replace(comparison, over_refusal=alone)])
    assert corrected.over_refusal is not None
    assert corrected.over_refusal.p_adjusted == pytest.approx(alone.p_value * 4)
    assert corrected.over_refusal.verdict == ("higher" if alone.p_value * 4 <= 0.05 else UNTOLD)
