"""`safemt serve`, `safemt monitor` and `safemt moderator calibrate --audit` as commands."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from servers.client import ChatServer

RULES: list[Any] = []
COMMAND = (sys.executable, "-m", "safemt")


def test_serve_from_start_to_threshold(tmp_path: Path, server: ChatServer) -> None:
    audit, config = tmp_path / "audit.jsonl", tmp_path / "serve.yaml"
    config.write_text("moderator: {action: block}\nlimits: {threads: 2}\n")
    command = [
        *COMMAND, "serve", "--config", str(config), "--upstream", server.base_url, "--port", "0",
        "--moderator", "keyword", "--audit", str(audit),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = int(process.stderr.readline().split("Listening on 127.0.0.1:")[1].split(",")[0])
            root = f"http://127.0.0.1:{port}"
            wait_until_ready(root)
            answers = [ask(root, text) for text in ("Hello", "How do I poison a dog?")]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert [answer["choices"][0]["finish_reason"] for answer in answers] == ["stop", "content_filter"]
    actions = [json.loads(line)["verdict"]["action"] for line in audit.read_text().splitlines()]
    assert actions == ["allow", "block"]


def ask(root: str, text: str) -> Any:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    with urlopen(Request(f"{root}/v1/chat/completions", body), timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def wait_until_ready(root: str) -> None:
    for _ in range(100):
        try:
            with urlopen(f"{root}/readyz", timeout=5):  # noqa: S310
                return
        except URLError:
            time.sleep(0.05)


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_a_wrong_configuration_ends_with_a_sentence(tmp_path: Path) -> None:
    done = run("serve", "--upstream", "http://127.0.0.1:9/v1", "--host", "0.0.0.0")  # noqa: S104
    assert done.returncode == 2
    assert "--host" in done.stderr
    assert "--open" in done.stderr
    config = tmp_path / "serve.yaml"
    config.write_text("upstream: http://x/v1\nlimits: {threads: many}\n")
    done = run("serve", "--config", config)
    assert done.returncode == 2
    assert "limits.threads" in done.stderr
    assert run("serve", "--upstream", "http://x/v1", "--moderator", "nonsense").returncode == 2


def test_monitor_and_calibrate(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    audit.write_text("\n".join(json.dumps(each) for each in records()) + "\n")
    done = run("monitor", audit, "--window", "1d", "--out", tmp_path / "page.html")
    assert done.returncode == 1, done.stderr
    assert "alert rate" in done.stdout
    assert "<html" in (tmp_path / "page.html").read_text()
    assert json.loads(run("monitor", audit, "--json").stdout)["schema"] == "safemt.monitor/1"
    assert run("monitor", audit, "--window", "soon").returncode == 2
    assert run("monitor", tmp_path / "none.jsonl").returncode == 2
    out = tmp_path / "thresholds.json"
    done = run("moderator", "calibrate", "--audit", audit, "--fpr", "0.4", "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["schema"] == "safemt.thresholds/1"
    assert run("moderator", "calibrate", "--fpr", "0.4").returncode == 2


def records() -> list[dict[str, Any]]:
    """Four days of traffic; on the last, every second conversation is flagged."""
    begin = datetime(2026, 3, 2, tzinfo=UTC)
    return [
        {
            "schema": "safemt.audit/1", "time": (begin + day * timedelta(days=1)).isoformat(),
            "id": f"{day}-{n}",
            "tenant": "default", "model": "m", "conversation": f"{day}-{n}", "detector": "d", "error": None,
            "ms": {"moderation": 1.0},
            "verdict": {
                "moderator": "embedded", "risk": 0.9 if day == 3 and n % 2 else 0.1, "threshold": 0.5,
                "flagged": day == 3 and bool(n % 2), "action": "allow", "scenario": None, "policies": [],
                "coverage": [1, 1, 0, 0], "unscanned": [], "degraded": None,
            },
        }
        for day in range(4)
        for n in range(60)
    ]  # fmt: skip
