"""`safemt demo`: the first thing that anybody runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.command import Done
from e2e.command import safemt as safemt_process

Command = Callable[..., Done]


def test_the_demo_needs_no_key_and_shows_every_figure(tmp_path: Path) -> None:
    done = safemt_process(tmp_path, "demo", env={"OPENAI_API_KEY": ""})
    assert done.code == 0, done.err
    for said in (
        "ASR by turns",
        "by scenario",
        "by method",
        "Over-refusal",
        "Safety Index",
        "Next, evaluate a real model",
    ):
        assert said in done.out
    assert "simulated" in done.out
    document = json.loads((tmp_path / "runs/demo/results.json").read_text(encoding="utf-8"))
    assert list(document["turns"]) == ["1", "2", "4", "6", "8"]
    assert {entry["n"] for entry in document["turns"].values()} == {34}
    assert len(document["scenarios"]) == 17
    assert document["complete"] is True


def test_a_second_demo_shows_the_same(safemt: Command, tmp_path: Path) -> None:
    first, second = safemt("demo", "--out", "here"), safemt("demo", "--out", "here")
    assert first.code == second.code == 0
    assert first.out == second.out
    assert "340 of 340 samples are already done" in second.err


def test_the_demo_benchmark_has_a_name(
    safemt: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = safemt(
        "run",
        "--benchmark",
        "demo",
        "--target",
        "sim/brittle",
        "--limit",
        2,
        "--turns",
        "1",
        "--out",
        "x",
        "--json",
    )
    assert done.code == 0, done.err
    assert done.json["benchmark"]["name"] == "safemt-demo"
    assert sum(entry["n"] for entry in done.json["turns"].values()) == 2
