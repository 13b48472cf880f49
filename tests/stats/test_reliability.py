"""Reliability, calibration error and Brier score, against plain sums."""

import numpy as np
import pytest
from hypothesis import given

from safemt.core.errors import UsageError
from safemt.stats.detection import scored
from safemt.stats.reliability import reliability
from stats.detection_data import Row, rows, scored_rows
from stats.label_data import assert_finite


@given(rows)
def test_error_and_score_are_their_sums(listed: list[Row]) -> None:
    found = reliability(scored_rows(listed), replicates=5)
    assert_finite(found)
    assert found.brier is not None
    assert found.error is not None
    assert found.brier.value == pytest.approx(sum((r - bad) ** 2 for r, bad, _ in listed) / len(listed))
    error = 0.0
    for number in range(10):
        within = [(r, bad) for r, bad, _ in listed if min(int(r * 10), 9) == number]
        if within:
            error += abs(sum(bad for _, bad in within) - sum(r for r, _ in within)) / len(listed)
    assert found.error.value == pytest.approx(error, abs=1e-9)
    assert sum(each.dialogues for each in found.bins) == len(listed)


def test_a_risk_that_is_a_probability_has_next_to_no_error() -> None:
    generator = np.random.default_rng(2)
    risk = generator.random(4000)
    harmful = generator.random(4000) < risk
    found = reliability(scored(risk, harmful, list(map(str, range(4000)))), replicates=200)
    assert found.error is not None
    assert found.error.value < 0.03
    assert [(each.low, each.high) for each in found.bins][:2] == [(0.0, 0.1), (0.1, 0.2)]
    assert all(each.low <= each.risk <= each.high for each in found.bins)
    covered = [each.harmful.interval.low <= each.risk <= each.harmful.interval.high for each in found.bins]
    assert sum(covered) >= 8


def test_nothing_has_no_error_and_a_score_beyond_one_is_no_probability() -> None:
    empty = reliability(scored([], [], []))
    assert (empty.bins, empty.error, empty.brier) == ((), None, None)
    for risk in (1.5, -0.1):
        with pytest.raises(UsageError) as caught:
            reliability(scored([risk], [True], ["a"]))
        assert caught.value.code == "not_a_probability"
