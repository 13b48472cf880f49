"""`safemt status`: what it says while a run goes on, after it, and of one that was killed."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.command import KEY, finish, models, rows, safemt, start, write
from servers.client import ChatServer

RUN = ("run", "--benchmark", "bench", "--out", "out", "--text-only", "--concurrency", "4")
RULES: list[dict[str, Any]] = [
    {"mode": "judge", "contains": "q2 ", "do": "reply", "text": "I cannot say."},
    {"mode": "judge", "do": "verdict", "latency_ms": 10},
    {"mode": "hangs", "nth_from": 6, "do": "hang"},
    {"mode": "faults", "contains": "q1 ", "do": "bad_request", "message": "No such thing."},
]
PRICES = (
    "format: safemt-prices/1\nmodels:\n"
    "  openai/tested: {input: 1, output: 1}\n  openai/judging: {input: 1, output: 1}\n"
)


@pytest.fixture
def server(chat_server: ChatServer, tmp_path: Path) -> ChatServer:
    chat_server.reset()
    write(tmp_path / "bench", rows(10, (1,)))
    (tmp_path / "prices.yaml").write_text(PRICES)
    return chat_server


def status(tmp_path: Path, *options: object) -> Any:
    done = safemt(tmp_path, "status", "out", "--json", *options)
    assert done.code == 0, done.err
    return done.json


def hanging(tmp_path: Path, server: ChatServer) -> subprocess.Popen[str]:
    """A run whose target answers five times and then hangs, and that has told of it."""
    process = start(tmp_path, *RUN, *models(server, target="hangs"))
    ends = time.monotonic() + 60
    while server.stats()["in_flight"] < 4 or '": 4}' not in told(tmp_path):
        assert time.monotonic() < ends, "it never hung"
        assert process.poll() is None, finish(process)
        time.sleep(0.05)
    return process


def told(tmp_path: Path) -> str:
    heartbeat = tmp_path / "out/progress.json"
    return heartbeat.read_text() if heartbeat.exists() else ""


def test_a_finished_run_is_complete_except_for_what_is_ungraded(tmp_path: Path, server: ChatServer) -> None:
    assert safemt(tmp_path, *RUN, *models(server, target="faults")).code == 0
    now = status(tmp_path)
    assert (now["state"], now["in_use"], now["ending"]) == ("complete", False, "complete")
    assert (now["samples"], now["done"], now["left"]) == (10, 8, 0)
    assert now["labels"] == {"safe": 8}
    assert now["ungraded"] == {"n": 2, "causes": {"http_400": 1, "unreadable_verdict": 1}}
    [failed] = now["failures"]
    assert (failed["role"], failed["cause"], failed["samples"]) == ("target", "http_400", 1)
    assert (now["rate"], now["limits"], now["heartbeat"]) == (None, None, None)
    assert {each["model"]: each["calls"] for each in now["spend"]} == {
        "openai/tested": 9,
        "openai/judging": 9,
    }
    said = safemt(tmp_path, "status", "out").out
    assert "complete, except for ungraded samples" in said
    assert "Ungraded: 1 http_400, 1 unreadable_verdict. The next run tries these again." in said
    assert "cost unknown" in said
    assert KEY not in said


def test_a_run_can_be_watched_while_it_goes_on_and_is_not_disturbed(
    tmp_path: Path, server: ChatServer
) -> None:
    process = hanging(tmp_path, server)
    try:
        now = status(tmp_path)
        said = safemt(tmp_path, "status", "out").out
        assert process.poll() is None
    finally:
        process.kill()
        finish(process)
    assert (now["state"], now["in_use"], now["ending"]) == ("running", True, None)
    assert now["done"] + now["left"] + now["ungraded"]["n"] == 10
    assert now["left"] >= 5
    assert now["limits"] == {server.root: 4}
    assert now["heartbeat"]["pid"] == process.pid
    assert now["heartbeat"]["stale"] is False
    assert f"running (process {process.pid} on " in said
    assert f"Calls at once: 4 to {server.root}" in said


def test_a_killed_run_is_told_from_a_running_one_and_its_last_sign_of_life_is_stale(
    tmp_path: Path, server: ChatServer
) -> None:
    process = hanging(tmp_path, server)
    process.kill()
    finish(process)
    now = status(tmp_path)
    assert (now["state"], now["in_use"], now["ending"]) == ("killed", False, None)
    assert now["heartbeat"]["stale"] is True
    assert (now["rate"], now["limits"], now["seconds_left"]) == (None, None, None)
    said = safemt(tmp_path, "status", "out").said
    assert "not running: the process was killed" in said
    assert "so rate and limits are not known" in said


def test_a_heartbeat_that_stopped_is_not_news_although_the_process_is_there(
    tmp_path: Path, server: ChatServer
) -> None:
    process = hanging(tmp_path, server)
    try:
        process.send_signal(19)  # SIGSTOP: it holds its lock and does nothing
        beat = json.loads((tmp_path / "out/progress.json").read_text())
        beat["written"] = "2026-01-01T00:00:00.000+00:00"
        (tmp_path / "out/progress.json").write_text(json.dumps(beat))
        now = status(tmp_path)
        said = safemt(tmp_path, "status", "out").said
    finally:
        process.kill()
        finish(process)
    assert (now["state"], now["in_use"], now["heartbeat"]["stale"]) == ("running", True, True)
    assert "running or hanging: it gives no fresh sign of life" in said


def test_a_stopped_run_says_why_and_what_it_spent_of_its_cap(tmp_path: Path, server: ChatServer) -> None:
    options = (*RUN, *models(server), "--prices", "prices.yaml", "--max-cost", 0.0005)
    assert safemt(tmp_path, *options).code == 3
    now = status(tmp_path)
    assert now["state"] == "stopped"
    assert "budget.max_cost" in now["ending"]
    assert now["cost"] == pytest.approx(now["tokens"] / 1e6)
    said = safemt(tmp_path, "status", "out").said
    assert "of $0.00050" in said
    assert "the same command continues" in said
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"run.lock", "run.sqlite"}


def test_watching_goes_on_until_the_run_ends(tmp_path: Path, server: ChatServer) -> None:
    process = hanging(tmp_path, server)
    watcher = start(tmp_path, "status", "out", "--watch", 0.2, "--json")
    assert watcher.stdout is not None
    first = json.loads(watcher.stdout.readline())
    process.kill()
    finish(process)
    rest = [json.loads(line) for line in finish(watcher).out.splitlines()]
    assert first["state"] == "running"
    assert rest[-1]["state"] == "killed"


def test_a_simulated_run_says_so_and_that_nothing_was_spent(tmp_path: Path, server: ChatServer) -> None:
    assert safemt(tmp_path, *RUN, "--target", "sim/steady").code == 0
    said = safemt(tmp_path, "status", "out").out
    assert "sim/steady (simulated), judged by refusal: complete" in said
    assert "Spent: nothing, no paid call was made" in said


def test_what_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    missing = safemt(tmp_path, "status", "nowhere")
    assert (missing.code, missing.out) == (2, "")
    assert "nowhere is not a run directory" in missing.said
