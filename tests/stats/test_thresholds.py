"""Thresholds that keep a promise: exact intervals, how many dialogues it takes, and whether it is kept."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.errors import UsageError
from safemt.stats.thresholds import allowed_alarms, at_most, clopper_pearson, needed_for, promise


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0),
        (10, 100, 0.0490, 0.1762),
    ],
)  # fmt: skip
def test_clopper_pearson_as_tabled(successes: int, n: int, low: float, high: float) -> None:
    found = clopper_pearson(successes, n)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_limits_are_where_the_tails_are_two_and_a_half_percent(counts: tuple[int, int]) -> None:
    successes, n = counts
    found = clopper_pearson(successes, n)
    if successes < n:
        tail = math.fsum(
            math.comb(n, k) * found.high**k * (1 - found.high) ** (n - k) for k in range(successes + 1)
        )
        assert tail == pytest.approx(0.025)
    if successes > 0:
        tail = math.fsum(
            math.comb(n, k) * found.low**k * (1 - found.low) ** (n - k) for k in range(successes, n + 1)
        )
        assert tail == pytest.approx(0.025)


def test_impossible_counts_are_refused() -> None:
    for successes, n in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(UsageError) as caught:
            clopper_pearson(successes, n)
        assert caught.value.code == "impossible_counts"


@given(st.floats(0.001, 0.5))
def test_as_many_as_are_needed_are_enough_and_one_fewer_is_not(rate: float) -> None:
    needed = needed_for(rate)
    assert (1 - rate) ** needed <= 0.025 * (1 + 1e-9)
    assert (1 - rate) ** (needed - 1) > 0.025 * (1 - 1e-9)


def test_one_percent_takes_368_dialogues() -> None:
    assert needed_for(0.01) == 368
    assert needed_for(0.05) == 72
    assert allowed_alarms(0.01, 367) is None
    assert allowed_alarms(0.01, 368) == 0


@given(st.floats(0.01, 0.3), st.integers(1, 400))
def test_the_most_alarms_whose_interval_stays_below_the_rate_are_allowed(rate: float, benign: int) -> None:
    allowed = allowed_alarms(rate, benign)
    if allowed is None:
        assert clopper_pearson(0, benign).high > rate * (1 - 1e-9)
        return
    assert clopper_pearson(allowed, benign).high <= rate * (1 + 1e-9)
    assert clopper_pearson(allowed + 1, benign).high > rate * (1 - 1e-9)


def test_the_binomial_sum_is_stable_for_many() -> None:
    assert at_most(1000, 100_000, 0.01) == pytest.approx(0.5084, abs=1e-3)


def test_the_threshold_lies_just_above_the_first_risk_that_is_one_too_many() -> None:
    risks = [number / 1000 for number in range(400)]
    found = promise(risks, 0.02)
    assert found is not None
    assert found.allowed == 2
    assert found.threshold == pytest.approx(0.397001)
    assert found.alarms == 2
    assert found.achieved.value == 2 / 400
    assert found.achieved.interval.high <= 0.02


def test_equal_risks_are_not_split() -> None:
    found = promise([0.9] * 10 + [0.1] * 990, 0.01)
    assert found is not None
    assert (found.threshold, found.alarms) == (0.900001, 0)
    assert found.allowed > 0


def test_a_moderator_that_is_sure_of_all_can_keep_no_rate_within_its_risks() -> None:
    found = promise([1.0] * 400, 0.01)
    assert found is not None
    assert found.threshold > 1.0


def test_too_few_promise_nothing_and_a_rate_is_a_share() -> None:
    assert promise([0.1] * 100, 0.01) is None
    for rate in (0.0, 1.0, 5.0, math.nan):
        with pytest.raises(UsageError) as caught:
            promise([0.1], rate)
        assert caught.value.code == "bad_rate"


def test_the_promise_is_kept_on_new_dialogues_as_often_as_said() -> None:
    generator = np.random.default_rng(5)
    kept = 0
    for _ in range(400):
        found = promise(generator.random(400).tolist(), 0.05)
        assert found is not None
        kept += 1.0 - found.threshold <= 0.05  # the true rate of a uniform risk
    assert kept / 400 > 0.95
