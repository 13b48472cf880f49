"""Runs the command in a process of its own, on small benchmarks made for the purpose."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from safemt.cli import main
from safemt.cli.errors import worded
from safemt.core.errors import SafemtError
from servers.client import ChatServer

COMMAND: Final = [sys.executable, "-m", "safemt"]
KEY: Final = "sk-canary-0123456789abcdef"
"""In the environment of every command; it must turn up nowhere but in requests."""

Row = dict[str, Any]
Command = Callable[..., "Done"]


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished command left behind."""

    code: int
    out: str
    err: str
    error: SafemtError | None = None
    """What it stopped with, where it ran in this process."""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """Everything it said, without line breaks, so that the terminal's width does not matter."""
        return " ".join((self.out + self.err).split())


def environment(tmp_path: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with a key, and without what would change the command's ways."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("SAFEMT", "COLUMNS", "FORCE_COLOR"))
    }
    return {**kept, "OPENAI_API_KEY": KEY, "SAFEMT_HOME": str(tmp_path / "home"), **(more or {})}


def start(tmp_path: Path, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start `safemt` in `tmp_path`."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=tmp_path,
        env=environment(tmp_path, options.pop("env", None)),
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def finish(process: subprocess.Popen[str], *, timeout: float = 60) -> Done:
    """Wait for a started command."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"not done after {timeout} s; it said:\n{out}\n{err}") from None
    return Done(process.returncode, out, err)


def safemt(tmp_path: Path, *arguments: object, **options: Any) -> Done:
    """Run `safemt` in `tmp_path` to its end."""
    return finish(start(tmp_path, *arguments, **options))


def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """A way to run `safemt` in this process and in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SAFEMT_HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> Done:
        errors: list[SafemtError] = []

        def noted(error: SafemtError) -> str:
            errors.append(error)
            return worded(error)

        monkeypatch.setattr(sys, "argv", ["safemt", *map(str, arguments)])
        monkeypatch.setattr("safemt.cli.errors.worded", noted)
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, written.out, written.err, errors[0] if errors else None)

    return run


def asked(server: ChatServer, mode: str) -> list[Any]:
    """The parsed bodies of the chat requests under `mode`, in order of arrival."""
    return [json.loads(entry["body"]) for entry in server.log() if entry["mode"] == mode]


def models(server: ChatServer, *, target: str = "target", judge: str = "judge") -> list[str]:
    """The options for a target and a judge that both live on `server`, told apart by their modes."""
    return [
        "--target", "openai/tested", "--target-base-url", server.mode_url(target),
        "--judge", "openai/judging", "--judge-base-url", server.mode_url(judge),
    ]  # fmt: skip


def png(shade: int) -> bytes:
    """A grey picture of 4 x 4 pixels, different for each `shade` below 65,536."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")

    header = (4).to_bytes(4, "big") * 2 + bytes([16, 0, 0, 0, 0])
    rows = (b"\0" + shade.to_bytes(2, "big") * 4) * 4
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def row(query: int, turns: int, *, twin: bool = False, unsafe: bool = False, **fields: Any) -> Row:
    """One record of a benchmark: the texts name query, number of turns and place, so that a test can tell.

    With `unsafe` the last one holds the mark by which the test server's `verdict` says `unsafe`.
    """
    name = f"q{query}-twin" if twin else f"q{query}"
    dialogue = [
        {
            "role": "assistant" if position % 2 else "user",
            "content": f"{name} at {turns}: message {position + 1}, grüße",
        }
        for position in range(2 * turns - 1)
    ]
    if unsafe:
        dialogue[-1]["content"] += " UNSAFE-MARK"
    return {
        "query_id": name,
        "turns": turns,
        "scenario": ("Fraud", "Malware", "Satire", "Privacy Violation")[query % 4],
        "method": None if turns == 1 else ("gradual", "role_play", "in_context", "hybrid")[query % 4],
        "question": f"The question of {name}?",
        "dialogue": dialogue,
        "image": f"images/{query}.png",
        "twin_of": f"q{query}" if twin else None,
        **fields,
    }


def rows(queries: int, turns: Iterable[int] = (1, 2), *, twins: bool = False) -> list[Row]:
    """The records of a whole benchmark."""
    kinds = (False, True) if twins else (False,)
    return [row(query, k, twin=twin) for query in range(queries) for k in turns for twin in kinds]


def write(folder: Path, records: Iterable[Row]) -> Path:
    """Write records, and the pictures that they name, as a benchmark."""
    listed = list(records)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for record in listed:
        if record["image"]:
            shade = int(Path(record["image"]).stem)
            (folder / record["image"]).write_bytes(png(shade))
    lines = [json.dumps(record) + "\n" for record in listed]
    (folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder
