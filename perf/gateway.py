"""What `safemt serve` costs, beside a bare pass-through and LiteLLM on the same upstream in one run.

    python -m perf.gateway [--litellm-env FOLDER] [--rounds 3] [--only PART ...]

Processor time of the gateway's process, for each request: on a machine that does other work it is the figure
to trust. Contenders take turns. `--litellm-env` is a virtual environment with `litellm[proxy]` and safemt; it
is made beside the repository's own if it is not given. Takes about ten minutes.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from perf.processes import ROOT

LITELLM_ENV: Final = ROOT / ".venv-bench-litellm"
TICK: Final = os.sysconf("SC_CLK_TCK")
CONVERSATIONS: Final = 15_000
"""In memory at once, for its size."""
SOAK: Final = 100_000
"""Requests of mixed traffic, for leaks."""

KNOWN: Final = [
    {"role": "user", "content": "Which trees grow well in a small garden in the north?"},
    {"role": "assistant", "content": "Rowan, crab apple and birch do."},
    {"role": "user", "content": "How much water does a young rowan need in its first summer?"},
    {"role": "assistant", "content": "About twenty litres a week."},
    {"role": "user", "content": "And when should I prune it?"},
    {"role": "assistant", "content": "In late winter, while it is dormant."},
    {"role": "user", "content": "Thank you. What grows well below it?"},
]

_OURS: Final = (
    "import sys; from pathlib import Path; from safemt.serve.server import run; "
    "from safemt.serve.config import read_serve_config as read; run(read(Path(sys.argv[1])))"
)


KEY: Final = f"sk-{secrets.token_hex(16)}"
"""LiteLLM refuses to start with a key that is easy to guess."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Contender:
    """A gateway that runs."""

    name: str
    port: int
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far, user and system, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def rss(self) -> float:
        """Resident memory, MB."""
        return (
            int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        )

    @property
    def files(self) -> int:
        """Open files and connections."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


class Connection:
    """One connection of a client that costs next to nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, body: bytes) -> float:
        """Send a request, and read the answer to its end; seconds that took."""
        began = time.perf_counter()
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        self._writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:16]:
            raise RuntimeError(head.decode() + (await self._reader.read(500)).decode())
        lower = head.lower()
        if b"content-length:" in lower:
            await self._reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
        else:
            while size := int(await self._reader.readline(), 16):
                await self._reader.readexactly(size + 2)
            await self._reader.readline()
        return time.perf_counter() - began

    def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()


async def saturate(contender: Contender, body: bytes, connections: int, seconds: float) -> float:
    """Processor milliseconds of a request, with so many connections that each ask again at once."""
    asked = 0
    end = time.perf_counter() + seconds

    async def go_on(connection: Connection) -> None:
        nonlocal asked
        while time.perf_counter() < end:
            await connection.ask(body)
            asked += 1
        connection.close()

    before = contender.cpu
    await asyncio.gather(*(go_on(Connection(contender.port)) for _ in range(connections)))
    return 1000 * (contender.cpu - before) / asked


async def grow(contender: Contender, seed: int, conversations: int = 6) -> dict[str, float]:
    """Processor milliseconds of a new turn, by how many turns the conversation has."""
    spent: dict[str, list[float]] = {"2-5": [], "46-50": []}
    for number in range(conversations):
        connection = Connection(contender.port)
        messages: list[dict[str, str]] = []
        before = 0.0
        for turn in range(1, 51):
            if turn in (2, 46):
                before = contender.cpu
            messages.append({"role": "user", "content": _words(seed * 1000 + number, turn)})
            await connection.ask(_body(messages))
            messages.append({"role": "assistant", "content": "A short answer in one sentence."})
            if turn in (5, 50):
                spent["2-5" if turn == 5 else "46-50"].append(contender.cpu - before)
        connection.close()
    return {
        turns: 1000 * sum(seconds) / (len(seconds) * (4 if turns == "2-5" else 5))
        for turns, seconds in spent.items()
    }


async def known_beside_hostile(contender: Contender, seconds: float) -> tuple[float, float]:
    """95th percentile, in ms, of known traffic alone, and while another client sends 88 KB messages."""
    alone = await _paced(contender, seconds)
    stop = False

    async def hostile() -> None:
        connection, number = Connection(contender.port), 0
        while not stop:
            number += 1
            text = " ".join(_words(number, part) for part in range(400))[:88_000]
            await connection.ask(_body([{"role": "user", "content": text}]))
        connection.close()

    attack = asyncio.create_task(hostile())
    await asyncio.sleep(0.5)
    beside = await _paced(contender, seconds)
    stop = True
    await attack
    return alone, beside


async def _paced(contender: Contender, seconds: float) -> float:
    times: list[float] = []

    async def one(connection: Connection) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            times.append(await connection.ask(_body(KNOWN)))
            await asyncio.sleep(0.1)
        connection.close()

    await asyncio.gather(*(one(Connection(contender.port)) for _ in range(4)))
    return 1000 * statistics.quantiles(times, n=20)[18]


