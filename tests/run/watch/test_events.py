"""The log of events: whole lines, at once; given up with one word where it cannot be written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import UsageError
from safemt.run.watch.events import EventLog


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_event_is_in_the_file_as_soon_as_it_is_emitted_and_earlier_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in range(2):
        log = EventLog(path)
        log.emit("label", sample=f"q{number}@1", label="safe")
        assert lines(path)[-1]["sample"] == f"q{number}@1"
        log.close()
    assert [line["event"] for line in lines(path)] == ["label", "label"]
    assert lines(path)[0]["time"].endswith("+00:00")


def test_a_line_that_a_killed_process_left_unfinished_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "la', encoding="utf-8")
    log = EventLog(path)
    log.emit("label", sample="q@1")
    log.close()
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1])["sample"] == "q@1"


def test_without_a_file_nothing_happens() -> None:
    EventLog().emit("label", sample="q@1")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    log = EventLog(Path("/dev/full"), complain=said.append)
    for _ in range(3):
        log.emit("label", sample="q@1")
    assert said == [
        "--log-json /dev/full can no longer be written (No space left on device); the run goes on without."
    ]


def test_a_reader_that_has_gone_is_said_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    said: list[str] = []
    log = EventLog(pipe, complain=said.append)
    os.close(reader)
    for _ in range(3):
        log.emit("label", sample="q@1")
    assert len(said) == 1
    assert "Broken pipe" in said[0]


@pytest.mark.parametrize("name", ["missing/events.jsonl", "."])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"--log-json .* cannot be written"):
        EventLog(tmp_path / name)
