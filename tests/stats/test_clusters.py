"""Shares and means whose items hang together, and the bootstrap that draws clusters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.errors import UsageError
from safemt.stats.clusters import (
    cluster_bootstrap,
    clustered_mean,
    clustered_share,
    independent,
    mapped,
    numbered,
)
from safemt.stats.intervals import Estimate, Interval, share_estimate, wilson

items = st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), min_size=1, max_size=12)


@given(items)
def test_a_share_is_its_count_and_its_variance_that_of_cluster_sums(listed: list[tuple[bool, str]]) -> None:
    hits = np.asarray([hit for hit, _ in listed])
    cluster = numbered([name for _, name in listed])
    found = clustered_share(hits, cluster)
    assert found is not None
    share = sum(hit for hit, _ in listed) / len(listed)
    assert found.value == pytest.approx(share)
    names = {name for _, name in listed}
    sums = [sum(hit - share for hit, own in listed if own == name) for name in names]
    variance = sum(each**2 for each in sums) / len(listed) ** 2 * len(names) / max(1, len(names) - 1)
    expected = share_estimate(found.value, variance, independent(cluster))
    assert found.interval.low == pytest.approx(expected.interval.low)
    assert found.interval.high == pytest.approx(expected.interval.high)


def test_independent_items_have_about_wilsons_interval() -> None:
    hits = np.arange(200) < 30
    found = clustered_share(hits, np.arange(200))
    assert found is not None
    assert found.interval.low == pytest.approx(wilson(30, 200).low, abs=0.002)
    assert found.interval.high == pytest.approx(wilson(30, 200).high, abs=0.002)


def test_copies_of_an_item_add_nothing() -> None:
    once = clustered_share(np.arange(40) < 10, np.arange(40))
    often = clustered_share(np.repeat(np.arange(40) < 10, 5), np.repeat(np.arange(40), 5))
    assert once is not None
    assert often is not None
    assert often.interval.low == pytest.approx(once.interval.low)
    assert often.interval.high == pytest.approx(once.interval.high)


def test_nothing_has_no_share_and_a_single_cluster_no_bounds() -> None:
    assert clustered_share(np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.intp)) is None
    assert clustered_mean(np.zeros(0), np.zeros(0, dtype=np.intp), low=0.0, high=1.0) is None
    assert clustered_share(np.asarray([True, False]), np.asarray([0, 0])) == Estimate(0.5, Interval(0.0, 1.0))
    assert independent(np.zeros(0, dtype=np.intp)) == 0.0


def test_independent_counts_as_kish_does() -> None:
    assert independent(numbered("aabc")) == pytest.approx(16 / 6)
    assert numbered(["x", "y", "x"]).tolist() == [0, 1, 0]


def test_a_mean_that_can_be_one_value_only_is_certain() -> None:
    found = clustered_mean(np.ones(3), np.arange(3), low=1.0, high=1.0)
    assert found == Estimate(1.0, Interval(1.0, 1.0))


def test_a_mean_of_a_yes_or_no_is_a_share() -> None:
    values = (np.arange(50) < 20).astype(np.float64)
    share = clustered_share(values > 0, np.arange(50))
    mean = clustered_mean(2.0 + 3.0 * values, np.arange(50), low=2.0, high=5.0)
    assert share is not None
    assert mean is not None
    assert mean.value == pytest.approx(2.0 + 3.0 * share.value)
    assert mean.interval.low == pytest.approx(2.0 + 3.0 * share.interval.low)


def test_mapped_keeps_the_order() -> None:
    assert mapped(Estimate(0.5, Interval(0.2, 0.8)), lambda at: 10 * at) == Estimate(5.0, Interval(2.0, 8.0))


def test_the_bootstrap_draws_clusters_whole_and_both_classes_always() -> None:
    cluster = np.asarray([0, 0, 1, 2, 3, 3])
    harmful = np.asarray([True, True, True, False, True, False])
    drawn: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []

    def keep(
        draws: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        drawn.append(draws)
        return draws[:, :1]

    variance = cluster_bootstrap(cluster, harmful, keep, replicates=500, seed=0)
    draws = np.concatenate(drawn)
    assert (draws[:, 0] == draws[:, 1]).all()
    assert (draws[:, 4] == draws[:, 5]).all()
    # Of each kind as many as there are: {0, 1} harmful only, {2} benign only, {3} both.
    assert (draws[:, 0] + draws[:, 2] == 2).all()
    assert (draws[:, 3] == 1).all()
    assert (draws[:, 5] == 1).all()
    assert variance[0] == pytest.approx(0.5, abs=0.1)


def test_the_bootstrap_matches_the_linearised_variance_of_a_share() -> None:
    generator = np.random.default_rng(0)
    cluster = np.repeat(np.arange(60), 4)
    hits = np.repeat(generator.random(60) < 0.3, 4) ^ (generator.random(240) < 0.1)
    found = cluster_bootstrap(
        cluster,
        np.ones(240, dtype=np.bool_),
        lambda draws: (draws @ hits / draws.sum(axis=1))[:, np.newaxis],
        replicates=4000,
        seed=1,
    )
    sums = np.bincount(cluster, hits - hits.mean())
    assert found[0] == pytest.approx(float(sums @ sums) / 240**2 * 60 / 59, rel=0.1)


def test_one_replicate_shows_no_variance() -> None:
    with pytest.raises(UsageError) as caught:
        cluster_bootstrap(np.asarray([0]), np.asarray([True]), lambda draws: draws, replicates=1, seed=0)
    assert caught.value.code == "too_few_replicates"
