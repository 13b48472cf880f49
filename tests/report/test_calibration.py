"""Calibration: the threshold, its promise, and when there is none to give."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from moderation.labelled_rows import write_rows
from moderation.word_detector import BAD, UNREADABLE, row
from report.moderator_evaluations import moderated
from safemt.core.errors import UsageError
from safemt.moderation.measuring.labelled import read_labelled
from safemt.report.calibration import Calibration, calibrate, calibration_json, print_calibration


def calibrated(tmp_path: Path, rate: float, *rows: Any) -> Calibration:
    data = read_labelled([write_rows(tmp_path / "rows.jsonl", *rows)])
    return calibrate(moderated(data), data, rate)


def benign(count: int, loud: int = 0, **more: Any) -> list[Any]:
    """Benign dialogues of two turns; the first `loud` of them say the word in their first only."""
    return [row(f"b{i}", "benign", BAD if i < loud else f"hello {i}", "bye", **more) for i in range(count)]


def test_the_lowest_threshold_that_keeps_the_rate_is_chosen(tmp_path: Path) -> None:
    found = calibrated(
        tmp_path, 0.05, *benign(100, 1), row("h", "harmful", f"{BAD} {BAD}"), row("i", "harmful", "x")
    )
    # One of 100 may raise an alarm (interval up to 5.4 % for one: no), so none may.
    assert found.promise.allowed == 0
    assert found.promise.threshold == pytest.approx(0.200001)
    assert found.promise.alarms == 0
    assert found.found.ever is not None
    assert found.found.ever.value == 0.5
    document = calibration_json(found)
    assert document["threshold"] == pytest.approx(0.200001)
    assert document["achieved"]["independent_dialogues"] == 100
    assert document["achieved"]["rate"]["interval"][1] <= 0.05
    assert document["recall"]["value"] == 0.5
    console = Console(width=300)
    with console.capture() as capture:
        print_calibration(found, console)
    assert "word: threshold 0.200001 (its own is 0.4)" in capture.get()
    assert "Harmful dialogues with an alarm: 50.0 %" in capture.get()


def test_alarms_after_any_turn_count_and_a_cluster_counts_once(tmp_path: Path) -> None:
    rows = [{**each, "question": f"q{i // 2}"} for i, each in enumerate(benign(200, 1))]
    found = calibrated(tmp_path, 0.05, *rows)
    assert found.promise.benign == 100
    assert found.promise.threshold == pytest.approx(0.200001)


def test_too_few_benign_dialogues_promise_nothing_and_it_says_how_many_it_takes(tmp_path: Path) -> None:
    for rows, independent in ((benign(100), 100), ([row("h", "harmful", "x")], 0)):
        with pytest.raises(UsageError) as error:
            calibrated(tmp_path, 0.01, *rows)
        assert error.value.code == "too_few_benign"
        assert error.value.fields == {"rate": 0.01, "benign": independent, "needed": 368}


def test_a_moderator_that_is_sure_of_too_many_keeps_no_rate(tmp_path: Path) -> None:
    sure = [row(f"s{i}", "benign", " ".join([BAD] * 5) + f" {i}") for i in range(10)]
    with pytest.raises(UsageError) as error:
        calibrated(tmp_path, 0.05, *benign(100), *sure)
    assert error.value.code == "no_threshold"
    assert error.value.fields == {"moderator": "word", "rate": 0.05, "sure": 10, "benign": 110}


def test_dialogues_without_a_risk_are_left_out_and_said(tmp_path: Path) -> None:
    found = calibrated(tmp_path, 0.05, *benign(80), row("u", "benign", UNREADABLE))
    assert (found.unscored, found.promise.benign) == (1, 80)
    assert found.found.ever is None
    console = Console(width=300)
    with console.capture() as capture:
        print_calibration(found, console)
    assert "Left out without a risk: 1 benign dialogue." in capture.get()
