import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training.calibrate import fit_platt, threshold_at
from training.measure import Scored, auprc, auroc, compare, share


def test_a_fit_gives_back_the_probabilities_that_made_the_labels() -> None:
    chance = np.random.default_rng(0)
    logits = chance.normal(0, 2, 20_000)
    harmful = (chance.random(20_000) < 1 / (1 + np.exp(-(0.7 * logits - 1)))).astype(float)
    fitted = fit_platt(list(logits), list(harmful), base_rate=float(harmful.mean()))
    assert fitted.slope == pytest.approx(0.7, abs=0.03)
    assert fitted.shift == pytest.approx(-1, abs=0.06)


def test_classes_that_do_not_overlap_still_give_a_finite_rising_curve() -> None:
    fitted = fit_platt([-3.0, -2.0, 2.0, 3.0], [0, 0, 1, 1])
    assert 0 < fitted.slope < 100
    assert fitted.risk(np.array([-2.5])).item() < fitted.risk(np.array([2.5])).item() < 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.sampled_from([0.0, 0.01, 0.05, 0.5]))
def test_a_threshold_keeps_its_promise_on_its_own_data(scores: list[float], allowed: float) -> None:
    threshold = threshold_at(scores, allowed)
    assert sum(score >= threshold for score in scores) <= allowed * len(scores)


def test_auroc_and_average_precision_of_a_case_by_hand() -> None:
    harmful, harmless = np.array([0.9, 0.4, 0.4]), np.array([0.1, 0.4])
    assert auroc(harmful, harmless) == pytest.approx((1 + 1 + 1 + 0.5 + 1 + 0.5) / 6)
    assert auprc(np.array([0.9, 0.3]), np.array([0.5])) == pytest.approx((1 + 2 / 3) / 2)


def test_clusters_widen_an_interval() -> None:
    chance = np.random.default_rng(1)
    clusters = [str(number // 50) for number in range(500)]
    levels = np.repeat(chance.normal(0.5, 1, 10), 50)
    loose = Scored.of(list(levels), [str(number) for number in range(500)])
    tight = Scored.of(list(levels), clusters)
    wide, narrow = share(tight, 0.5), share(loose, 0.5)
    assert wide[0] == narrow[0]
    assert wide[2] - wide[1] > 2 * (narrow[2] - narrow[1])
    assert compare([(tight, loose)])["auroc"][0] == 0.5


def test_strata_are_measured_apart_and_weighted_by_their_harmful_dialogues() -> None:
    one = (Scored.of([0.9, 0.8, 0.7], list("abc")), Scored.of([0.1, 0.2], list("ab")))
    shifted = (Scored.of([0.05], ["a"]), Scored.of([0.01, 0.09], list("ab")))
    assert compare([one, shifted])["auroc"][0] == pytest.approx((3 * 1.0 + 0.5) / 4)
