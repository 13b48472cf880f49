"""How the command treats an endpoint: how much at once, how often again, and when it gives up."""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Done, asked, models, rows, safemt, write
from servers.client import ChatServer, start_chat_server

RUN = ("run", "--benchmark", "bench", "--out", "out")
RULES: list[dict[str, Any]] = [
    {"mode": "slow", "do": "reply", "latency_ms": 50},
    {"mode": "judge", "do": "verdict", "latency_ms": 20},
    {"mode": "throttles", "nth_from": 2, "nth_to": 6, "do": "rate_limit"},
    {"mode": "throttles", "do": "reply", "latency_ms": 100},
    {"mode": "pauses", "nth_from": 5, "nth_to": 5, "do": "rate_limit", "retry_after_s": 1.2},
    {"mode": "pauses", "do": "reply", "latency_ms": 20},
    {"mode": "pauses-until", "nth_from": 5, "nth_to": 5, "do": "rate_limit", "retry_after_date_s": 1},
    {"mode": "long-pause", "nth_from": 4, "do": "rate_limit", "retry_after_s": 3600},
    {"mode": "faulty", "contains": "q1 ", "do": "status", "status": 500, "times": 2},
    {"mode": "hopeless", "contains": "q3 ", "do": "status", "status": 500},
    {"mode": "bad-key", "do": "bad_key"},
    {"mode": "unknown-model", "do": "unknown_model"},
    {"mode": "no-images", "has_image": True, "do": "no_images"},
    {"mode": "bad-judge", "do": "bad_request"},
]  # fmt: skip


def only_target(server: ChatServer, mode: str) -> list[str]:
    base_url = server.mode_url(mode)
    return ["--target", "openai/m", "--target-base-url", base_url, "--judge", "refusal"]


def run(tmp_path: Path, queries: int, *options: object) -> Done:
    write(tmp_path / "bench", rows(queries, (1,)))
    return safemt(tmp_path, *RUN, *options)


def attempts(server: ChatServer, text: str) -> int:
    return sum(text in entry["body"] for entry in server.log())


# How much at once


def test_target_and_judge_on_one_server_share_its_limit(tmp_path: Path, server: ChatServer) -> None:
    done = run(tmp_path, 40, *models(server, target="slow"), "--concurrency", 5)
    assert done.code == 0, done.err
    stats = server.stats()
    assert (stats["total"], stats["max_in_flight"]) == (80, 5)
    log = server.log()
    assert log[1]["arrived"] >= log[0]["ended"]  # the first one goes alone


def test_two_servers_have_a_limit_each(tmp_path: Path, server: ChatServer) -> None:
    with start_chat_server({"rules": [{"do": "verdict", "latency_ms": 50}]}) as judge:
        options = [*models(server, target="slow"), "--judge-base-url", judge.base_url]
        done = run(tmp_path, 40, *options, "--concurrency", 4)
        assert done.code == 0, done.err
        assert (server.stats()["max_in_flight"], judge.stats()["max_in_flight"]) == (4, 4)
        assert (server.stats()["total"], judge.stats()["total"]) == (40, 40)


def test_a_throttled_endpoint_gets_fewer_calls_and_then_more_again(
    tmp_path: Path, server: ChatServer
) -> None:
    done = run(tmp_path, 60, *only_target(server, "throttles"), "--concurrency", 8)
    assert done.code == 0, done.err
    log = server.log()
    assert len(log) == 60 + 5
    assert "5 retries" in done.err
    served = [entry for entry in log if entry["status"] == 200][1:]
    at_once = [
        sum(other["arrived"] <= entry["arrived"] < other["ended"] for other in served) for entry in served
    ]
    assert max(at_once[:8]) <= 5
    assert max(at_once[-20:]) >= 5


