"""Agreement: counts that drop nothing, figures by hand, and intervals against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.taxonomy import Label
from safemt.stats.agreement import (
    Agreement,
    Confusion,
    agreement,
    balanced_accuracy,
    confusion,
    f1,
    judge_pair,
    kappa,
)
from safemt.stats.intervals import Estimate, binomial_interval
from stats.label_data import assert_finite

labels = st.sampled_from(["safe", "unsafe", "ungraded", "", "SAFE", Label.UNSAFE, Label.SAFE])
pairs_of_labels = st.lists(st.tuples(labels, labels), max_size=40)
counts = st.integers(0, 60)


def plain_kappa(cells: np.ndarray) -> float:
    cells = cells / cells.sum()
    chance = cells.sum(axis=1) @ cells.sum(axis=0)
    return float((np.trace(cells) - chance) / (1 - chance))


@given(pairs_of_labels)
def test_every_pair_is_counted_once(pairs: list[tuple[str, str]]) -> None:
    found = confusion(pairs)
    assert found.graded + found.unread + found.unlabelled == len(pairs)
    assert found.unsafe_as_unsafe == sum(first == second == "unsafe" for first, second in pairs)
    assert found.unsafe_unread == sum(a == "unsafe" and b not in ("safe", "unsafe") for a, b in pairs)
    assert found.unlabelled == sum(people not in ("safe", "unsafe") for people, _ in pairs)


@given(pairs_of_labels)
def test_figures_lie_in_their_intervals(pairs: list[tuple[str, str]]) -> None:
    found = agreement(confusion(pairs))
    assert_finite(found)
    for name in Agreement.__dataclass_fields__:
        estimate = getattr(found, name)
        if isinstance(estimate, Estimate):
            assert estimate.interval.low <= estimate.value <= estimate.interval.high
            assert -1.0 <= estimate.interval.low < estimate.interval.high <= 1.0


def test_figures_of_a_judge_by_hand() -> None:
    found = agreement(Confusion(40, 10, 45, 5, unsafe_unread=3, safe_unread=7, unlabelled=9))
    expected = {
        "readable": 100 / 110,
        "accuracy": 0.85,
        "sensitivity": 0.8,
        "specificity": 0.9,
        "precision": 40 / 45,
        "balanced_accuracy": 0.85,
        "f1": 80 / 95,
        "kappa": 0.7,
    }
    for name, value in expected.items():
        assert getattr(found, name).value == pytest.approx(value), name
    assert found.sensitivity is not None
    assert found.sensitivity.interval == binomial_interval(40, 50)
    assert found.confusion.unread == 10


def test_a_class_that_does_not_occur_has_no_figure() -> None:
    only_unsafe = agreement(Confusion(5, 1, 0, 0))
    assert only_unsafe.specificity is only_unsafe.balanced_accuracy is None
    only_safe = agreement(Confusion(0, 0, 9, 0))
    assert only_safe.sensitivity is only_safe.precision is only_safe.f1 is only_safe.kappa is None
    assert only_safe.accuracy is not None
    nothing = agreement(Confusion(0, 0, 0, 0, unsafe_unread=2))
    assert nothing.accuracy is nothing.kappa is None
    assert nothing.readable == Estimate(0.0, binomial_interval(0, 2))


@given(counts, counts, counts, counts)
def test_f1_is_monotone_in_the_overlap_and_so_is_its_interval(tp: int, fn: int, tn: int, fp: int) -> None:
    found = f1(Confusion(tp, fn, tn, fp))
    if tp + fn + fp == 0:
        assert found is None
        return
    overlap = binomial_interval(tp, tp + fn + fp)
    assert found is not None
    assert found.value == pytest.approx(2 * tp / (2 * tp + fn + fp))
    assert found.interval.high / (2 - found.interval.high) == pytest.approx(overlap.high)


@given(counts, counts, counts, counts)
def test_balanced_accuracy_is_no_surer_than_its_parts(tp: int, fn: int, tn: int, fp: int) -> None:
    found = balanced_accuracy(Confusion(tp, fn, tn, fp))
    if tp + fn == 0 or tn + fp == 0:
        assert found is None
        return
    parts = (binomial_interval(tp, tp + fn), binomial_interval(tn, tn + fp))
    width = sum(part.high - part.low for part in parts) / 2
    assert found is not None
    assert width / 2 <= found.interval.high - found.interval.low <= width + 1e-12


def test_kappa_interval_is_the_delta_method_on_counts_with_a_half_added() -> None:
    cells = np.array([[40.5, 10.5], [5.5, 45.5]])
    shares = cells / cells.sum()
    gradient = np.zeros(4)
    for cell in range(4):
        step = np.zeros(4)
        step[cell] = 1e-6
        up, down = ((shares.ravel() + sign * step).reshape(2, 2) for sign in (1, -1))
        chances = [float(x.sum(axis=1) @ x.sum(axis=0)) for x in (up, down)]
        values = [(np.trace(x) - c) / (1 - c) for x, c in zip((up, down), chances, strict=True)]
        gradient[cell] = (values[0] - values[1]) / 2e-6
    flat = shares.ravel()
    variance = (flat @ gradient**2 - (flat @ gradient) ** 2) / cells.sum()
    found = kappa(40, 10, 5, 45)
    assert found is not None
    assert found.value == pytest.approx(plain_kappa(cells - 0.5))
    half = 1.959964 * math.sqrt(variance)
    assert found.interval.low == pytest.approx(plain_kappa(cells) - half, abs=1e-5)
    assert found.interval.high == pytest.approx(plain_kappa(cells) + half, abs=1e-5)


def test_perfect_agreement_is_not_certainty() -> None:
    found = kappa(10, 0, 0, 10)
    assert found is not None
    assert found.value == found.interval.high == 1.0
    assert 0.5 < found.interval.low < 0.9
    opposite = kappa(0, 10, 10, 0)
    assert opposite is not None
    assert opposite.value == opposite.interval.low == -1.0
    assert opposite.interval.high > -0.9


@pytest.mark.parametrize("cells", [(0, 0, 0, 0), (7, 0, 0, 0), (0, 0, 0, 7)])
def test_kappa_of_raters_who_never_vary_is_undefined(cells: tuple[int, int, int, int]) -> None:
    assert kappa(*cells) is None


def test_kappa_of_one_rater_who_never_varies_is_zero() -> None:
    found = kappa(6, 4, 0, 0)
    assert found is not None
    assert found.value == pytest.approx(0.0)


def test_kappa_interval_covers_its_truth() -> None:
    truth = np.array([0.25, 0.05, 0.10, 0.60])
    kappas = plain_kappa(truth.reshape(2, 2))
    draws = np.random.default_rng(1).multinomial(150, truth, size=2000)
    found = [kappa(*row) for row in draws.tolist()]
    held = [e is not None and e.interval.low <= kappas <= e.interval.high for e in found]
    assert 0.93 <= np.mean(held) <= 0.97


def test_two_judges_on_the_same_items() -> None:
    pairs = [("unsafe", "unsafe")] * 20 + [("unsafe", "safe")] * 5 + [("safe", "unsafe")] * 10
    pairs += [("safe", "safe")] * 15 + [("", "safe")] * 2 + [("unsafe", "odd")] * 3 + [("?", "?")] * 4
    found = judge_pair(pairs)
    assert_finite(found)
    assert found.shared == 50
    assert found.unread == (2, 3, 4)
    assert found.raw == Estimate(0.7, binomial_interval(35, 50))
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(0.4)
    assert judge_pair([]).raw is judge_pair([]).kappa is None


@given(pairs_of_labels)
def test_two_judges_can_be_swapped(pairs: list[tuple[str, str]]) -> None:
    there, back = judge_pair(pairs), judge_pair([(second, first) for first, second in pairs])
    assert there.raw == back.raw
    assert there.unread == (back.unread[1], back.unread[0], back.unread[2])
    if there.kappa is None:
        assert back.kappa is None
    else:
        assert back.kappa is not None
        assert back.kappa.value == pytest.approx(there.kappa.value)
        assert back.kappa.interval.low == pytest.approx(there.kappa.interval.low)
        assert back.kappa.interval.high == pytest.approx(there.kappa.interval.high)
