"""`safemt moderator eval` and `calibrate`, and thresholds where they are used."""

import json
from pathlib import Path

import pytest

from e2e.command import Command
from moderation.labelled_rows import write_rows
from moderation.model_server import Body, serve, shown
from moderation.word_detector import row
from safemt.moderation.detectors.guards.template import UNSAFE_TEXTS

DATA = Path(__file__).parents[3] / "shared" / "data"
LISTED = "[frobnication]"
"""Stands for what the guard behind the test's server flags."""


def guard(body: Body) -> str:
    bad = any(text in shown(body) for text in (*UNSAFE_TEXTS, LISTED))
    return f"Safety: {'Unsafe' if bad else 'Safe'}\nCategories: {'Violent' if bad else 'None'}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    harmful = [row(f"h{i}", "harmful", f"hello {i}", f"{LISTED} {i}") for i in range(12)]
    benign = [row(f"b{i}", "benign", f"hello {i}", f"and bread {i}") for i in range(80)]
    return write_rows(tmp_path / "rows.jsonl", *harmful, *benign, row("x", "borderline", LISTED))


def test_moderators_are_measured_written_and_not_asked_again(
    safemt: Command, data: Path, tmp_path: Path
) -> None:
    with serve(guard) as server:
        command = (
            "moderator", "eval", "--data", data, "--out", "worth", "--moderator", "keyword",
            "--moderator", "guard/qwen3guard:g", "--moderator-base-url", server.base_url,
        )  # fmt: skip
        first = safemt(*command)
        asked = len(server.requests)
        second = safemt(*command, "--json")
        assert len(server.requests) == asked == 4 + 93
    assert first.code == second.code == 0
    assert "AUROC 0.500" in first.said
    assert "Against keyword, on dialogues that both scored" in first.said
    assert "Written: worth/evaluation.html" in first.out
    assert sorted(each.name for each in (tmp_path / "worth").iterdir()) == [
        "evaluation.html", "evaluation.json", "verdicts.jsonl",
    ]  # fmt: skip
    found = second.json
    assert found == json.loads((tmp_path / "worth" / "evaluation.json").read_text())
    guarded = found["moderators"][1]
    assert guarded["auroc"]["value"] == 1.0
    assert guarded["every_turn"] is False
    assert found["comparisons"][0]["recall"]["0.05"]["difference"] == 1.0
    assert found["moderators"][0]["every_turn"] is True
    assert LISTED not in "".join(each.read_text() for each in (tmp_path / "worth").iterdir())


def test_a_threshold_is_chosen_and_used_by_moderate_and_eval(
    safemt: Command, data: Path, tmp_path: Path
) -> None:
    made = safemt(
        "moderator", "calibrate", "--data", data, "--moderator", "keyword", "--fpr", "0.05", "-o", "t.json"
    )
    assert made.code == 0, made.err
    assert "keyword: threshold 0.000001 (its own is 0.5)" in made.said
    assert "Use it with --moderator-thresholds t.json" in made.said
    written = json.loads((tmp_path / "t.json").read_text())
    assert written["promise"] == {
        "false_alarm_rate": 0.05, "per": "dialogue, after any turn", "confidence": 0.975,
    }  # fmt: skip
    used = safemt(
        "moderator",
        "eval",
        "--data",
        data,
        "--moderator",
        "keyword",
        "--moderator-thresholds",
        "t.json",
        "--json",
    )
    assert used.json["moderators"][0]["threshold"] == written["threshold"]
    verdict = safemt("moderate", data, "--moderator", "keyword", "--moderator-thresholds", "t.json")
    assert json.loads(verdict.out.splitlines()[0])["threshold"] == written["threshold"]
    other = safemt("moderate", data, "--moderator", "policy-always", "--moderator-thresholds", "t.json")
    assert other.code == 2
    assert "t.json holds a threshold for keyword, which does not apply to policy-always" in other.said
    both = safemt(
        "moderate", data, "--moderator", "keyword", "--moderator-thresholds", "t.json",
        "--moderator-threshold", "0.5",
    )  # fmt: skip
    assert (both.code, "not both" in both.said) == (2, True)


def test_calibration_uses_the_verdicts_of_an_evaluation(safemt: Command, data: Path) -> None:
    with serve(guard) as server:
        options = (
            "--data",
            data,
            "--moderator",
            "guard/qwen3guard:g",
            "--moderator-base-url",
            server.base_url,
        )
        safemt("moderator", "eval", *options, "--out", "worth")
        asked = len(server.requests)
        made = safemt(
            "moderator",
            "calibrate",
            *options,
            "--fpr",
            "0.05",
            "--verdicts",
            "worth/verdicts.jsonl",
            "--json",
        )
        assert len(server.requests) == asked
    assert made.code == 0, made.err
    assert made.json["moderator"]["name"] == "guard/qwen3guard:g"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "--moderator", "keyword", "--moderator", "keyword"), "is named twice"),
        (("eval", "--moderator", "nonsense"), "is not known"),
        (("eval", "--moderator", "keyword", "--moderator", "policy-always", "--moderator-band", "0.1,0.2"),
         "--moderator-band applies to none of these moderators: keyword, policy-always"),
        (("eval", "--moderator", "keyword", "--moderator-base-url", "http://localhost:1"),
         "--moderator-base-url is for"),
        (("eval", "--moderator", "keyword", "--moderator-thresholds", "none.json"),
         "none.json cannot be read"),
        (("calibrate", "--moderator", "keyword", "--fpr", "5"), "between 0 and 1"),
        (("calibrate", "--moderator", "keyword", "--fpr", "0.01"), "it takes at least 368"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_error(
    safemt: Command, data: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = safemt("moderator", *arguments, "--data", data)
    assert (done.code, done.out) == (2, "")
    assert said in done.said


def test_data_without_labels_and_data_that_is_not_there_are_errors(safemt: Command, tmp_path: Path) -> None:
    unlabelled = write_rows(tmp_path / "u.jsonl", row("a", None, "x"))
    done = safemt("moderator", "eval", "--data", unlabelled, "--moderator", "keyword")
    assert (done.code, "No dialogue with a label" in done.said) == (1, True)
    done = safemt("moderator", "eval", "--data", "none.jsonl", "--moderator", "keyword")
    assert done.code != 0
    assert "no file none.jsonl" in done.said


def test_an_endpoint_that_is_gone_stops_it_and_says_how_to_go_on(safemt: Command, data: Path) -> None:
    with serve(guard) as server:
        gone = server.base_url
    options = ("--data", data, "--moderator", "guard/qwen3guard:g", "--moderator-base-url", gone)
    kept = safemt("moderator", "eval", *options, "--out", "worth")
    assert (kept.code, "the same command continues" in kept.said) == (3, True)
    unkept = safemt("moderator", "eval", *options)
    assert unkept.code == 2
    assert "Nothing was kept. With --out, the next try continues." in unkept.said


@pytest.mark.skipif(not DATA.is_dir(), reason="the published dialogues are not here")
def test_published_dialogues_give_figures_by_source_and_language(safemt: Command) -> None:
    done = safemt(
        "moderator",
        "eval",
        "--data",
        DATA / "xstest",
        "--data",
        DATA / "mtbench101",
        "--moderator",
        "keyword",
        "--json",
    )
    found = done.json["moderators"][0]
    assert set(found["harmful"]["source"]) == {"xstest"}
    assert found["borderline"]["xstest"]["dialogues"] == 250
    assert found["coverage"]["benign"]["dialogues"] == done.json["data"]["benign"]
