"""A run that is killed, interrupted or short of disk loses and repeats nothing that was finished."""

import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.command import finish, models, rows, safemt, start, write
from servers.client import ChatServer

RUN = ("run", "--benchmark", "bench", "--out", "out", "--concurrency", "4")
RECORDS = [
    {**record, "dialogue": [*record["dialogue"][:-1], {"role": "user", "content": text}]}
    for record in rows(20, (1, 2))
    for text in [record["dialogue"][-1]["content"] + (" UNSAFE-MARK" if record["turns"] == 2 else "")]
]
RULES: list[dict[str, Any]] = [
    {"mode": "target", "do": "reply", "text": "Reply {sha}.", "latency_ms": 40},
    {"mode": "judge", "do": "verdict", "latency_ms": 40},
    {"mode": "watch", "do": "reply", "text": "No verdict.", "latency_ms": 20},
    {"mode": "hangs", "nth_from": 2, "do": "hang"},
    {"mode": "faults", "nth_from": 2, "do": "status"},
    {"mode": "pauses", "nth_from": 2, "do": "rate_limit", "retry_after_s": 200},
]
FIGURES = ("turns", "scenarios", "methods", "outcomes", "safety_index", "complete", "tokens")


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return write(tmp_path / "bench", RECORDS)


def until(server: ChatServer, calls: int, *, process: subprocess.Popen[str]) -> None:
    """Wait until so many calls have come."""
    ends = time.monotonic() + 60
    while server.stats()["total"] < calls:
        assert time.monotonic() < ends, "the calls never came"
        assert process.poll() is None, finish(process)
        time.sleep(0.005)


def check_store(folder: Path) -> None:
    connection = sqlite3.connect(folder / "out/run.sqlite")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


def figures(document: Any) -> dict[str, Any]:
    return {name: document[name] for name in FIGURES}


# Killed


def test_killed_at_any_moment_it_ends_with_the_same_figures_and_repeats_nothing(
    tmp_path: Path, bench: Path, server: ChatServer
) -> None:
    whole = safemt(tmp_path, *RUN[:-4], "--out", "whole", *models(server), "--json")
    assert whole.code == 0, whole.err
    chance = random.Random(3)
    server.reset()
    for calls in (1, 20, 50):
        process = start(tmp_path, *RUN, *models(server))
        until(server, calls, process=process)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        finish(process)
        check_store(tmp_path)
    assert safemt(tmp_path, "score", "out", "--json").json["complete"] is False
    done = safemt(tmp_path, *RUN, *models(server), "--json")
    assert done.code == 0, done.err
    assert "samples are already done" in done.err
    assert figures(done.json) == figures(whole.json)
    stats = server.stats()
    assert stats["repeated_after_success"] <= 3 * 4
    assert stats["distinct_bodies"] == 80
    check_store(tmp_path)


def test_killed_behind_a_moderator_it_ends_with_the_same_verdicts_and_figures(
    tmp_path: Path, bench: Path, server: ChatServer
) -> None:
    watched = ("--moderator", "llm:openai/watch", "--moderator-base-url", server.mode_url("watch"))
    run = (*RUN, *models(server), *watched, "--on-moderator-error", "inject")
    assert safemt(tmp_path, *run, "--out", "whole").code == 0
    server.reset()
    for calls in (10, 60):
        process = start(tmp_path, *run)
        until(server, calls, process=process)
        process.kill()
        finish(process)
        check_store(tmp_path)
    done = safemt(tmp_path, *run, "--json").json
    whole = safemt(tmp_path, "score", "whole", "--json").json
    for document in (done, whole):
        assert document["moderation"].pop("milliseconds")["median"] > 0
    assert done["moderation"] == whole["moderation"]
    # Tokens are what was paid: a degraded verdict that is made again is paid for again.
    assert {**figures(done), "tokens": None} == {**figures(whole), "tokens": None}
    stats = server.stats()
    assert stats["distinct_bodies"] == 120
    # A degraded verdict is made again with its sample, so each of those in flight may ask twice more.
    assert stats["repeated_after_success"] <= 2 * 4 * 2
    check_store(tmp_path)


# Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_finishes_what_is_in_flight(
    tmp_path: Path, bench: Path, server: ChatServer, number: int
) -> None:
    process = start(tmp_path, *RUN, *models(server))
    until(server, 20, process=process)
    process.send_signal(number)
    done = finish(process)
    assert done.code == 130
    assert done.out == ""
    assert "finishing what is in flight" in done.err
    assert done.err.count("Stopped: Interrupted.") == 1
    assert "Traceback" not in done.err
    stats = server.stats()
    assert stats["by_status"] == {"200": stats["total"]}
    assert stats["total"] < 60
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"run.lock", "run.sqlite"}
    check_store(tmp_path)
    again = safemt(tmp_path, *RUN, *models(server), "--json")
    assert again.code == 0, again.err
    stats = server.stats()
    assert (stats["total"], stats["repeated_after_success"]) == (80, 0)


