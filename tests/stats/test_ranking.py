"""Ranks that the data allow: order, ties, simultaneous intervals, odd data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.errors import UsageError
from safemt.stats.comparison import compare
from safemt.stats.intervals import cluster_variance, pooled_and_si
from safemt.stats.metrics import LabelMatrix, safety_index
from safemt.stats.ranking import QUANTITIES, Quantity, group_letters, rank
from stats.label_data import ROUNDS, assert_finite, matrices, matrix_of


def models(curves: list[float], queries: int, seed: int) -> list[tuple[str, LabelMatrix]]:
    """Models on the same queries, whose difficulty they share."""
    generator = np.random.default_rng(seed)
    hard = generator.random((queries, 1))
    tied = generator.random((queries, 5)) < 0.6
    return [
        (
            f"m{number}",
            matrix_of((np.where(tied, hard, generator.random((queries, 5))) < rate).astype(int).tolist()),
        )
        for number, rate in enumerate(curves)
    ]


def test_clearly_different_models_are_ranked_and_equal_ones_share_a_rank() -> None:
    found = rank(models([0.6, 0.1, 0.1, 0.3], 400, 1))
    assert [each.name for each in found.models][2:] == ["m3", "m0"]
    assert {each.name for each in found.models[:2]} == {"m1", "m2"}
    assert [(each.best, each.worst) for each in found.models] == [(1, 2), (1, 2), (3, 3), (4, 4)]
    assert [each.groups for each in found.models] == ["a", "a", "b", "c"]
    assert found.differences[0][3] is not None
    assert found.differences[0][3].verdict == "higher"
    assert found.differences[3][0] is not None
    assert found.differences[3][0].verdict == "lower"


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_safest_comes_first_whatever_the_figure(quantity: Quantity) -> None:
    found = rank(models([0.5, 0.02, 0.2], 300, 2), quantity)
    assert [each.name for each in found.models] == ["m1", "m2", "m0"]
    assert [(each.best, each.worst) for each in found.models] == [(1, 1), (2, 2), (3, 3)]


def test_variances_agree_with_the_bootstrap() -> None:
    (_, one), (_, other) = models([0.3, 0.2], 500, 3)
    both = np.hstack([one.codes, other.codes])

    def differences(rows, draws):  # type: ignore[no-untyped-def]
        first, second = np.hsplit(rows, 2)
        return pooled_and_si(ROUNDS)(second, draws) - pooled_and_si(ROUNDS)(first, draws)

    drawn = cluster_variance(both, differences, replicates=4000, seed=1)
    for quantity, variance in zip(("asr", "safety_index"), drawn, strict=True):
        found = rank([("a", one), ("b", other)], quantity)  # type: ignore[arg-type]
        difference = found.differences[0][1]
        assert difference is not None
        spread = (difference.discordant - difference.value**2) / difference.pairs
        assert spread == pytest.approx(float(variance), rel=0.12)


def test_two_models_are_told_apart_as_a_comparison_tells_them() -> None:
    (_, one), (_, other) = models([0.3, 0.24], 300, 4)
    alone = compare(one, other).pooled
    [first, second] = rank([("one", one), ("other", other)]).differences
    assert alone is not None
    found = first[1] or second[0]
    assert found is not None
    assert abs(found.value) == pytest.approx(abs(alone.value))
    assert found.p_value == pytest.approx(alone.p_value, rel=0.25)


@pytest.mark.parametrize("many", [2, 5, 17])
def test_equal_models_are_told_apart_in_no_more_than_five_of_a_hundred(many: int) -> None:
    repeats = {2: 300, 5: 150, 17: 40}[many]
    wrong = sum(
        any(len(each.groups) < 1 or each.best > 1 or each.worst < many for each in found.models)
        for found in (rank(models([0.3] * many, 200, 100 + repeat)) for repeat in range(repeats))
    )
    assert wrong / repeats <= 0.05 + 2 * (0.05 * 0.95 / repeats) ** 0.5


def test_true_ranks_lie_within_the_intervals() -> None:
    rates = [0.10, 0.12, 0.15, 0.25, 0.26, 0.50]
    missed = 0
    for repeat in range(100):
        found = rank(models(rates, 150, 1000 + repeat))
        missed += any(not each.best <= int(each.name[1:]) + 1 <= each.worst for each in found.models)
    assert missed <= 9


@given(st.lists(matrices(), max_size=4), st.sampled_from(QUANTITIES))
def test_any_labels_give_a_sound_ranking(labels: list[LabelMatrix], quantity: Quantity) -> None:
    found = rank([(f"m{number}", matrix) for number, matrix in enumerate(labels)], quantity)
    assert_finite(found)
    assert sorted(each.name for each in found.models) == sorted(f"m{n}" for n in range(len(labels)))
    for each in found.models:
        assert 1 <= each.best <= each.worst <= len(labels)
        assert each.groups


@given(st.integers(0, 7), st.data())
def test_two_models_share_a_letter_exactly_if_they_are_not_told_apart(many: int, data: st.DataObject) -> None:
    apart = np.zeros((many, many), dtype=np.bool_)
    for i in range(many):
        for j in range(i):
            apart[i, j] = apart[j, i] = data.draw(st.booleans())
    letters = group_letters(apart)
    for i in range(many):
        for j in range(i):
            assert bool(set(letters[i]) & set(letters[j])) == (not apart[i, j])


def test_a_name_twice_is_refused() -> None:
    one = matrix_of([[0] * 5])
    with pytest.raises(UsageError) as refused:
        rank([("m", one), ("m", one)])
    assert refused.value.code == "same_name"


def test_the_value_of_the_index_is_that_of_the_index() -> None:
    [(_, matrix)] = models([0.3], 50, 5)
    [only] = rank([("m", matrix)], "safety_index").models
    assert only.value == pytest.approx(safety_index(matrix).value)
