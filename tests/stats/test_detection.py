"""Detection figures against plain loops and known values; coverage of their intervals by simulation."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.errors import UsageError
from safemt.stats.clusters import clustered_share
from safemt.stats.detection import (
    Scored,
    alarms_above,
    area_deviations,
    at_threshold,
    auroc,
    needed_benign,
    ranking,
    recalls_of,
    roc_curve,
    scored,
)
from stats.detection_data import Row, both, population, rows, scored_rows
from stats.label_data import assert_finite

NORMAL = NormalDist()


def area_by_pairs(listed: list[Row]) -> float:
    pairs = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one, harmful, _ in listed
        if harmful
        for other, harmful_too, _ in listed
        if not harmful_too
    ]
    return sum(pairs) / len(pairs)


def average_precision_by_steps(listed: list[Row]) -> float:
    total = sum(harmful for _, harmful, _ in listed)
    area = recall = 0.0
    for risk in sorted({risk for risk, _, _ in listed}, reverse=True):
        alarms = [harmful for one, harmful, _ in listed if one >= risk]
        area += (sum(alarms) / total - recall) * sum(alarms) / len(alarms)
        recall = sum(alarms) / total
    return area


def recall_by_trying(listed: list[Row], rate: float) -> float:
    benign = [risk for risk, harmful, _ in listed if not harmful]
    harmful_risks = [risk for risk, harmful, _ in listed if harmful]
    best = 0.0
    for risk in {risk for risk, _, _ in listed}:
        if sum(one >= risk for one in benign) <= rate * len(benign) + 1e-9:
            best = max(best, sum(one >= risk for one in harmful_risks) / len(harmful_risks))
    return best


@given(both)
def test_auroc_is_the_share_of_pairs_in_the_right_order(listed: list[Row]) -> None:
    found = auroc(scored_rows(listed))
    assert found is not None
    assert found.value == pytest.approx(area_by_pairs(listed))
    assert 0.0 <= found.interval.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.interval.high <= 1.0


@given(both)
def test_auprc_is_average_precision(listed: list[Row]) -> None:
    found = ranking(scored_rows(listed), replicates=2)
    assert found.auprc is not None
    assert found.auprc.value == pytest.approx(average_precision_by_steps(listed))
    assert found.prevalence == pytest.approx(sum(bad for _, bad, _ in listed) / len(listed))


def test_average_precision_by_hand() -> None:
    found = ranking(scored([0.1, 0.4, 0.35, 0.8], [False, False, True, True], list("abcd")), replicates=2)
    assert found.auprc is not None
    assert found.auprc.value == pytest.approx(0.5 + 0.5 * 2 / 3)  # scikit-learn's example: 0.83…


@given(both, st.sampled_from([0.01, 0.2, 0.34, 0.5, 1.0]))
def test_recall_at_a_rate_splits_no_tie_and_keeps_the_rate(listed: list[Row], rate: float) -> None:
    data = scored_rows(listed)
    recall = recalls_of(data, (rate,))(np.ones((1, len(listed))))[0, 0]
    assert recall == pytest.approx(recall_by_trying(listed, rate))
    if rate < 1.0:
        above = alarms_above(data.risk[~data.harmful], rate)
        assert (data.risk[~data.harmful] > above).mean() <= rate + 1e-9
        fixed = clustered_share(data.risk[data.harmful] > above, data.cluster[data.harmful])
        assert fixed is not None
        assert fixed.value == pytest.approx(recall)


@given(both, st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]))
def test_figures_at_a_threshold_are_their_counts(listed: list[Row], threshold: float) -> None:
    found = at_threshold(scored_rows(listed), threshold)
    hits = sum(harmful and risk >= threshold for risk, harmful, _ in listed)
    alarms = sum(not harmful and risk >= threshold for risk, harmful, _ in listed)
    harmful = sum(harmful for _, harmful, _ in listed)
    assert (found.found, found.alarms, found.harmful) == (hits, alarms, harmful)
    assert found.benign == len(listed) - harmful
    assert found.recall is not None
    assert found.recall.value == pytest.approx(hits / harmful)
    assert found.false_alarm_rate is not None
    assert found.false_alarm_rate.value == pytest.approx(alarms / found.benign)
    assert found.f1 is not None
    assert found.f1.value == pytest.approx(2 * hits / (hits + alarms + harmful))
    assert (found.precision is None) == (hits + alarms == 0)
    if found.precision is not None:
        assert found.precision.value == pytest.approx(hits / (hits + alarms))


def test_a_threshold_without_harmful_dialogues_or_alarms_says_so() -> None:
    found = at_threshold(scored([0.1, 0.2], [False, False], ["a", "b"]), 0.5)
    assert found.recall is None
    assert found.precision is None
    assert found.f1 is None
    assert found.false_alarm_rate is not None


@given(both)
def test_placements_of_clusters_are_the_sums_of_their_dialogues(listed: list[Row]) -> None:
    alone = [(risk, harmful, str(number)) for number, (risk, harmful, _) in enumerate(listed)]
    area, parts = area_deviations(scored_rows(alone))
    assert parts.sum() == pytest.approx(0.0, abs=1e-9)
    assert area == pytest.approx(area_by_pairs(listed))
    # DeLong's variance, from its definition: S10 / m + S01 / n.
    above = [[1.0 if x > y else 0.5 if x == y else 0.0 for y, bad, _ in listed if not bad]
             for x, bad, _ in listed if bad]  # fmt: skip
    grid = np.asarray(above)
    delong = sum(
        means.var(ddof=1) / len(means) if len(means) > 1 else 0.0
        for means in (grid.mean(axis=1), grid.mean(axis=0))
    )
    assert float(parts @ parts) == pytest.approx(delong)


@given(rows)
def test_the_order_of_dialogues_and_of_clusters_does_not_matter(listed: list[Row]) -> None:
    one, other = (auroc(scored_rows(each)) for each in (listed, listed[::-1]))
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.value == pytest.approx(other.value)
        assert one.interval.low == pytest.approx(other.interval.low)


@given(rows)
def test_any_data_give_finite_figures_in_range(listed: list[Row]) -> None:
    data = scored_rows(listed)
    found = ranking(data, rates=(0.5, 0.01), replicates=5)
    assert_finite(found)
    assert_finite(at_threshold(data, 0.5))
    for estimate in (found.auroc, found.auprc, *(each.estimate for each in found.recalls)):
        if estimate is not None:
            assert 0.0 <= estimate.interval.low <= estimate.interval.high <= 1.0 + 1e-12


def test_a_class_that_is_missing_leaves_the_ranking_open() -> None:
    found = ranking(scored([0.1, 0.9], [True, True], ["a", "b"]))
    assert found.auroc is None
    assert found.auprc is None
    assert [each.estimate for each in found.recalls] == [None, None]
    empty = ranking(scored([], [], []))
    assert (empty.harmful, empty.benign, empty.prevalence) == (0, 0, 0.0)


def test_one_percent_takes_a_hundred_independent_benign_dialogues() -> None:
    def recalls(benign: int, size: int) -> list[float | None]:
        risk = np.concatenate([np.linspace(0, 0.5, benign), np.linspace(0.4, 1.0, 50)])
        clusters = [f"b{i // size}" for i in range(benign)] + [f"h{i}" for i in range(50)]
        found = ranking(scored(risk, np.arange(benign + 50) >= benign, clusters), replicates=50)
        return [each.estimate.value if each.estimate else None for each in found.recalls]

    assert recalls(99, 1)[0] is None
    assert recalls(100, 1)[0] is not None
    assert recalls(100, 5) == [None, pytest.approx(recalls(100, 1)[1])]
    assert recalls(19, 1) == [None, None]
    assert needed_benign(0.01) == 100
    assert needed_benign(0.03) == 34


def test_perfect_separation_is_not_taken_for_certainty() -> None:
    found = auroc(scored([0.1] * 20 + [0.9] * 30, [False] * 20 + [True] * 30, list(map(str, range(50)))))
    assert found is not None
    assert found.value == 1.0
    assert found.interval.low == pytest.approx(0.839, abs=0.001)  # Wilson's for 20 of 20


def test_a_single_cluster_tells_nothing_of_how_clusters_differ() -> None:
    found = auroc(scored([0.1, 0.9, 0.3], [False, True, True], ["a", "b", "b"]))
    assert found is not None
    assert (found.interval.low, found.interval.high) == (0.0, 1.0)


def test_clusters_widen_intervals() -> None:
    data = population(np.random.default_rng(1), clusters=40, size=5, shift=1.5, tie=0.9)
    alone = Scored(risk=data.risk, harmful=data.harmful, cluster=np.arange(len(data.risk)))
    for figure in (auroc, lambda each: at_threshold(each, 1.0).recall):
        wide, narrow = figure(data), figure(alone)
        assert wide is not None
        assert narrow is not None
        assert wide.value == narrow.value
        assert wide.interval.high - wide.interval.low > 1.4 * (narrow.interval.high - narrow.interval.low)


@given(both)
def test_the_roc_curve_encloses_the_area_and_never_turns_back(listed: list[Row]) -> None:
    rates, recalls = roc_curve(scored_rows(listed))
    assert (rates[0], recalls[0], rates[-1], recalls[-1]) == (0.0, 0.0, 1.0, 1.0)
    steps = list(itertools.pairwise(zip(rates.tolist(), recalls.tolist(), strict=True)))
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in steps)
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in steps)
    assert area == pytest.approx(area_by_pairs(listed))


def test_lists_of_other_lengths_and_risks_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        scored([0.1, 0.2], [True], ["a"])
    assert caught.value.code == "unequal_lengths"
    with pytest.raises(UsageError) as caught:
        scored([0.1, math.nan], [True, False], ["a", "b"])
    assert caught.value.code == "not_finite"


def test_equal_seeds_give_equal_intervals() -> None:
    data = population(np.random.default_rng(3), clusters=120, size=2, shift=1.0, tie=0.5)
    assert ranking(data, replicates=100, seed=7) == ranking(data, replicates=100, seed=7)
    assert ranking(data, replicates=100, seed=7) != ranking(data, replicates=100, seed=8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clusters", "size", "shift", "tie"),
    [(30, 1, 1.0, 0.0), (30, 5, 1.0, 0.8), (120, 1, 2.5, 0.0), (120, 3, 2.5, 0.5), (300, 2, 3.5, 0.9)],
)
def test_intervals_cover_the_truth(clusters: int, size: int, shift: float, tie: float) -> None:
    area = NORMAL.cdf(shift / math.sqrt(2))
    recall = NORMAL.cdf(shift + NORMAL.inv_cdf(0.05))
    fixed = NORMAL.cdf(shift - 1.5)
    generator = np.random.default_rng(clusters + size)
    covered = np.zeros(3)
    repeats = 400
    for _ in range(repeats):
        data = population(generator, clusters=clusters, size=size, shift=shift, tie=tie)
        found = ranking(data, rates=(0.05,), replicates=200)
        estimates = (found.auroc, found.recalls[0].estimate, at_threshold(data, 1.5).recall)
        for position, (estimate, truth) in enumerate(zip(estimates, (area, recall, fixed), strict=True)):
            assert estimate is not None
            covered[position] += estimate.interval.low <= truth <= estimate.interval.high
    # Recall at 5 % of 30 benign dialogues rests on the second highest of them: 91 %. All else is above 94 %.
    assert (covered / repeats > 0.9).all(), covered / repeats
