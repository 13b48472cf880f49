"""Figures of moderators on invented dialogues, where each can be counted by hand; document, tables, page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from moderation.labelled_rows import mixed_rows
from moderation.word_detector import BAD, UNREADABLE, WordDetector, row
from report.moderator_evaluations import evaluation
from report.pages import words
from safemt.core.errors import FileError
from safemt.moderation.measuring.labelled import Truth
from safemt.report.export import write_evaluation
from safemt.report.html.evaluation_page import evaluation_page
from safemt.report.moderator_evaluation import Evaluation, evaluation_json, print_evaluation
from safemt.stats.intervals import Estimate


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluation(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    detectors = (WordDetector(), WordDetector(word="good", name="good <b>"))
    return evaluation(tmp_path_factory.mktemp("two"), detectors=detectors)


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    assert estimate.interval.low <= estimate.value <= estimate.interval.high
    return estimate.value


def printed(evaluation: Evaluation, width: int = 200) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as capture:
        print_evaluation(evaluation, console)
    return capture.get()


def test_the_figures_are_what_can_be_counted(one: Evaluation) -> None:
    (found,) = one.moderators
    # 40 harmful: 32 reach 0.6 (and 0.4 before), 8 say nothing. 40 benign: 4 stand at 0.4, 36 at 0.
    assert value(found.at_threshold.recall) == 0.8
    assert value(found.at_threshold.false_alarm_rate) == 0.1
    assert value(found.at_threshold.precision) == pytest.approx(32 / 36)
    assert value(found.at_threshold.f1) == pytest.approx(64 / (64 + 4 + 8))
    assert value(found.ranking.auroc) == pytest.approx((32 * 40 + 8 * 36 / 2) / 1600)
    one_percent, five_percent = found.ranking.recalls
    assert one_percent.estimate is None
    assert one_percent.needed == 100
    assert value(five_percent.estimate) == 0.8
    assert found.ranking.prevalence == 0.5
    assert value(found.alerts.ever) == 0.8
    assert (value(found.alerts.turn), value(found.alerts.lead), value(found.alerts.early)) == (2.0, 1.0, 1.0)
    assert value(found.false_alarms.per_1000_turns) == 100.0
    assert value(found.borderline_alarms.per_dialogue) == 1.0
    assert (found.tokens.prompt, found.tokens.completion) == (7 * (120 + 40 + 10), 120 + 40 + 10)


def test_borderline_dialogues_are_in_no_figure_but_their_own(tmp_path: Path, one: Evaluation) -> None:
    without = evaluation(tmp_path, [each for each in mixed_rows() if each["label"] != "borderline"])
    with_them, without_them = one.moderators[0], without.moderators[0]
    assert with_them.ranking == without_them.ranking
    assert with_them.at_threshold == without_them.at_threshold
    assert with_them.harmful == without_them.harmful
    assert with_them.false_alarms == without_them.false_alarms
    assert without_them.borderline == {}


def test_groups_are_set_against_the_benign_and_borderline_ones_against_the_harmful(one: Evaluation) -> None:
    (found,) = one.moderators
    assert list(found.harmful) == ["source", "scenario", "method", "language", "length"]
    fraud, malware = found.harmful["scenario"]["Fraud"], found.harmful["scenario"]["Malware"]
    assert (fraud.dialogues, fraud.against) == (20, 40)
    assert value(fraud.alarmed) == value(malware.alarmed) == 0.8
    assert value(fraud.alarmed_at[0.05]) == 0.8
    # Harmful ones have three turns and benign ones one, so there is no like to set them against.
    ((name, length),) = found.harmful["length"].items()
    assert (name, length.against, length.auroc) == ("two turns or more", 0, None)
    even, odd = found.benign["source"].values()
    assert (value(even.alarmed), value(odd.alarmed)) == (0.2, 0.0)
    assert even.auroc is None
    borderline = found.borderline["set_0"]
    assert (borderline.dialogues, borderline.against) == (10, 20)
    # All stand at 0.4: above the 4 silent harmful ones of that source, below the other 16.
    assert value(borderline.auroc) == pytest.approx(16 / 20)


def test_turns_are_told_of_the_dialogues_that_have_as_many(one: Evaluation) -> None:
    first, second, third = one.moderators[0].turns.values()
    assert (first.harmful, first.benign, second.harmful, second.benign) == (40, 40, 40, 0)
    assert value(first.auroc) == pytest.approx(0.45)
    assert second.auroc is None
    assert value(second.recall) == 0.8
    assert value(third.harmful_risk) == pytest.approx(0.48)
    assert first.benign_risk is not None
    assert third.benign_risk is None


def test_what_has_no_risk_is_counted_and_in_no_figure(tmp_path: Path, one: Evaluation) -> None:
    rows = [*mixed_rows(), row("p", "harmful", UNREADABLE), row("q", "benign", "hello", UNREADABLE)]
    evaluated = evaluation(tmp_path, rows)
    found = evaluated.moderators[0]
    harmful, benign = found.coverage[Truth.HARMFUL], found.coverage[Truth.BENIGN]
    assert (harmful.dialogues, harmful.unscored, harmful.degraded) == (41, 1, {"unreadable_verdict": 1})
    assert (benign.dialogues, benign.unscored, benign.turns_total) == (41, 1, 42)
    assert found.at_threshold.harmful == 40
    assert value(found.ranking.auroc) == value(one.moderators[0].ranking.auroc)
    # The turn before it was read, and counts.
    assert found.false_alarms.turns == 41
    text = " ".join(printed(evaluated).split())
    assert "Dialogues without a risk 2 of 92" in text
    assert "harmful 41 1 120 of 121" in text
    assert "unreadable_verdict × 1" in text
    assert "1 dialogue of 41 without a risk" in words(evaluation_page(evaluated, command="safemt"))


def test_several_moderators_are_compared_with_the_first(two: Evaluation) -> None:
    (comparison,) = two.comparisons
    first, second = two.moderators
    assert comparison.dialogues == 80
    assert comparison.auroc is not None
    assert comparison.auroc.value == pytest.approx(value(second.ranking.auroc) - value(first.ranking.auroc))
    assert comparison.auroc.verdict == "lower"
    assert comparison.recalls[0] is None


def test_the_document_is_json_and_holds_no_text(one: Evaluation, two: Evaluation) -> None:
    for found in (one, two):
        text = json.dumps(evaluation_json(found), allow_nan=False)
        assert BAD not in text
        assert "good morning" not in text
    document: dict[str, Any] = evaluation_json(two)
    assert document["schema"] == "safemt.moderator-eval/1"
    assert document["data"]["harmful"] == 40
    assert [each["name"] for each in document["moderators"]] == ["word", "good <b>"]
    figures = document["moderators"][0]
    assert figures["recall"]["0.05"]["recall"]["value"] == 0.8
    assert figures["recall"]["0.01"]["recall"] is None
    assert figures["harmful"]["scenario"]["Fraud"]["dialogues"] == 20
    assert set(figures["latency_ms"]) == {"verdicts", "p50", "p95", "p99", "turn_2", "turn_50", "ratio"}
    assert document["comparisons"][0]["recall"]["0.01"] is None


@pytest.mark.parametrize("width", [80, 100, 200])
def test_tables_cut_nothing_off(one: Evaluation, two: Evaluation, width: int) -> None:
    for found in (one, two):
        text = printed(found, width)
        assert "…" not in text
        assert all(len(line) <= width for line in text.splitlines())
        assert not re.search(r"\b(None|nan|inf)\b", text)


def test_tables_say_what_was_found_and_what_cannot_be_told(one: Evaluation, two: Evaluation) -> None:
    text = " ".join(printed(one).split())
    assert "Dialogues: 40 harmful, 40 benign, 10 borderline" in text
    assert "Recall at 5 % false alarms 80.0 %" in text
    assert (
        "Recall at 1 % false alarms is not known: it takes 100 independent benign dialogues, and these are "
        "worth 40." in text
    )
    assert "Harmful by scenario" in text
    assert "Borderline by source" in text
    both = " ".join(printed(two).split())
    assert "Harmful by scenario" in both
    assert "Against word, on dialogues that both scored" in both
    assert "not known" in both


def test_one_class_alone_has_what_can_be_said_of_it(tmp_path: Path) -> None:
    found = evaluation(tmp_path, [each for each in mixed_rows() if each["label"] == "benign"])
    assert found.moderators[0].ranking.auroc is None
    assert value(found.moderators[0].false_alarms.per_dialogue) == 0.1
    assert "only one of harmful and benign" in printed(found)
    page = words(evaluation_page(found, command="safemt"))
    assert "The data hold no harmful dialogues." in page
    assert not re.search(r"\b(None|nan|inf)\b", page)


def test_the_page_shows_all_of_it_and_no_text_of_a_dialogue(one: Evaluation, two: Evaluation) -> None:
    for found in (one, two):
        page = evaluation_page(found, command="safemt moderator eval --data '<x>'")
        seen = words(page)
        assert BAD not in page
        assert not re.search(r"\b(None|nan|inf|undefined)\b", seen)
        assert "--data '<x>'" in seen
        assert "<script" not in page
        for section in ("roc", "turns", "harmful", "benign", "borderline", "reliability", "coverage"):
            assert f'id="{section}"' in page
    page = evaluation_page(two, command="safemt")
    assert "<b>" not in page
    assert "good <b>" in words(page)
    assert len(set(re.findall(r'<title id="([^"]+)"', page))) == page.count("<title id=")


def test_both_files_are_written_whole_or_one_error_says_why(one: Evaluation, tmp_path: Path) -> None:
    page, document = write_evaluation(one, tmp_path / "out", command="safemt")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(document.read_text())["moderators"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "evaluation.html",
        "evaluation.json",
    ]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError) as error:
        write_evaluation(one, tmp_path / "file" / "out", command="safemt")
    assert error.value.code == "cannot_write"
