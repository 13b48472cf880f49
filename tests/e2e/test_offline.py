"""Runs without a network: simulated targets, recorded responses, recorded labels."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e.command import rows, safemt, write
from safemt.targets.simulated import true_asr

RUN = ("run", "--benchmark", "bench", "--out", "out")


def record(path: Path, field: str, values: Mapping[tuple[str, int], str]) -> Path:
    lines = [json.dumps({"query_id": q, "turns": k, field: value}) + "\n" for (q, k), value in values.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_a_simulated_run_says_so_everywhere(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(8, (1, 2), twins=True))
    done = safemt(tmp_path, *RUN, "--target", "sim/drifting")
    assert done.code == 0, done.err
    assert "→ sim/drifting (simulated), judged by refusal" in done.err
    (progress,) = [line for line in done.err.splitlines() if line.startswith("32/32 samples")]
    assert "(simulated)" in progress
    for said in (
        "sim/drifting (simulated)",
        "ASR by turns (simulated)",
        "ASR in % by scenario and turns (simulated)",
        "ASR in % by method and turns (simulated)",
        "Outcomes of harmful samples (simulated)",
        "Over-refusal on benign twins (simulated)",
    ):
        assert said in " ".join(done.out.split())
    assert "Overall, with 95 % intervals (simulated)" in done.out
    document = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    assert document["simulated"] is True
    scored = safemt(tmp_path, "score", "out", "--json")
    assert scored.json["simulated"] is True
    assert safemt(tmp_path, "score", "out").out.split("Results:")[0] in done.out


def test_a_simulated_run_follows_its_curve_and_its_seed(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(200, (1, 8)))
    command = (*RUN, "--target", "sim/brittle", "--text-only", "--json")
    first = safemt(tmp_path, *command).json
    for k in (1, 8):
        assert first["turns"][str(k)]["asr"] == pytest.approx(true_asr("brittle", k), abs=0.1)
    assert safemt(tmp_path, *command, "--out", "twin").json["turns"] == first["turns"]
    assert safemt(tmp_path, *command, "--seed", 1).json["turns"] != first["turns"]
    assert safemt(tmp_path, *command).json["turns"] == first["turns"]


def test_recorded_responses_and_labels_make_a_run(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(3, (1, 2)))
    responses = {(f"q{q}", k): f"Response {q} {k}" for q in range(3) for k in (1, 2)}
    del responses["q2", 2]
    labels = {key: "unsafe" if key[1] == 2 else "safe" for key in responses}
    labels["q0", 1] = "ungraded"
    record(tmp_path / "responses.jsonl", "response", responses)
    record(tmp_path / "labels.jsonl", "label", labels)
    command = (*RUN, "--target", "replay/responses.jsonl", "--judge", "recorded/labels.jsonl", "--json")
    done = safemt(tmp_path, *command)
    assert done.code == 0, done.err
    assert (done.json["target"], done.json["simulated"]) == ("replay/responses.jsonl", False)
    assert [done.json["turns"][k]["asr"] for k in "12"] == [0.0, 1.0]
    assert done.json["ungraded"]["causes"] == {"recorded_ungraded": 1, "not_recorded": 1}
    assert done.json["outcomes"] == {"complied": 5, "error": 1}

    record(tmp_path / "responses.jsonl", "response", responses | {("q2", 2): "Late"})
    record(tmp_path / "labels.jsonl", "label", labels | {("q2", 2): "safe", ("q0", 1): "safe"})
    later = safemt(tmp_path, *command)
    assert later.json["ungraded"]["n"] == 0
    assert later.json["turns"]["2"]["asr"] == pytest.approx(2 / 3)


def test_changing_the_judge_of_an_offline_run_keeps_its_responses(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(2, (1,)))
    record(tmp_path / "labels.jsonl", "label", {("q0", 1): "safe", ("q1", 1): "unsafe"})
    assert safemt(tmp_path, *RUN, "--target", "sim/steady").code == 0
    done = safemt(tmp_path, *RUN, "--target", "sim/steady", "--judge", "recorded/labels.jsonl", "--json")
    assert done.json["turns"]["1"]["asr"] == 0.5
    assert done.json["judge"]["name"] == "recorded/labels.jsonl"


def figure_keys(document: Any) -> set[str]:
    return {key for key in document if key not in {"command", "tokens"}}


def test_every_kind_of_run_has_the_same_document(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(1, (1,)))
    record(tmp_path / "responses.jsonl", "response", {("q0", 1): "Response"})
    simulated = safemt(tmp_path, *RUN, "--target", "sim/steady", "--json")
    replayed = safemt(
        tmp_path, *RUN, "--target", "replay/responses.jsonl", "--judge", "refusal", "--out", "2", "--json"
    )
    assert figure_keys(simulated.json) == figure_keys(replayed.json)
