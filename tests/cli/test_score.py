"""`safemt score`: run directories and published label files, and what it says when there is neither."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Done, rows, write

Command = Callable[..., Done]
Labels = Mapping[int, Sequence[tuple[str, str]]]


def publish(folder: Path, labels: Labels, *, model: str = "model") -> Path:
    """Write labels in the published layout: round → (id, label)."""
    for turns, rows_of_round in labels.items():
        path = folder / str(turns) / "label" / f"{model}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        listed = [{"id": query_id, "safety_label": label} for query_id, label in rows_of_round]
        path.write_text(json.dumps(listed), encoding="utf-8")
    return folder


WHOLE: Labels = {
    1: [("a", "safe"), ("b", "unsafe")],
    2: [("a", "unsafe"), ("b", "unsafe")],
    4: [("a", "safe"), ("b", "safe")],
    6: [("a", "safe"), ("b", "safe")],
    8: [("a", "unsafe"), ("b", "safe")],
}


def test_published_labels_are_scored(safemt: Command, tmp_path: Path) -> None:
    publish(tmp_path / "labels", WHOLE)
    document = safemt("score", "labels", "--json").json
    assert (document["target"], document["simulated"], document["complete"]) == ("model", False, True)
    assert {k: entry["asr"] for k, entry in document["turns"].items()} == {
        "1": 0.5, "2": 1.0, "4": 0.0, "6": 0.0, "8": 0.5,
    }  # fmt: skip
    index = document["safety_index"]
    assert index["missing_rounds"] == []
    assert round(index["value"], 4) == index["compat"]
    assert "judge" not in document
    table = safemt("score", "labels").said
    assert "50.0 %" in table
    assert f"Safety Index, as published {index['compat']:.4f}" in table


def test_odd_labels_are_ungraded_and_told(safemt: Command, tmp_path: Path) -> None:
    odd = ["Safe", "", "[/bold]", "unsafe ", "x" * 500, "ungraded"]
    rows_of_round = [("a", "safe"), ("b", "unsafe"), *((f"odd{n}", label) for n, label in enumerate(odd))]
    publish(tmp_path / "labels", {1: rows_of_round})
    document = safemt("score", "labels", "--json").json
    assert document["turns"]["1"] | {"interval": 0, "if_ungraded": 0} == {
        "asr": 0.5, "n": 8, "unsafe": 1, "safe": 1, "ungraded": 6, "interval": 0, "if_ungraded": 0,
    }  # fmt: skip
    assert document["ungraded"]["n"] == 6
    done = safemt("score", "labels")
    assert done.code == 0
    assert "Ungraded, in no figure" in done.said
    assert "[/bold]" in done.said
    assert "tries them again" not in done.said


def test_missing_rounds_are_told_and_count_as_safe_only_under_compat(safemt: Command, tmp_path: Path) -> None:
    publish(tmp_path / "labels", {2: [("a", "unsafe"), ("b", "safe")]})
    ours = safemt("score", "labels", "--json").json["safety_index"]
    assert (ours["value"], ours["rounds"], ours["missing_rounds"]) == (0.5, [2], [1, 4, 6, 8])
    assert "No graded sample at 1, 4, 6, 8 turns" in safemt("score", "labels").said
    compat = safemt("score", "labels", "--compat", "--json").json
    assert compat["safety_index"]["value"] == ours["compat"] > 0.8
    assert compat["safety_index"]["rounds"] == [1, 2, 4, 6, 8]
    assert {k: entry["asr"] for k, entry in compat["turns"].items()} == {
        "1": 0.0, "2": 0.5, "4": 0.0, "6": 0.0, "8": 0.0,
    }  # fmt: skip
    assert f"Safety Index {ours['compat']:.4f}, as published" in safemt("score", "labels", "--compat").said


def test_several_models_need_a_choice(safemt: Command, tmp_path: Path) -> None:
    publish(tmp_path / "labels", {1: [("a", "safe")]}, model="one")
    publish(tmp_path / "labels", {1: [("a", "unsafe")]}, model="two")
    undecided = safemt("score", "labels")
    assert (undecided.code, undecided.out) == (2, "")
    assert "several models (one, two). Choose one of them" in undecided.said
    assert safemt("score", "labels", "--target", "two", "--json").json["turns"]["1"]["asr"] == 1.0
    unknown = safemt("score", "labels", "--target", "three")
    assert unknown.code == 2
    assert "no labels of three. It holds labels of: one, two" in unknown.said


def test_a_run_is_scored_and_its_target_may_be_named(safemt: Command, tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(3, (1, 2, 4, 6, 8), twins=True))
    run = safemt("run", "--benchmark", "bench", "--target", "sim/steady", "--out", "out", "--json")
    scored = safemt("score", "out", "--target", "sim/steady", "--json")
    assert scored.json == run.json
    other = safemt("score", "out", "--target", "openai/m")
    assert other.code == 2
    assert "holds a run of sim/steady, not of openai/m" in other.said


def test_nothing_to_score(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    publish(tmp_path / "notes", {1: []})
    (tmp_path / "broken/1/label").mkdir(parents=True)
    (tmp_path / "broken/1/label/m.json").write_text("[{")
    for path, said in (
        ("nowhere", "nothing to score at nowhere"),
        ("file", "nothing to score at file"),
        ("empty", "neither a run nor labels"),
        ("notes", "model.json is empty"),
        ("broken", "m.json"),
    ):
        done = safemt("score", path)
        assert (done.code, done.out) == (2, ""), path
        assert said in done.said
        assert "Traceback" not in done.err


def test_a_run_that_never_began_says_so(safemt: Command, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run.sqlite").touch()
    done = safemt("score", "out")
    assert done.code == 2
    assert "the run never began" in done.said


@pytest.mark.parametrize("flag", ["--json", "--compat"])
def test_a_half_done_run_says_so(safemt: Command, tmp_path: Path, flag: str) -> None:
    write(tmp_path / "bench", rows(3, (1, 2)))
    stopped = safemt(
        "run", "--benchmark", "bench", "--out", "out", "--judge", "refusal",
        "--target", "openai/m", "--target-base-url", "http://127.0.0.1:9/v1",
    )  # fmt: skip
    assert stopped.code == 3
    done = safemt("score", "out", flag)
    assert done.code == 0
    if flag == "--json":
        document: dict[str, Any] = done.json
        assert (document["complete"], document["pending"]) == (False, 6)
        assert document["turns"] == {}
        assert document["safety_index"]["value"] is None
    else:
        assert "6 samples still to do: these figures are partial" in done.said