def test_a_second_interrupt_stops_at_once(tmp_path: Path, bench: Path, server: ChatServer) -> None:
    process = start(tmp_path, *RUN, *models(server, target="hangs"))
    until(server, 5, process=process)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    done = finish(process, timeout=20)
    assert done.code == 130
    assert "Stopping at once." in done.err
    assert "Traceback" not in done.err
    assert "never retrieved" not in done.err
    check_store(tmp_path)
    assert "39 samples still to do" in safemt(tmp_path, "score", "out").said


def test_a_run_goes_on_when_nobody_reads_its_remarks(tmp_path: Path, bench: Path, server: ChatServer) -> None:
    process = start(tmp_path, *RUN, *models(server), "--json")
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    done, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(done)["complete"] is True


def test_an_interrupt_that_also_ended_the_reader_of_the_log_still_stops_the_run(
    tmp_path: Path, bench: Path, server: ChatServer
) -> None:
    process = start(tmp_path, *RUN, *models(server), stdout=subprocess.DEVNULL)
    until(server, 10, process=process)
    assert process.stderr is not None
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    assert server.stats()["total"] < 60
    connection = sqlite3.connect(tmp_path / "out/run.sqlite")
    assert connection.execute("SELECT ending FROM invocations").fetchall() == [("stopped: Interrupted.",)]
    connection.close()


@pytest.mark.parametrize("mode", ["faults", "pauses"])
def test_an_interrupt_does_not_wait_for_retries_and_pauses(
    tmp_path: Path, bench: Path, server: ChatServer, mode: str
) -> None:
    process = start(tmp_path, *RUN, *models(server, target=mode))
    until(server, 4, process=process)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    done = finish(process, timeout=20)
    assert done.code == 130, done.err
    check_store(tmp_path)


def test_an_interrupt_as_early_as_can_be_leaves_no_traceback(tmp_path: Path, bench: Path) -> None:
    for moment in (0.0, 0.04):
        process = start(tmp_path, *RUN, "--target", "sim/steady", stderr=subprocess.STDOUT)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "40 samples" in said
        time.sleep(moment)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        done = finish(process)
        assert done.code in {0, 130}
        assert "Traceback" not in done.out
    assert safemt(tmp_path, *RUN, "--target", "sim/steady").code == 0


def test_a_picture_that_changes_under_way_stops_the_run(
    tmp_path: Path, bench: Path, server: ChatServer
) -> None:
    process = start(tmp_path, *RUN, *models(server), "--seed", "1")
    until(server, 4, process=process)
    for picture in (bench / "images").iterdir():
        picture.unlink()
    done = finish(process)
    assert (done.code, done.out) == (1, "")
    assert "is missing or has changed" in done.err
    assert "Traceback" not in done.err
    write(bench, RECORDS)
    again = safemt(tmp_path, *RUN, *models(server), "--seed", "1", "--json")
    assert again.json["complete"] is True
    assert server.stats()["repeated_after_success"] == 0


# Contended


def test_a_second_process_on_the_same_run_is_refused_and_reading_is_not(
    tmp_path: Path, bench: Path, server: ChatServer
) -> None:
    process = start(tmp_path, *RUN, *models(server, target="hangs"))
    until(server, 5, process=process)
    second = safemt(tmp_path, *RUN, *models(server))
    assert second.code == 2
    assert second.out == ""
    assert "Another safemt process is working in out" in second.said
    meanwhile = safemt(tmp_path, "score", "out", "--json")
    assert meanwhile.code == 0, meanwhile.err
    assert (meanwhile.json["target"], meanwhile.json["pending"]) == ("openai/tested", 39)
    assert server.stats()["total"] == 2 + 4
    process.kill()
    finish(process)
    assert safemt(tmp_path, *RUN, *models(server)).code == 0


# Short of disk


def with_little_disk(size: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("size", [1_000, 60_000, 700_000])
def test_a_full_disk_is_one_message_and_the_run_goes_on_later(
    tmp_path: Path, bench: Path, server: ChatServer, size: int
) -> None:
    full = safemt(tmp_path, *RUN, *models(server), preexec_fn=with_little_disk(size))
    assert full.code == 2, full.err
    assert full.out == ""
    assert "Traceback" not in full.err
    assert full.err.count("Error:") == 1
    assert "The store" in full.err
    before = server.stats()["total"]
    done = safemt(tmp_path, *RUN, *models(server), "--json")
    assert done.code == 0, done.err
    assert done.json["complete"] is True
    check_store(tmp_path)
    if size == 700_000:
        assert before > 8
        assert server.stats()["repeated_after_success"] <= 2 * 4


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_folder_that_cannot_be_written_is_one_message_and_a_run_in_it_can_be_scored(
    tmp_path: Path, bench: Path
) -> None:
    simulated = (*RUN, "--target", "sim/steady")
    assert safemt(tmp_path, *simulated).code == 0
    (tmp_path / "out").chmod(0o500)
    try:
        refused = safemt(tmp_path, *simulated)
        scored = safemt(tmp_path, "score", "out", "--json")
    finally:
        (tmp_path / "out").chmod(0o700)
    assert (refused.code, refused.out) == (2, "")
    assert "cannot be used: attempt to write a readonly database" in refused.said
    assert scored.json["complete"] is True
