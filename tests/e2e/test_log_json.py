"""`--log-json`: what a program that watches a run is told."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.command import KEY, models, rows, safemt, write
from servers.client import ChatServer, start_chat_server

RUN = ("run", "--benchmark", "bench", "--out", "out", "--text-only", "--concurrency", "4")
RULES: list[dict[str, Any]] = [
    {"mode": "judge", "contains": "q2 ", "do": "reply", "text": "I cannot say."},
    {"mode": "judge", "do": "verdict"},
    {"mode": "target", "contains": "q1 ", "do": "status", "times": 1},
    {"mode": "target", "contains": "q3 ", "do": "bad_request", "message": "You asked: {last_user} {key}"},
    {"mode": "target", "do": "reply", "text": "Reply {sha}."},
]


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with start_chat_server({"rules": RULES}, max_seconds=1800) as running:
        yield running


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_call_label_and_limit_is_an_event(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", rows(6, (1,)))
    server.reset()
    done = safemt(tmp_path, *RUN, *models(server), "--log-json", "events.jsonl")
    assert done.code == 0, done.err
    logged = events(tmp_path / "events.jsonl")
    assert (logged[0]["event"], logged[-1]["event"]) == ("run_started", "run_ended")
    assert (logged[0]["total"], logged[0]["done"], logged[0]["target"]) == (6, 0, "openai/tested")
    kinds = Counter((each["event"], each.get("role")) for each in logged)
    assert kinds["call_succeeded", "target"] == 5
    assert kinds["call_succeeded", "judge"] == 5
    assert server.stats()["total"] == sum(kinds[kind] for kind in kinds if kind[0].startswith("call_"))
    retried = [each for each in logged if each["event"] == "call_retried"]
    assert [(each["sample"], each["attempt"], each["cause"]) for each in retried] == [("q1@1", 1, "http_500")]
    failed = [each for each in logged if each["event"] == "call_failed"]
    assert [(each["sample"], each["role"], each["cause"]) for each in failed] == [
        ("q3@1", "target", "http_400")
    ]
    [again] = [each for each in logged if each["event"] == "call_succeeded" and each["attempt"] == 2]
    assert again["sample"] == "q1@1"
    assert again["prompt_tokens"] > 0
    assert again["seconds"] >= 0
    labels = {each["sample"]: (each["label"], each["cause"]) for each in logged if each["event"] == "label"}
    assert labels["q2@1"] == ("ungraded", "unreadable_verdict")
    assert labels["q3@1"] == ("ungraded", "http_400")
    assert labels["q0@1"] == ("safe", "")
    limits = [each["limit"] for each in logged if each["event"] == "limit_changed"]
    assert limits == [1, 4]
    assert (logged[-1]["ending"], logged[-1]["done"], logged[-1]["ungraded"]) == ("complete", 6, 2)


def test_neither_texts_nor_keys_are_in_it(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", rows(6, (1,)))
    safemt(tmp_path, *RUN, *models(server), "--log-json", "events.jsonl")
    text = (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    assert "message 1" not in text
    assert "grüße" not in text
    assert "Reply" not in text
    assert "You asked" not in text
    assert KEY not in text


def test_a_run_that_is_stopped_says_so_and_one_that_goes_on_adds_to_the_log(
    tmp_path: Path, server: ChatServer
) -> None:
    write(tmp_path / "bench", rows(10, (1,)))
    options = (*RUN, *models(server), "--log-json", "events.jsonl")
    assert safemt(tmp_path, *options, "--max-tokens", 300).code == 3
    assert safemt(tmp_path, *options).code == 0
    logged = events(tmp_path / "events.jsonl")
    assert [each["ending"] for each in logged if each["event"] == "run_ended"] == ["cap_reached", "complete"]
    starts = [each for each in logged if each["event"] == "run_started"]
    assert starts[0]["max_tokens"] == 300
    assert starts[1]["done"] > 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_log_on_a_full_disk_does_not_stop_the_run(tmp_path: Path) -> None:
    write(tmp_path / "bench", rows(6, (1,)))
    done = safemt(tmp_path, *RUN, "--target", "sim/steady", "--log-json", "/dev/full", "--json")
    assert done.code == 0, done.err
    assert done.json["complete"] is True
    assert done.err.count("can no longer be written") == 1


def test_a_log_that_cannot_be_opened_is_refused_before_any_call(tmp_path: Path, server: ChatServer) -> None:
    write(tmp_path / "bench", rows(6, (1,)))
    server.reset()
    refused = safemt(tmp_path, *RUN, *models(server), "--log-json", "no/such/folder.jsonl")
    assert refused.code == 2
    assert "--log-json no/such/folder.jsonl cannot be written: No such file or directory." in refused.said
    assert server.stats()["total"] == 0
