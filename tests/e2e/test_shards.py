"""A run on several machines, and their merge: the same as one process, and refused where it would not be."""

import json
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Done, finish, models, row, rows, safemt, start, write
from e2e.whole_run import FIGURES, contents
from servers.client import ChatServer

RUN = ("run", "--benchmark", "bench", "--concurrency", "4")
RULES: list[dict[str, Any]] = [
    {"mode": "judge", "do": "verdict", "marker": "UNSAFE-MARK"},
    {"mode": "faults", "contains": "q3 ", "do": "bad_request"},
    {"mode": "hangs", "do": "hang"},
    {"mode": "other", "do": "reply", "text": "Another reply {sha}."},
    {"do": "reply", "text": "Reply {sha}."},
]
RECORDS = [
    *rows(24, (1, 2), twins=True),
    # Two queries with the same request.
    {**row(90, 1), "dialogue": [{"role": "user", "content": "The same"}], "image": "images/90.png"},
    {**row(91, 1), "dialogue": [{"role": "user", "content": "The same"}], "image": "images/90.png"},
]


@pytest.fixture
def server(chat_server: ChatServer, tmp_path: Path) -> ChatServer:
    chat_server.reset()
    write(tmp_path / "bench", RECORDS)
    return chat_server


def shard(tmp_path: Path, number: int, of: int, *options: object) -> Done:
    done = safemt(tmp_path, *RUN, "--shards", f"{number}/{of}", "--out", f"s{number}", *options)
    assert done.code == 0, done.err
    return done


def merge(tmp_path: Path, *runs: str, out: str = "all") -> Done:
    return safemt(tmp_path, "merge", *runs, "--out", out, "--json")


@pytest.mark.parametrize("history", ["scripted", pytest.param("live", marks=pytest.mark.slow)])
def test_merged_shards_are_row_by_row_what_one_process_writes(
    tmp_path: Path, server: ChatServer, history: str
) -> None:
    options = (*models(server, target="faults"), "--history", history)
    whole = safemt(tmp_path, *RUN, "--out", "whole", *options, "--json")
    assert whole.code == 0, whole.err
    calls = server.stats()["total"]
    server.reset()
    parts = [shard(tmp_path, number, 3, *options, "--json") for number in (1, 2, 3)]
    assert server.stats()["total"] == calls
    assert [part.json["complete"] for part in parts] == [False] * 3
    assert sum(98 - part.json["pending"] for part in parts) == 98
    merged = merge(tmp_path, "s2", "s3", "s1")
    assert merged.code == 0, merged.err
    assert "Missing" not in merged.err
    assert merged.json["complete"] is True
    assert {name: merged.json[name] for name in FIGURES} == {name: whole.json[name] for name in FIGURES}
    assert contents(tmp_path / "all") == contents(tmp_path / "whole")
    assert {file.name for file in (tmp_path / "all").iterdir()} == {"run.sqlite", "results.json"}
    assert not list(tmp_path.glob(".*merging"))
    store = sqlite3.connect(tmp_path / "all/run.sqlite")
    assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store.close()


@pytest.mark.slow
def test_a_moderators_verdicts_are_merged_too(tmp_path: Path, server: ChatServer) -> None:
    options = ("--target", "sim/steady", "--moderator", "policy-always")
    whole = safemt(tmp_path, *RUN, "--out", "whole", *options, "--json")
    assert whole.code == 0, whole.err
    for number in (1, 2):
        shard(tmp_path, number, 2, *options)
    merged = merge(tmp_path, "s1", "s2")
    assert merged.code == 0, merged.err
    assert {name: merged.json[name] for name in FIGURES} == {name: whole.json[name] for name in FIGURES}
    assert merged.json["moderation"]["harmful"] == whole.json["moderation"]["harmful"]
    assert contents(tmp_path / "all") == contents(tmp_path / "whole")
    again = safemt(tmp_path, *RUN, "--out", "all", *options)
    assert "98 of 98 samples are already done." in again.said


