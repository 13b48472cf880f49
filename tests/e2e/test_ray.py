"""`--executor ray` on a local cluster with two workers: the same as one process, also when a worker dies.

Opt-in: Ray is not among the development tools. Install it, then `pytest -m slow tests/e2e/test_ray.py`.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.command import KEY, Done, environment, finish, models, rows, start, write
from e2e.whole_run import FIGURES, contents
from servers.client import ChatServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

PORT = 6390
RUN = ("run", "--benchmark", "bench", "--out", "out", "--concurrency", "8")
RAY = ("--executor", "ray", "--ray-address", f"127.0.0.1:{PORT}", "--ray-workers", "2")
RULES: list[dict[str, Any]] = [
    {"mode": "judge", "do": "verdict", "marker": "UNSAFE-MARK"},
    {"mode": "faults", "contains": "q3 ", "do": "bad_request"},
    {"mode": "slow", "do": "reply", "text": "Reply {sha}.", "latency_ms": 300},
    {"mode": "bad-key", "do": "bad_key"},
    {"do": "reply", "text": "Reply {sha}."},
]


@pytest.fixture
def server(chat_server: ChatServer, tmp_path: Path) -> ChatServer:
    chat_server.reset()
    write(tmp_path / "bench", rows(24, (1, 2), twins=True))
    return chat_server


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A head that stays in front of its terminal, so that it ends with this test and nothing else does."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: sockets lie in it
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=3"),
        *(
            "--node-ip-address=127.0.0.1",
            f"--port={PORT}",
            "--include-dashboard=false",
            "--disable-usage-stats",
        ),
        *("--object-store-memory=100000000", f"--temp-dir={folder}"),
    ]
    with (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(
            command, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )
    ends = time.monotonic() + 120
    while b"Ray runtime started" not in (folder / "head.log").read_bytes():
        assert time.monotonic() < ends, (folder / "head.log").read_text()
        assert head.poll() is None, (folder / "head.log").read_text()
        time.sleep(0.2)
    yield
    head.terminate()
    head.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def safemt(tmp_path: Path, *arguments: object, **options: Any) -> Done:
    """As for other commands, with the time that a cluster takes to start its workers."""
    return finish(start(tmp_path, *arguments, **options), timeout=240)


@pytest.mark.parametrize("history", ["scripted", "live"])
def test_two_workers_write_row_by_row_what_one_process_writes(
    tmp_path: Path, server: ChatServer, cluster: None, history: str
) -> None:
    options = (*models(server, target="faults"), "--history", history, "--json")
    whole = safemt(tmp_path, *RUN, *options, "--out", "whole")
    assert whole.code == 0, whole.err
    server.reset()
    # The driver has no key; the workers have it from the cluster's environment.
    done = safemt(tmp_path, *RUN, *options, *RAY, "--log-json", "events.jsonl", env={"OPENAI_API_KEY": ""})
    assert done.code == 0, done.err
    assert done.json["complete"] is True
    assert {name: done.json[name] for name in FIGURES} == {name: whole.json[name] for name in FIGURES}
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    stats = server.stats()
    assert stats["repeated_after_success"] == 0
    assert stats["max_in_flight"] <= 8
    assert {entry["headers"]["authorization"] for entry in server.log()} == {f"Bearer {KEY}"}
    events = (tmp_path / "events.jsonl").read_text()
    assert events.count('"event":"label"') == 96
    assert KEY not in events + (tmp_path / "out/run.sqlite").read_bytes().decode("latin-1")
    server.reset()
    again = safemt(tmp_path, *RUN, *options, *RAY)
    assert again.code == 0, again.err
    asked_again = [entry for entry in server.log() if entry["mode"] == "judge"]
    assert asked_again == []


def test_the_shard_of_a_worker_that_dies_is_taken_up_again(
    tmp_path: Path, server: ChatServer, cluster: None
) -> None:
    process = start(tmp_path, *RUN, *models(server, target="slow"), *RAY, "--json")
    ends = time.monotonic() + 120
    while server.stats()["total"] < 40:
        assert time.monotonic() < ends, "the calls never came"
        assert process.poll() is None, finish(process)
        time.sleep(0.05)
    os.kill(one_worker(), signal.SIGKILL)
    done = finish(process, timeout=240)
    assert done.code == 0, done.err
    assert "complete" in safemt(tmp_path, "status", "out").out
    stats = server.stats()
    assert stats["distinct_bodies"] == 96 + 48
    # Lost with the worker: what was in flight, and what it had not handed over in its last second.
    assert stats["repeated_after_success"] < 60


def one_worker() -> int:
    """The process of one engine; Ray names a worker's process after its actor."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::Worker"):
                return int(folder.name)
    raise AssertionError("there is no worker")


def test_caps_and_ctrl_c_stop_the_workers(tmp_path: Path, server: ChatServer, cluster: None) -> None:
    capped = safemt(tmp_path, *RUN, *models(server, target="slow"), *RAY, "--max-tokens", 3000)
    assert capped.code == 3, capped.err
    assert "(--max-tokens) is reached" in capped.said
    process = start(tmp_path, *RUN, *models(server, target="slow"), *RAY)
    before, ends = server.stats()["total"], time.monotonic() + 120
    while server.stats()["total"] < before + 10:
        assert time.monotonic() < ends, "the calls never came"
        assert process.poll() is None, finish(process)
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    done = finish(process, timeout=240)
    assert done.code == 130, done.err
    assert "finishing what is in flight" in done.err
    assert safemt(tmp_path, "status", "out", "--json").json["state"] == "stopped"
    assert server.stats()["repeated_after_success"] == 0


def test_what_stops_a_worker_stops_the_run_with_its_words(
    tmp_path: Path, server: ChatServer, cluster: None
) -> None:
    stopped = safemt(tmp_path, *RUN, *models(server, target="bad-key"), *RAY)
    assert stopped.code == 3
    assert "refused the key in OPENAI_API_KEY" in stopped.said
    no_key = safemt(
        tmp_path,
        *(*RUN, *models(server), *RAY, "--target-api-key-env", "NO_SUCH_KEY"),
        env={"NO_SUCH_KEY": "here-but-not-there"},
    )
    assert no_key.code == 2
    assert "The environment variable NO_SUCH_KEY is not set" in no_key.said


def test_no_cluster_is_one_sentence(tmp_path: Path, server: ChatServer) -> None:
    options = (*models(server), "--executor", "ray", "--ray-address", "127.0.0.1:1")
    refused = safemt(tmp_path, *RUN, *options)
    assert (refused.code, refused.out) == (2, "")
    assert "There is no Ray cluster at 127.0.0.1:1" in refused.said
