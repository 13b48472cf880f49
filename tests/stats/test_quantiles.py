"""Quantiles and their distribution-free intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.stats.quantiles import quantile

shares = st.sampled_from([0.01, 0.5, 0.95, 0.99])


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), shares)
def test_a_quantile_is_the_least_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found is not None
    assert found.value == min(v for v in values if sum(w <= v for w in values) >= share * len(values) - 1e-9)
    assert min(values) <= found.interval.low <= found.value <= found.interval.high <= max(values)


def test_nothing_has_no_quantile_and_few_reach_to_the_ends() -> None:
    assert quantile([], 0.5) is None
    found = quantile([3.0, 1.0, 2.0], 0.5)
    assert found is not None
    assert (found.value, found.interval.low, found.interval.high) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_interval_covers_the_true_quantile(share: float) -> None:
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(500):
        found = quantile(generator.random(200).tolist(), share)
        assert found is not None
        covered += found.interval.low <= share <= found.interval.high
    assert 0.93 < covered / 500 <= 1.0