async def fill(contender: Contender) -> float:
    """Resident MB with `CONVERSATIONS` conversations in memory."""

    async def some(start: int) -> None:
        connection = Connection(contender.port)
        for number in range(start, CONVERSATIONS, 16):
            await connection.ask(
                _body([{"role": "user", "content": f"What is {number} times {number + 7}?"}])
            )
        connection.close()

    await asyncio.gather(*(some(start) for start in range(16)))
    return contender.rss


async def soak(contender: Contender) -> tuple[float, int]:
    """Growth of memory (MB) and of open files over the second half of mixed traffic."""
    bodies = [_body(KNOWN), _body(KNOWN[:5]), _body(KNOWN[:3]), _body(KNOWN, stream=True)]

    async def some(count: int) -> None:
        connection = Connection(contender.port)
        for number in range(count):
            if number % 200 == 7:  # a client that leaves in the middle
                leaving = asyncio.create_task(connection.ask(bodies[3]))
                await asyncio.sleep(0.03)
                leaving.cancel()
                connection.close()
                connection = Connection(contender.port)
            # Streams take as long as 40 other requests; one in 25 is enough to see a leak.
            await connection.ask(bodies[3] if number % 25 == 0 else bodies[number % 3])
        connection.close()

    await asyncio.gather(*(some(SOAK // 2 // 128) for _ in range(128)))
    await asyncio.sleep(10)
    memory, files = contender.rss, contender.files
    await asyncio.gather(*(some(SOAK // 2 // 128) for _ in range(128)))
    await asyncio.sleep(10)
    return contender.rss - memory, contender.files - files


def _words(seed: int, turn: int) -> str:
    """A turn of 40 harmless words, a new one for each seed and turn."""
    vocabulary = [
        "garden",
        "house",
        "summer",
        "water",
        "evening",
        "sun",
        "wood",
        "snail",
        "hedge",
        "plant",
        "bird",
        "year",
        "stone",
        "path",
        "tree",
        "rain",
    ]
    return (
        " ".join(
            f"{vocabulary[(seed * 31 + turn * 17 + n * n) % 16]}{'s' * ((seed + n) % 2)}" for n in range(38)
        )
        + f" {seed} {turn}?"
    )


def _body(messages: Sequence[dict[str, str]], *, stream: bool = False) -> bytes:
    return json.dumps({"model": "m", "messages": list(messages), "stream": stream}).encode()


@contextmanager
def running(name: str, command: Sequence[object], port: int, ready: str) -> Iterator[Contender]:
    """A gateway in a process of its own, once it answers."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            env={**os.environ, "LITELLM_MASTER_KEY": KEY, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            for _ in range(1200):
                try:
                    with urlopen(f"http://127.0.0.1:{port}{ready}", timeout=1) as answer:
                        if answer.status == 200:
                            break
                except OSError:
                    pass
                if process.poll() is not None:
                    said.seek(0)
                    sys.exit(f"{name} ended:\n{said.read()[-2000:].decode('utf-8', 'replace')}")
                time.sleep(0.1)
            yield Contender(name, port, process.pid)
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench:
    """Starts contenders, and keeps what was found."""

    def __init__(self, upstream: str, folder: Path, litellm: Path, rounds: int) -> None:
        self.upstream, self.folder, self.litellm, self.rounds = upstream, folder, litellm, rounds
        self.rows: list[tuple[str, str, str, bool]] = []

    def bare(self) -> Any:
        """The pass-through."""
        port = free_port()
        # It has no probe of its own: any answer will do, and GET is 405.
        return _with_probe(
            "bare aiohttp", [sys.executable, "-m", "perf.peers.bare_gateway", self.upstream, port], port
        )

    def ours(self) -> Any:
        """`safemt serve` with the embedded moderator."""
        port = free_port()
        config = self.folder / f"serve-{port}.yaml"
        config.write_text(f"upstream: {self.upstream}\nlisten: {{port: {port}}}\n")
        return running("safemt serve", [sys.executable, "-c", _OURS, config], port, "/readyz")

    def litellm_with(self, guard: str) -> Any:
        """LiteLLM's proxy with a guardrail."""
        port = free_port()
        config = self.folder / f"litellm-{port}.yaml"
        (self.folder / "guards.py").write_bytes((ROOT / "perf/peers/litellm_guards.py").read_bytes())
        config.write_text(
            f"model_list: [{{model_name: m, litellm_params: {{model: openai/m, api_base: '{self.upstream}', "
            "api_key: k}}]\n"
            f"guardrails: [{{guardrail_name: g, litellm_params: {{guardrail: guards.{guard}, mode: pre_call, "
            "default_on: true}}]\nlitellm_settings: {telemetry: false}\n"
        )
        command = [
            self.litellm / "bin" / "litellm",
            "--config",
            config,
            "--port",
            port,
            "--host",
            "127.0.0.1",
        ]
        return running(f"LiteLLM + {guard}", command, port, "/health/liveliness")

    def want(self, what: str, found: float, *, least: float | None = None, most: float | None = None) -> None:
        """Hold a figure against a bar."""
        holds = (least is None or found >= least) and (most is None or found <= most)
        bar = f"≥ {least:g}" if least is not None else f"≤ {most:g}"
        self.rows.append((what, bar, f"{found:.2f}", holds))
        say(f"{'ok' if holds else 'NO':3} {what}: {found:.2f} ({bar})")

    def known(self) -> None:
        """A conversation that is known, and a stream."""
        with self.bare() as bare, self.ours() as ours, self.litellm_with("Nothing") as litellm:
            contenders = (bare, ours, litellm)
            found: dict[tuple[str, bool], list[float]] = {}
            for each in contenders:
                asyncio.run(saturate(each, _body(KNOWN), 4, 1))
            for _ in range(self.rounds):
                for each in contenders:
                    for stream, connections in ((False, 32), (True, 8)):
                        spent = asyncio.run(saturate(each, _body(KNOWN, stream=stream), connections, 4))
                        found.setdefault((each.name, stream), []).append(spent)
                        say(
                            f"    {each.name}, {'stream' if stream else 'plain'}: {spent:.3f} ms",
                        )
        middle = {key: statistics.median(values) for key, values in found.items()}
        for stream, most_bare, least_litellm in ((False, 2.0, 20), (True, 1.3, 12)):
            what = "22-chunk stream" if stream else "known conversation"
            mine = middle[ours.name, stream]
            self.want(f"LiteLLM with a no-op guardrail / ours, {what}", middle[litellm.name, stream] / mine,
                      least=least_litellm)  # fmt: skip
            self.want(f"ours / bare pass-through, {what}", mine / middle[bare.name, stream], most=most_bare)

    def growing(self) -> None:
        """New turns of long conversations."""
        with self.ours() as ours, self.litellm_with("Moderated") as litellm:
            for each in (ours, litellm):
                asyncio.run(grow(each, 99, 1))
            mine = [asyncio.run(grow(ours, seed)) for seed in range(self.rounds)]
            theirs = [asyncio.run(grow(litellm, seed)) for seed in range(self.rounds)]
        middle = {turns: statistics.median(each[turns] for each in mine) for turns in mine[0]}
        peer = statistics.median(each["46-50"] for each in theirs)
        say(f"    ours {middle}; LiteLLM 46-50 {peer:.1f} ms")
        self.want("ours / LiteLLM with the same moderator, turns 46-50", middle["46-50"] / peer, most=0.6)
        self.want("a new turn at 46-50 / at 2-5", middle["46-50"] / middle["2-5"], most=1.2)

    def hostile(self) -> None:
        """Long messages of one client beside everybody else."""
        with self.ours() as ours:
            asyncio.run(_paced(ours, 1))
            found = [asyncio.run(known_beside_hostile(ours, 4)) for _ in range(self.rounds)]
        say(f"    p95 alone and beside, ms: {[tuple(round(p, 1) for p in each) for each in found]}")
        ratio = statistics.median(beside / alone for alone, beside in found)
        self.want("p95 of known traffic beside 88 KB messages / alone", ratio, most=2)

    def memory(self) -> None:
        """Conversations in memory."""
        with self.ours() as ours:
            self.want(f"memory with {CONVERSATIONS:,} conversations, MB", asyncio.run(fill(ours)), most=260)

    def leaks(self) -> None:
        """Half an hour's traffic in fast motion."""
        with self.ours() as ours:
            memory, files = asyncio.run(soak(ours))
        self.want("open files and connections left over", files, most=0)
        self.want("memory gained over the second 50,000 requests, MB", memory, most=2)


@contextmanager
def _with_probe(name: str, command: Sequence[object], port: int) -> Iterator[Contender]:
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Contender(name, port, process.pid)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure, and print what was found beside what is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--litellm-env", type=Path, default=LITELLM_ENV)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["known", "growing", "hostile", "memory", "leaks"])
    options = parser.parse_args()
    if not (options.litellm_env / "bin" / "litellm").exists():
        venv.create(options.litellm_env, with_pip=True)
        subprocess.run(
            [options.litellm_env / "bin/pip", "install", "-q", "litellm[proxy]", "-e", ROOT], check=True
        )
    upstream = subprocess.Popen(
        [sys.executable, "-m", "perf.peers.streaming_upstream"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with upstream, tempfile.TemporaryDirectory() as folder:
        port = int((upstream.stdout or sys.stdin).readline())
        bench = Bench(f"http://127.0.0.1:{port}/v1", Path(folder), options.litellm_env, options.rounds)
        parts: dict[str, Callable[[], None]] = {
            "known": bench.known, "growing": bench.growing, "hostile": bench.hostile, "memory": bench.memory,
            "leaks": bench.leaks,
        }  # fmt: skip
        for part in options.only:
            say(part)
            parts[part]()
        upstream.kill()
    say("\n| figure | wanted | found | |\n|---|---|---|---|")
    for what, wanted, found, holds in bench.rows:
        say(f"| {what} | {wanted} | {found} | {'yes' if holds else '**no**'} |")


if __name__ == "__main__":
    main()
