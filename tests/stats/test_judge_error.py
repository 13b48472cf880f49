"""Corrections for the judge's error: formulas by hand, known values, coverage, degenerate data."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.stats.agreement import Confusion
from safemt.stats.intervals import Interval, bootstrap, proportion
from safemt.stats.judge_error import correct, corrected_asr, prediction_powered, youden
from safemt.stats.metrics import ABSENT, CERTAIN, LabelMatrix, label_matrix
from stats.label_data import CURVES, ROUNDS, Population, assert_finite, matrices, matrix_of

counts = st.integers(0, 200)


def validation(sensitivity: float, specificity: float, each: int = 200) -> Confusion:
    hits, passes = round(sensitivity * each), round(specificity * each)
    return Confusion(hits, each - hits, passes, each - passes)


def test_youden_is_close_to_the_value_tabled_by_newcombe_1998() -> None:
    # 56/70 - 48/80, method 10: 0.0524 to 0.3339. A false-alarm rate of 48/80 is a specificity of 32/80.
    found = youden(Confusion(56, 14, 32, 48))
    assert found is not None
    assert found.value == pytest.approx(0.2)
    # Newcombe has 0.0524 to 0.3339 with Wilson's limits; ours are Jeffreys'.
    assert [found.interval.low, found.interval.high] == pytest.approx([0.052, 0.336], abs=0.003)


def test_the_correction_undoes_what_the_judge_does() -> None:
    judge = validation(0.8, 0.9, each=100_000)
    for truth in (0.0, 0.1, 0.5, 1.0):
        found = correct(truth * 0.8 + (1 - truth) * 0.1, 1e7, judge)
        assert found.standing == "corrected"
        assert found.estimate is not None
        assert found.estimate.value == pytest.approx(truth, abs=1e-9)
        assert found.estimate.interval.high - found.estimate.interval.low < 0.02


def test_the_correction_by_hand() -> None:
    # Lang & Reiczigel (2014), step by step: 40 of 200 called unsafe, sensitivity 45/50, specificity 95/100.
    z = 1.959963984540054
    share = (40 + z**2 / 2) / (200 + z**2)
    hit, passed = 46 / 52, 96 / 102
    true = (share + passed - 1) / (hit + passed - 1)
    shift = 2 * z**2 * (true * hit * (1 - hit) / 52 - (1 - true) * passed * (1 - passed) / 102)
    variance = share * (1 - share) / (200 + z**2)
    variance += true**2 * hit * (1 - hit) / 52 + (1 - true) ** 2 * passed * (1 - passed) / 102
    half = z * math.sqrt(variance) / (hit + passed - 1)
    found = correct(0.2, 200, Confusion(45, 5, 95, 5)).estimate
    assert found is not None
    assert found.value == pytest.approx(0.15 / 0.85)
    assert found.interval.low == pytest.approx(true + shift - half)
    assert found.interval.high == pytest.approx(true + shift + half)


def test_a_rate_that_this_judge_could_never_report_is_not_corrected_to_a_certainty() -> None:
    cries_wolf = Confusion(97, 3, 50, 50)
    assert correct(0.2, 170, cries_wolf).standing == "does not fit"  # it flags half of all safe responses
    blind = Confusion(50, 50, 97, 3)
    assert correct(0.9, 170, blind).standing == "does not fit"
    assert correct(0.5, 170, cries_wolf).standing == "corrected"


@given(st.floats(0, 1), st.floats(0, 5000), counts, counts, counts, counts)
def test_a_correction_is_sound_or_says_why_not(
    observed: float, size: float, tp: int, fn: int, tn: int, fp: int
) -> None:
    judge = Confusion(tp, fn, tn, fp)
    found = correct(observed, size, judge)
    assert_finite(found)
    if tp + fn == 0 or tn + fp == 0:
        assert found.standing == "not validated"
    elif tp * (tn + fp) + tn * (tp + fn) <= (tp + fn) * (tn + fp):
        assert found.standing == "cannot be told from chance"
    assert (found.estimate is not None) == (found.standing == "corrected")
    if found.estimate is not None:
        interval = found.estimate.interval
        assert 0.0 <= interval.low <= found.estimate.value <= interval.high <= 1.0
        assert interval.low < interval.high


@given(st.integers(0, 300), counts, counts, counts, counts)
def test_a_clipped_correction_is_never_narrower_than_what_was_seen(
    unsafe: int, tp: int, fn: int, tn: int, fp: int
) -> None:
    seen = proportion(unsafe, 300)
    assert seen is not None
    found = correct(seen.value, 300, Confusion(tp, fn, tn, fp), uncorrected=seen.interval).estimate
    if found is not None and found.value in (0.0, 1.0):
        width = seen.interval.high - seen.interval.low
        assert found.interval.high - found.interval.low >= width - 1e-9


def test_a_round_is_not_corrected_by_errors_that_do_not_fit_the_run() -> None:
    # Observed 34-36 % under a specificity of 47.5 %: the judge errs differently here than where it was
    # checked.
    matrix = matrix_of([[1] * 5] * 70 + [[0, 0, 0, 0, 1]] * 6 + [[0] * 5] * 124)
    found = corrected_asr(matrix, bootstrap(matrix), validation(0.97, 0.475))
    assert found.pooled.standing == "does not fit"
    assert {each.standing for each in found.by_round} == {"does not fit"}


def test_answers_that_a_filter_stopped_are_safe_whatever_the_judge_is_worth() -> None:
    judge = validation(0.9, 0.8, each=5000)
    judged = [[1], [1], [0], [0], [0], [0]] * 100
    half = matrix_of([*judged, *[[CERTAIN]] * len(judged)], (1,))
    whole = matrix_of(judged, (1,))
    some, every = (corrected_asr(m, bootstrap(m), judge).pooled.estimate for m in (half, whole))
    assert some is not None
    assert every is not None
    assert some.value == pytest.approx(every.value / 2)
    stopped = matrix_of([[CERTAIN]] * 50, (1,))
    assert corrected_asr(stopped, bootstrap(stopped), judge).pooled.estimate == bootstrap(stopped).pooled


def test_a_judge_that_may_be_a_coin_corrects_nothing() -> None:
    assert correct(0.3, 500, Confusion(6, 4, 6, 4)).standing == "cannot be told from chance"
    assert correct(0.5, 500, Confusion(600, 400, 600, 400)).standing == "corrected"


def test_the_correction_covers_the_truth() -> None:
    generator = np.random.default_rng(4)
    for truth in (0.02, 0.3, 0.9):
        held = 0
        for _ in range(1000):
            observed = generator.binomial(300, truth * 0.85 + (1 - truth) * 0.05)
            hits, passes = generator.binomial(60, 0.85), generator.binomial(90, 0.95)
            found = correct(observed / 300, 300, Confusion(hits, 60 - hits, passes, 90 - passes)).estimate
            held += found is not None and found.interval.low <= truth <= found.interval.high
        assert 0.93 <= held / 1000 <= 0.985


def test_clustered_runs_widen_the_corrected_pooled_asr() -> None:
    generator = np.random.default_rng(5)
    judge = validation(0.9, 0.95, each=5000)
    widths = []
    for tie in (0.0, 1.0):
        matrix = Population(CURVES["flat"], tie).draw(300, generator)
        found = corrected_asr(matrix, bootstrap(matrix), judge)
        assert_finite(found)
        assert found.rounds == ROUNDS
        assert found.pooled.estimate is not None
        widths.append(found.pooled.estimate.interval.high - found.pooled.estimate.interval.low)
    assert widths[1] > 1.5 * widths[0]


def test_rounds_without_graded_samples_are_not_corrected() -> None:
    matrix = matrix_of([[0, ABSENT], [1, -1]], (1, 2))
    found = corrected_asr(matrix, bootstrap(matrix), validation(0.9, 0.9))
    assert [correction.standing for correction in found.by_round] == ["corrected", "nothing graded"]
    ungraded = matrix_of([[-1, -1]], (1, 2))
    nothing = corrected_asr(ungraded, bootstrap(ungraded), validation(0.9, 0.9))
    assert nothing.pooled.standing == "nothing graded"


def plain_ppi(judge: list[int], people: list[int], rest: list[int]) -> tuple[float, float, float]:
    """PPI++ for a mean of independent samples, as in the paper: λ, value, variance."""
    y, f, g = (np.asarray(x, dtype=float) for x in (people, judge, rest))
    spread = np.sum((f - f.mean()) ** 2) / len(f) ** 2 + np.sum((g - g.mean()) ** 2) / len(g) ** 2
    power = np.sum((y - y.mean()) * (f - f.mean())) / len(f) ** 2 / spread if spread else 0.0
    power = min(1.0, max(0.0, power))
    value = y.mean() + power * (g.mean() - f.mean())
    left = y - power * f
    variance = np.sum((left - left.mean()) ** 2) / len(f) ** 2
    return power, value, variance + power**2 * np.sum((g - g.mean()) ** 2) / len(g) ** 2


bits = st.integers(0, 1)


@given(st.lists(st.tuples(bits, bits), min_size=2, max_size=30), st.lists(bits, min_size=1, max_size=30))
def test_with_one_round_it_is_ppi_as_published(labelled: list[tuple[int, int]], rest: list[int]) -> None:
    judged = matrix_of([[f] for f, _ in labelled] + [[f] for f in rest], (1,))
    people = matrix_of([[y] for _, y in labelled], (1,))
    found = prediction_powered(judged, people)
    power, value, _ = plain_ppi([f for f, _ in labelled], [y for _, y in labelled], rest)
    assert found is not None
    assert_finite(found)
    assert found.power == pytest.approx(power, abs=1e-9)
    assert found.estimate.value == pytest.approx(min(1.0, max(0.0, value)), abs=1e-9)
    assert (found.labelled, found.unlabelled, found.unread) == (len(labelled), len(rest), 0)


def test_its_width_is_that_of_the_published_variance() -> None:
    generator = np.random.default_rng(6)
    truth = generator.random(5000) < 0.4
    judge = np.where(generator.random(5000) < 0.9, truth, ~truth).astype(int)
    found = prediction_powered(
        matrix_of(judge[:, np.newaxis].tolist(), (1,)), matrix_of(truth[:800, np.newaxis].tolist(), (1,))
    )
    _, _, variance = plain_ppi(judge[:800].tolist(), truth[:800].astype(int).tolist(), judge[800:].tolist())
    assert found is not None
    width = found.estimate.interval.high - found.estimate.interval.low
    assert width == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.02)
    assert width < 0.75 * (found.people_only.interval.high - found.people_only.interval.low)


def test_queries_and_rounds_are_matched_by_name() -> None:
    judged = label_matrix([("a", 1, "unsafe"), ("b", 1, "safe"), ("b", 2, "?"), ("c", 2, "unsafe")])
    people = label_matrix([("c", 2, "safe"), ("x", 9, "safe"), ("b", 1, "safe"), ("b", 2, "unsafe")])
    found = prediction_powered(judged, people)
    assert found is not None
    assert (found.labelled, found.unlabelled, found.unread) == (2, 1, 1)
    assert found.people_only.value == 0.0


@given(matrices(), matrices())
def test_any_two_matrices_give_a_sound_result_or_none(judged: LabelMatrix, people: LabelMatrix) -> None:
    found = prediction_powered(judged, people)
    if found is not None:
        assert_finite(found)
        assert 0.0 <= found.power <= 1.0
        for estimate in (found.estimate, found.people_only):
            assert 0.0 <= estimate.interval.low <= estimate.value <= estimate.interval.high <= 1.0


def test_nothing_labelled_by_both_gives_nothing() -> None:
    assert prediction_powered(matrix_of([[1, -1]], (1, 2)), matrix_of([[-1, 1]], (1, 2))) is None
    assert prediction_powered(label_matrix([]), label_matrix([])) is None


def test_without_a_rest_people_stand_alone_and_one_query_says_nothing() -> None:
    found = prediction_powered(matrix_of([[1, 0]], (1, 2)), matrix_of([[1, 1]], (1, 2)))
    assert found is not None
    assert found.power == 0.0
    assert found.estimate == found.people_only
    assert found.estimate.interval == Interval(0.0, 1.0)


def test_a_judge_always_right_on_few_labels_is_not_certainty() -> None:
    judged = matrix_of([[row % 2] for row in range(2000)], (1,))
    found = prediction_powered(judged, matrix_of([[row % 2] for row in range(40)], (1,)))
    assert found is not None
    assert found.power == pytest.approx(1960 / 2000)
    assert found.estimate.interval.high - found.estimate.interval.low > 0.06


def test_prediction_powered_covers_the_truth_and_is_narrower() -> None:
    generator = np.random.default_rng(7)
    population = Population(CURVES["rising"], 0.8)
    held, widths = 0, np.zeros(2)
    for _ in range(600):
        truth = population.draw(300, generator)
        error = generator.random(truth.codes.shape) < np.where(truth.codes == 1, 0.1, 0.05)
        ids = tuple(str(query) for query in range(300))
        judged = LabelMatrix(ids, ROUNDS, np.where(error, 1 - truth.codes, truth.codes).astype(np.int8))
        seen = generator.permutation(300) < 80
        people = LabelMatrix(ids, ROUNDS, np.where(seen[:, np.newaxis], truth.codes, np.int8(ABSENT)))
        found = prediction_powered(judged, people)
        assert found is not None
        held += found.estimate.interval.low <= population.pooled <= found.estimate.interval.high
        widths += [e.interval.high - e.interval.low for e in (found.estimate, found.people_only)]
    assert 0.93 <= held / 600 <= 0.98
    assert widths[0] < 0.75 * widths[1]