@pytest.mark.parametrize(("mode", "least"), [("pauses", 1.19), ("pauses-until", 0.9)])
def test_a_retry_after_holds_back_every_call(
    tmp_path: Path, server: ChatServer, mode: str, least: float
) -> None:
    done = run(tmp_path, 20, *only_target(server, mode), "--concurrency", 2)
    assert done.code == 0, done.err
    log = server.log()
    refused = next(entry for entry in log if entry["status"] in (429, 503))
    later = [entry["arrived"] - refused["ended"] for entry in log if entry["arrived"] > refused["ended"]]
    # One other call may have been on its way when the refusal was.
    assert sum(seconds < 0.5 for seconds in later) <= 1
    assert least < min(seconds for seconds in later if seconds >= 0.5) < 4


# How often again


def test_a_fault_is_tried_again_and_counted(tmp_path: Path, server: ChatServer) -> None:
    done = run(tmp_path, 4, *only_target(server, "faulty"), "--json")
    assert done.code == 0, done.err
    assert attempts(server, "q1 ") == 3
    assert server.stats()["total"] == 6
    assert done.json["ungraded"]["n"] == 0


@pytest.mark.slow
def test_a_hopeless_sample_is_given_up_and_the_rest_is_done(tmp_path: Path, server: ChatServer) -> None:
    done = run(tmp_path, 4, *only_target(server, "hopeless"), "--json")
    assert done.code == 0, done.err
    assert 3 <= attempts(server, "q3 ") <= 6
    assert done.json["ungraded"] == {"n": 1, "causes": {"http_500": 1}}
    assert done.json["outcomes"]["error"] == 1


# When it gives up


def stopped(done: Done, *said: str, code: int = 3) -> None:
    assert done.code == code
    assert done.out == ""
    assert "Traceback" not in done.err
    complaints = [line for line in done.err.splitlines() if line.startswith(("Stopped:", "Error:"))]
    assert len(complaints) == 1
    for part in said:
        assert part in complaints[0], complaints[0]
    assert "the same command continues" in done.err


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("bad-key", ("refused the key in OPENAI_API_KEY", "--target-api-key-env")),
        ("unknown-model", ("does not know the model 'm'", "--target-base-url")),
    ],
)
def test_a_wrong_key_or_model_stops_after_one_call(
    tmp_path: Path, server: ChatServer, mode: str, said: tuple[str, ...]
) -> None:
    stopped(run(tmp_path, 30, *only_target(server, mode)), *said)
    assert server.stats()["total"] == 1


def test_a_model_without_images_stops_after_three_calls(tmp_path: Path, server: ChatServer) -> None:
    stopped(run(tmp_path, 30, *only_target(server, "no-images")), "--text-only")
    assert server.stats()["total"] == 3
    done = safemt(tmp_path, *RUN, *only_target(server, "no-images"), "--text-only")
    assert done.code == 0, done.err


def test_a_judge_that_refuses_everything_stops_the_run_though_the_target_answers(
    tmp_path: Path, server: ChatServer
) -> None:
    options = models(server, target="plain", judge="bad-judge")
    stopped(run(tmp_path, 60, *options, "--concurrency", 2), "3 calls in a row failed", "malformed")
    assert len(asked(server, "bad-judge")) in {3, 4}  # a fourth may have been on its way
    assert len(asked(server, "plain")) < 12


def test_nobody_there_stops_within_seconds(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        30,
        "--target",
        "openai/m",
        "--target-base-url",
        "http://127.0.0.1:9/v1",
        "--judge",
        "refusal",
    )
    stopped(done, "Cannot connect to http://127.0.0.1:9", "--target-base-url")
    store = sqlite3.connect(tmp_path / "out/run.sqlite")
    began, ended = map(
        datetime.fromisoformat, store.execute("SELECT started, ended FROM invocations").fetchone()
    )
    store.close()
    assert (ended - began).total_seconds() < 5


def test_a_very_long_pause_stops_the_run_and_what_was_done_stays(tmp_path: Path, server: ChatServer) -> None:
    stopped(
        run(tmp_path, 30, *only_target(server, "long-pause"), "--concurrency", 1), "asks to wait 60 minutes"
    )
    assert server.stats()["total"] == 4
    partial = safemt(tmp_path, "score", "out")
    assert partial.code == 0
    assert "27 samples still to do: these figures are partial" in partial.said