@pytest.mark.slow
def test_a_merged_run_is_continued_by_the_plain_command_without_a_call(
    tmp_path: Path, server: ChatServer
) -> None:
    for number in (1, 2):
        shard(tmp_path, number, 2, *models(server))
    assert merge(tmp_path, "s1", "s2").code == 0
    server.reset()
    done = safemt(tmp_path, *RUN, "--out", "all", *models(server), "--json")
    assert done.code == 0, done.err
    assert done.json["complete"] is True
    assert server.stats()["total"] == 0
    again = ("--judge", "openai/other", "--judge-base-url", server.mode_url("judge"))
    assert safemt(tmp_path, "judge", "all", *again).code == 0
    assert safemt(tmp_path, "report", "all", "--out", "report.html").code == 0


@pytest.mark.slow
def test_a_shard_continues_and_can_be_judged_again_before_the_merge(
    tmp_path: Path, server: ChatServer
) -> None:
    again = ("--judge", "openai/other", "--judge-base-url", server.mode_url("judge"))
    for number in (1, 2):
        shard(tmp_path, number, 2, *models(server), "--max-tokens", 10**9)
        server.reset()
        shard(tmp_path, number, 2, *models(server))
        assert server.stats()["total"] == 0
        assert safemt(tmp_path, "judge", f"s{number}", *again).code == 0
    merged = merge(tmp_path, "s1", "s2")
    assert merged.code == 0, merged.err
    assert merged.json["complete"] is True
    assert merged.json["judge"]["name"] == "openai/other"
    assert [other["name"] for other in merged.json["other_judges"]] == ["openai/judging"]


def test_a_missing_shard_is_said_and_can_be_added_later(tmp_path: Path, server: ChatServer) -> None:
    for number in (1, 2, 3):
        shard(tmp_path, number, 3, *models(server))
    partial = merge(tmp_path, "s1", "s3", out="partial")
    assert partial.code == 0, partial.err
    assert "Missing: shard 2/3." in partial.said
    assert (partial.json["complete"], partial.json["pending"] > 0) == (False, True)
    assert safemt(tmp_path, "status", "partial", "--json").json["ending"] == (
        "stopped: shards are missing (2/3)"
    )
    whole = merge(tmp_path, "partial", "s2")
    assert "Missing" not in whole.err
    assert whole.json["complete"] is True


@pytest.mark.slow
def test_an_unfinished_shard_is_said_and_the_plain_command_finishes_it(
    tmp_path: Path, server: ChatServer
) -> None:
    stopped = safemt(tmp_path, *RUN, "--shards", "1/2", "--out", "s1", *models(server), "--max-tokens", 2000)
    assert stopped.code == 3
    shard(tmp_path, 2, 2, *models(server))
    merged = merge(tmp_path, "s1", "s2")
    assert "samples are unfinished" in merged.said
    assert merged.json["complete"] is False
    done = safemt(tmp_path, *RUN, "--out", "all", *models(server), "--json")
    assert done.json["complete"] is True
    assert server.stats()["repeated_after_success"] == 0


def test_overlapping_runs_that_agree_are_merged_and_those_that_do_not_are_refused(
    tmp_path: Path, server: ChatServer
) -> None:
    shard(tmp_path, 1, 2, *models(server))
    shard(tmp_path, 2, 2, *models(server))
    shutil.copytree(tmp_path / "s1", tmp_path / "copy")
    agreed = merge(tmp_path, "s1", "copy", "s2", out="agreed")
    assert agreed.json["complete"] is True
    shutil.rmtree(tmp_path / "copy")
    asked_elsewhere = models(server, target="other")
    assert safemt(tmp_path, *RUN, "--shards", "1/2", "--out", "copy", *asked_elsewhere).code == 0
    refused = merge(tmp_path, "s1", "s2", "copy")
    assert (refused.code, refused.out) == (2, "")
    assert "copy and s1 or s2 hold different responses to the same request" in refused.said
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--temperature", "1"), "the target's parameters or the history"),
        (("--routing", "general"), "the judge's configuration"),
        pytest.param(("--turns", "1"), "the choice of samples", marks=pytest.mark.slow),
        pytest.param(("--text-only",), "the benchmark", marks=pytest.mark.slow),
        pytest.param(("--shards", "2/3"), "the number of shards", marks=pytest.mark.slow),
    ],
)
def test_what_are_no_parts_of_one_run_is_refused(
    tmp_path: Path, server: ChatServer, change: tuple[str, ...], said: str
) -> None:
    shard(tmp_path, 1, 2, *models(server))
    assert safemt(tmp_path, *RUN, "--shards", "2/2", "--out", "s2", *models(server), *change).code == 0
    refused = merge(tmp_path, "s1", "s2")
    assert refused.code == 2
    assert "s1 and s2 are not parts of one run: they differ in" in refused.said
    assert said.removeprefix("the ") in refused.said


