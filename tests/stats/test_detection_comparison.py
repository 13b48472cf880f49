"""Two moderators on the same dialogues."""

import numpy as np
import pytest
from hypothesis import given

from safemt.core.errors import UsageError
from safemt.stats.comparison import holm
from safemt.stats.detection import Scored, auroc, scored
from safemt.stats.detection_comparison import compare_detection, correct_detection
from stats.detection_data import Row, both, population, scored_rows
from stats.label_data import assert_finite


def noisy(data: Scored, seed: int, noise: float) -> Scored:
    generator = np.random.default_rng(seed)
    risk = data.risk + noise * generator.normal(size=len(data.risk))
    return Scored(risk=risk, harmful=data.harmful, cluster=data.cluster)


@given(both)
def test_a_moderator_does_not_differ_from_itself(listed: list[Row]) -> None:
    data = scored_rows(listed)
    found = compare_detection(data, data, rates=(0.5,), replicates=5)
    assert_finite(found)
    assert found.auroc is not None
    assert found.auroc.value == 0.0
    assert found.auroc.verdict == "cannot tell at this size"


def test_a_clearly_better_moderator_is_found_and_the_sign_is_the_seconds() -> None:
    data = population(np.random.default_rng(1), clusters=150, size=2, shift=2.0, tie=0.3)
    worse = noisy(data, 2, 2.0)
    found = compare_detection(data, worse, replicates=300)
    one, other = auroc(data), auroc(worse)
    assert one is not None
    assert other is not None
    assert found.auroc is not None
    assert found.auroc.value == pytest.approx(other.value - one.value)
    assert found.auroc.verdict == "lower"
    assert found.auroc.interval.high < 0
    assert found.dialogues == 600
    back = compare_detection(worse, data, replicates=300)
    assert back.auroc is not None
    assert back.auroc.value == pytest.approx(-found.auroc.value)
    assert back.auroc.verdict == "higher"


def test_rates_that_cannot_be_told_are_left_open_and_a_missing_class_leaves_all_open() -> None:
    data = population(np.random.default_rng(1), clusters=30, size=1, shift=2.0, tie=0.0)
    found = compare_detection(data, noisy(data, 3, 1.0), replicates=50)
    assert found.recalls[0] is None
    assert found.recalls[1] is not None
    alone = scored([0.1, 0.2], [True, True], ["a", "b"])
    nothing = compare_detection(alone, alone)
    assert (nothing.auroc, nothing.recalls) == (None, (None, None))


def test_other_dialogues_cannot_be_compared() -> None:
    one = scored([0.1, 0.2], [True, False], ["a", "b"])
    with pytest.raises(UsageError) as caught:
        compare_detection(one, scored([0.1, 0.2], [False, True], ["a", "b"]))
    assert caught.value.code == "different_dialogues"
    with pytest.raises(UsageError) as caught:
        compare_detection(one, scored([0.1], [True], ["a"]))
    assert caught.value.code == "different_dialogues"


def test_several_comparisons_are_one_family() -> None:
    data = population(np.random.default_rng(1), clusters=120, size=1, shift=1.5, tie=0.0)
    pairs = [compare_detection(data, noisy(data, seed, 0.8), replicates=100) for seed in (1, 2)]
    corrected = correct_detection(pairs)
    before = [d for c in pairs for d in (c.auroc, *c.recalls) if d is not None]
    after = [d for c in corrected for d in (c.auroc, *c.recalls) if d is not None]
    assert [d.p_adjusted for d in after] == pytest.approx(holm([d.p_value for d in before]))


@pytest.mark.slow
def test_equal_moderators_are_told_apart_in_no_more_than_the_stated_share() -> None:
    generator = np.random.default_rng(9)
    wrong = np.zeros(3)
    for _ in range(300):
        data = population(generator, clusters=120, size=2, shift=1.5, tie=0.5)
        one, other = (
            noisy(data, int(generator.integers(1 << 30)), 0.7),
            noisy(data, int(generator.integers(1 << 30)), 0.7),
        )
        found = compare_detection(one, other, replicates=200)
        wrong += [d is not None and d.p_value <= 0.05 for d in (found.auroc, *found.recalls)]
    assert (wrong / 300 < 0.08).all(), wrong / 300
