"""What a person sees while a run goes on, on a real terminal and in a log."""

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.command import COMMAND, environment, models, rows, safemt, write
from servers.client import ChatServer, start_chat_server

pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")

RUN = ("run", "--benchmark", "bench", "--out", "out", "--concurrency", "2")
LONG = "[/bold] [red] \x1b[31m\x07 " + "a long complaint " * 60
RULES: list[dict[str, Any]] = [
    {"mode": "target", "contains": "q1 ", "do": "bad_request", "message": LONG},
    {"mode": "target", "do": "reply", "latency_ms": 60},
    {"mode": "judge", "do": "verdict", "latency_ms": 20},
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChatServer]:
    write(tmp_path / "bench", rows(20, (1, 2)))
    with start_chat_server({"rules": RULES}) as running:
        yield running


def on_a_terminal(tmp_path: Path, *arguments: object) -> tuple[int, str]:
    """Run `safemt` on a pseudo-terminal of 60 columns; its exit code and all that it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=tmp_path,
        env=environment(tmp_path, {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "24"}),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written, ends = b"", time.monotonic() + 60
    while time.monotonic() < ends:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(ours)
    return process.wait(10), written.decode()


def test_a_terminal_shows_one_line_that_lives(tmp_path: Path, server: ChatServer) -> None:
    code, text = on_a_terminal(tmp_path, *RUN, *models(server))
    assert code == 0, text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    counts = [int(count) for count in re.findall(r"(\d+)/40 samples", plain)]
    assert len(set(counts)) > 3
    assert counts == sorted(counts)
    assert counts[-1] == 40
    assert re.search(r"\d+\.\d/s", plain)
    assert re.search(r"0:\d\d:\d\d left", plain)
    assert "ASR 1t 0 %" in plain
    assert "last problem" in plain
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back
    assert "\x1b[31m" not in text.split("ASR by turns")[0]  # the server's colours do not get through
    assert "\x07" not in text
    assert plain.rstrip().splitlines()[-1].startswith("Results:")


def test_a_log_gets_plain_lines(tmp_path: Path, server: ChatServer) -> None:
    done = safemt(tmp_path, *RUN, *models(server))
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("40/40 samples")]
    for part in (
        r"\d+\.\d/s",
        "0:00:00 left",
        "ASR 1t 0 % 2t 0 %",
        "2 ungraded",
        r"[\d,]+ tokens in, [\d,]+ out",
    ):
        assert re.search(part, line), part
    assert "[/bold] [red]" in line
    assert len(line) < 400