def test_a_merge_that_was_killed_is_begun_again_and_leaves_nothing_behind(
    tmp_path: Path, server: ChatServer
) -> None:
    for number in (1, 2):
        shard(tmp_path, number, 2, *models(server))
    left = tmp_path / ".all.merging"
    left.mkdir()
    (left / "run.sqlite").write_bytes(b"half of something")
    (left / "run.lock").touch()
    merged = merge(tmp_path, "s1", "s2")
    assert merged.code == 0, merged.err
    assert merged.json["complete"] is True
    assert not left.exists()


def test_mistakes_are_one_sentence(tmp_path: Path, server: ChatServer) -> None:
    shard(tmp_path, 1, 2, *models(server))
    before = (tmp_path / "s1/run.sqlite").read_bytes()
    for runs, out, said in [
        (("s1", "s1"), "all", "named twice"),
        (("s1", "nowhere"), "all", "nowhere is not a run directory"),
        (("s1",), "s1", "s1 exists already"),
        (("s1",), "bench", "bench exists already"),
        (("s1",), "bench/samples.jsonl", "exists already"),
        (("s1",), "bench/samples.jsonl/all", "--out"),
    ]:
        refused = safemt(tmp_path, "merge", *runs, "--out", out)
        assert refused.code == 2, (runs, out)
        assert said in refused.said, refused.said
        assert "Traceback" not in refused.err
    assert (tmp_path / "s1/run.sqlite").read_bytes() == before
    for options, said in [
        (("--shards", "1/2"), "--executor ray splits the run itself. Leave out --shards"),
        (("--moderator", "policy-always"), "--executor ray does not support a moderator yet"),
    ]:
        refused = safemt(
            tmp_path, *RUN, "--out", "s3", "--target", "sim/steady", "--executor", "ray", *options
        )
        assert refused.code == 2
        assert said in refused.said
    for text in ("3/2", "x"):
        refused = safemt(tmp_path, *RUN, "--shards", text, "--out", "s3", "--target", "sim/steady")
        assert refused.code == 2
        assert "--shards" in refused.said


def test_a_run_that_is_going_on_is_not_merged(tmp_path: Path, server: ChatServer) -> None:
    shard(tmp_path, 1, 2, *models(server))
    process = start(
        tmp_path,
        *RUN,
        "--shards",
        "2/2",
        "--out",
        "s2",
        *models(server, target="hangs"),
        stderr=subprocess.PIPE,
    )
    ends = time.monotonic() + 60
    while not (tmp_path / "s2/progress.json").exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
    refused = merge(tmp_path, "s1", "s2")
    process.kill()
    finish(process)
    assert refused.code == 2
    assert "s2 is being worked on" in refused.said


def test_a_shard_says_what_part_it_is(tmp_path: Path, server: ChatServer) -> None:
    done = shard(tmp_path, 1, 2, "--target", "sim/steady", "--log-json", "events.jsonl", "--json")
    assert "Shard 1/2: " in done.err
    assert done.json["shard"] == "1/2"
    now = safemt(tmp_path, "status", "s1", "--json").json
    assert (now["shard"], now["state"]) == ("1/2", "complete")
    assert now["samples"] + now["elsewhere"] == 98
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])["shard"] == "1/2"
