"""A key that an endpoint gives away wherever it can is nowhere: on disk, on screen, among the processes."""

import base64
import html
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from chaos.scenario import records
from e2e.command import Command, finish, models, start, write
from servers.client import ChatServer, start_chat_server

KEYS = {"TARGET_KEY": "sk-canary+target/0123456789=", "JUDGE_KEY": "sk-canary+judge&0123456789="}
"""With characters that JSON, addresses and pages write in ways of their own."""
RUN = ("run", "--benchmark", "bench", "--concurrency", 4, "--timeout", 2)
NAMED = ("--target-api-key-env", "TARGET_KEY", "--judge-api-key-env", "JUDGE_KEY")


def leaks(key: str) -> list[dict[str, Any]]:
    """Every way to give the key away again, each as often as it may come up."""
    escaped = "".join(f"\\u{ord(char):04x}" for char in key)
    return [
        {"do": "reply", "text": "You sent {key}, I say.\nVERDICT: safe", "headers": {"X-Key": "{key}"}},
        {"do": "reply", "text": f"As a page: {html.escape(key)}; {quote(key)}; {escaped}.\nVERDICT: safe"},
        {"do": "content_filter", "text": "It begins {key}"},
        {"do": "refusal_field", "text": "Not with {key}."},
        {"do": "status", "message": "The server broke at {key}.", "headers": {"Retry-After": "{key}"}},
        {"do": "status", "status": 200, "message": "Overloaded: {key}", "code": key},
        {"do": "bad_request", "message": "No request with {key}, please.", "type": key, "param": key},
        {"do": "html", "text": "Proxy refused {key}", "headers": {"WWW-Authenticate": "{key}"}},
        {"do": "html", "status": 200, "text": "Log in again, {key}"},
        {"do": "html", "status": 403, "text": "Forbidden for {key}"},
        {"do": "truncated_json", "text": "{key}" * 20},
        {"do": "reset_during", "text": "{key}" * 20},
        {"do": "redirect", "location": f"/elsewhere/{quote(key, safe='')}/{{key}}?key={{key}}#{{key}}"},
        {"do": "redirect", "location": "http://user:{key}@127.0.0.1:9/{key}", "status": 302},
        {"do": "rate_limit", "message": "Too many calls of {key}.", "headers": {"Set-Cookie": "key={key}"}},
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    rules: list[dict[str, Any]] = [
        {"nth_to": 2, "do": "verdict"},
        {"mode": "target", "do": "one_of", "of": leaks(KEYS["TARGET_KEY"])},
        {"mode": "judge", "do": "one_of", "of": leaks(KEYS["JUDGE_KEY"]), "share": 0.7},
        {"mode": "judge", "do": "verdict", "text": "{key} is the key.\nVERDICT: safe"},
        {"mode": "refuses", "do": "bad_key", "message": "Incorrect API key provided: {key}. Get another."},
        {"mode": "hangs", "do": "hang"},
    ]
    with start_chat_server({"seed": 5, "rules": rules}) as running:
        yield running


def forms(key: str) -> list[str]:
    """The key as it may be written, and parts of it that give most of it away."""
    encoded = base64.b64encode(key.encode()).decode()
    return [key, html.escape(key), quote(key), quote(key, safe=""), json.dumps(key)[1:-1], encoded, key[3:-3]]


def hold_back(text: str, where: object) -> None:
    for key in KEYS.values():
        for form in forms(key):
            assert form not in text, where


def hold_back_on_disk(folder: Path) -> set[str]:
    """Look through every file; give their names."""
    files = [path for path in folder.rglob("*") if path.is_file() and "bench" not in path.parts]
    for path in files:
        hold_back(path.read_bytes().decode("utf-8", "replace"), path)
    return {path.name for path in files}


def test_a_key_that_is_given_away_everywhere_is_nowhere(
    tmp_path: Path,
    safemt: Command,
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    write(tmp_path / "bench", records(30))
    said = []
    for mode in ("target", "refuses"):
        which = models(server, target=mode)
        done = safemt(*RUN, *NAMED, *which, "--out", f"out-{mode}", "--judge-with-image")
        assert done.code == {"target": 0, "refuses": 3}[mode], done.err
        said.append(done)
    outputs = [option for end in ("html", "md", "csv", "parquet") for option in ("--out", f"report.{end}")]
    said += [safemt("report", "out-target", *outputs), safemt("score", "out-target", "--json")]
    sent = {entry["headers"]["authorization"].removeprefix("Bearer ") for entry in server.log()}
    assert sent == set(KEYS.values())
    assert server.stats()["by_action"].keys() >= {fate["do"] for fate in leaks("k")}
    for done in said:
        hold_back(done.out + done.err, done.code)
        assert "Traceback" not in done.err
    hold_back(caplog.text, "log")
    written = hold_back_on_disk(tmp_path)
    assert written >= {"run.sqlite", "results.json", "report.html", "report.md", "report.csv"}
    assert b"[key]" in (tmp_path / "out-target/run.sqlite").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="this system has no /proc")
def test_the_list_of_processes_shows_no_key_while_a_run_is_going_on(
    tmp_path: Path, server: ChatServer
) -> None:
    write(tmp_path / "bench", records(4))
    server.reset()
    which = models(server, target="hangs", judge="hangs")
    process = start(tmp_path, *RUN[:-2], *NAMED, *which, "--out", "out", env=KEYS)
    try:
        ends = time.monotonic() + 60
        while server.stats()["total"] < 3:
            assert process.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.02)
        ours = [Path(f"/proc/{process.pid}"), *Path(f"/proc/{process.pid}/task").iterdir()]
        shown = [(path / name).read_bytes() for path in ours for name in ("cmdline", "comm", "stat")]
    finally:
        process.kill()
        done = finish(process)
    assert any(b"TARGET_KEY" in each for each in shown)
    for each in shown:
        hold_back(each.decode("utf-8", "replace").replace("\0", " "), "the list of processes")
    hold_back(done.out + done.err, "screen")
    hold_back_on_disk(tmp_path)
