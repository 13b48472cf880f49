"""How fast `safemt run` is and what it takes, beside its peers on the same server in one run.

    python -m perf.run_speed [--repeats 3] [--only PART ...] [--write docs/performance.md]

Each part measures commands in processes of their own, in turns, and gives medians, and a last table sets what
was found beside what is wanted. `--write` puts the tables into the document, between its marks, and the plot
beside it. Takes about ten minutes on a machine with nothing else to do.
"""

import argparse
import math
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perf.made_up import append_queries, write_benchmark
from perf.plot import scale_plot
from perf.processes import ROOT, FixedLatencyServer, Seen, Usage, fixed_latency_server, measure

CONCURRENCIES: Final = (50, 400)
LATENCY_LIMIT: Final = 1 / (2 * 0.2)
"""Samples per second that the server's latency allows for each call at once."""
WANTED_TIMES: Final = {"bare aiohttp loop": 0.70, "published scripts' shape": 2.3, "Inspect AI": 8.0}
"""How many times as fast as each contender a run is to be."""
SCALE: Final = (1_000, 3_000, 10_000, 30_000, 100_000)
PEERS_ENV: Final = ROOT / ".venv-bench-inspect"
PEERS_PYTHON: Final = PEERS_ENV / "bin" / "python"
MARKS: Final = ("<!-- measured: begin -->", "<!-- measured: end -->")
TEXT_BYTES: Final = """
    SELECT (SELECT sum(length(CAST(question AS BLOB)) + length(CAST(dialogue AS BLOB))) FROM samples)
         + (SELECT sum(length(CAST(text AS BLOB))) FROM responses)
         + (SELECT sum(length(CAST(reasoning AS BLOB))) FROM labels),
           (SELECT count(*) FROM samples)
"""

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Run:
    """One command against the server."""

    samples: int
    usage: Usage
    seen: Seen

    @property
    def rate(self) -> float:
        """Samples per second between the first request and the last reply."""
        return self.samples / self.seen.seconds


class Bench:
    """What the parts share: the server, a folder for made-up benchmarks and runs, how often to repeat."""

    def __init__(self, server: FixedLatencyServer, folder: Path, repeats: int) -> None:
        self.server = server
        self.folder = folder
        self.repeats = repeats
        self.verdicts: list[Row] = []
        """What is wanted, what was found, and whether that holds."""
        self._runs = 0

    def want(self, what: str, found: float, *, least: float | None = None, most: float | None = None) -> None:
        """Hold a figure against a bound of issue and design."""
        wanted = f"≥ {least:g}" if least is not None else f"≤ {most:g}"
        holds = (least is None or found >= least) and (most is None or found <= most)
        self.verdicts.append((what, wanted, f"{found:.2f}", "yes" if holds else "**no**"))

    def benchmark(self, samples: int) -> Path:
        """A benchmark with images, made once."""
        folder = self.folder / f"benchmark-{samples}"
        return folder if folder.exists() else write_benchmark(folder, samples)

    def new_out(self) -> Path:
        """A run directory that does not exist yet."""
        self._runs += 1
        return self.folder / f"run-{self._runs}"

    def safemt(self, benchmark: Path, samples: int, concurrency: int, *, out: Path | None = None) -> Run:
        """`safemt run` with everything on, the judge by its rubric; `samples` new ones."""
        out = out or self.new_out()
        command = [
            sys.executable, "-m", "safemt", "run", "--benchmark", benchmark, "--out", out, "--concurrency",
            concurrency, "--target", "openai/fixed", "--target-base-url", f"{self.server.root}/target/v1",
            "--judge", "openai/fixed", "--judge-base-url", f"{self.server.root}/judge/v1",
        ]  # fmt: skip
        # FORCE_COLOR: the live display is painted as on a terminal.
        return self.against_server(
            command, samples, env={"OPENAI_API_KEY": "sk-none-at-all", "FORCE_COLOR": "1"}
        )

    def against_server(
        self, command: Sequence[object], samples: int, *, env: dict[str, str] | None = None
    ) -> Run:
        """Measure a command that makes two calls for each of `samples`."""
        self.server.reset()
        usage = measure(command, env=env, most_seconds=300)
        seen = self.server.seen()
        if seen.calls != 2 * samples:
            sys.exit(f"{command} made {seen.calls} calls for {samples} samples; its figures mean nothing.")
        return Run(samples, usage, seen)


def speed(bench: Bench) -> str:
    """Samples per second beside the peers."""
    missing = install_peers()
    rows: list[Row] = []
    notes = [missing] if missing else []
    for concurrency in CONCURRENCIES:
        contenders = _contenders(bench, concurrency, with_peers=not missing)
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        for _ in range(bench.repeats):
            for name, contender in contenders.items():
                runs[name].append(contender())
                say(f"{concurrency} {name}: {runs[name][-1].rate:.0f}/s")
        rates = {name: statistics.median(run.rate for run in of) for name, of in runs.items()}
        for name, of in runs.items():
            times = statistics.median(a.rate / b.rate for a, b in zip(runs["safemt run"], of, strict=True))
            # What the latency rules out at this concurrency is not to be wanted of anybody.
            wanted = WANTED_TIMES.get(name, math.inf)
            if wanted * rates[name] <= LATENCY_LIMIT * concurrency:
                bench.want(f"safemt run ÷ {name}, {concurrency} at once", times, least=wanted)
            rows.append(
                (
                    str(concurrency), name, f"{of[0].samples:,}", f"{rates[name]:.0f}", f"{times:.2f}",
                    f"{1e3 * median_of(of, lambda r: r.usage.cpu / r.seen.calls):.2f}",
                    f"{median_of(of, lambda r: r.usage.rss):.0f}",
                    f"{max(run.seen.max_in_flight for run in of)}",
                    f"{100 * median_of(of, lambda r: r.seen.cpu / r.seen.seconds):.0f} %",
                )
            )  # fmt: skip
        most = max(run.seen.max_in_flight for run in runs["safemt run"])
        bench.want(f"calls seen at once, {concurrency} allowed", most, most=concurrency)
    head = (
        "concurrency", "contender", "samples", "samples/s", "safemt ÷ it", "CPU ms/call", "peak RSS MB",
        "most in flight", "server CPU",
    )  # fmt: skip
    limits = " and ".join(f"{LATENCY_LIMIT * each:,.0f}/s at {each} at once" for each in CONCURRENCIES)
    notes.append(f"Two calls of 200 ms for each sample allow {limits}, whoever makes them.")
    return "\n\n".join(["### Samples per second", table(head, rows), *notes])


def _contenders(bench: Bench, concurrency: int, *, with_peers: bool) -> dict[str, Callable[[], Run]]:
    root = bench.server.root
    many, few = (4_000, 1_000) if concurrency > 100 else (1_000, 300)
    benchmark = bench.benchmark(many)

    def peer(python: object, module: str, samples: int, *arguments: object) -> Callable[[], Run]:
        command = [python, "-m", f"perf.peers.{module}", benchmark, root, *arguments, samples]
        return lambda: bench.against_server(command, samples)

    contenders = {
        "bare aiohttp loop": peer(sys.executable, "bare_aiohttp", many, concurrency),
        "safemt run": lambda: bench.safemt(benchmark, many, concurrency),
    }
    if with_peers:
        if concurrency > 100:  # its concurrency is its own: 20 batches of 16
            contenders["published scripts' shape"] = peer(PEERS_PYTHON, "published_shape", few)
        contenders["Inspect AI"] = peer(PEERS_PYTHON, "inspect_task", 300, concurrency)
    return contenders


def cost_per_call(bench: Bench) -> str:
    """CPU for one call at concurrency 500 beside 50."""
    benchmark = bench.benchmark(2_000)
    spent: dict[int, list[float]] = {50: [], 500: []}
    most: dict[int, int] = {}
    for _ in range(bench.repeats):
        for concurrency, times in spent.items():
            out = bench.new_out()
            run = bench.safemt(benchmark, 2_000, concurrency, out=out)
            idle = bench.safemt(benchmark, 0, concurrency, out=out)  # reads, plans and reports, calls nobody
            times.append(1e3 * (run.usage.cpu - idle.usage.cpu) / run.seen.calls)
            most[concurrency] = max(most.get(concurrency, 0), run.seen.max_in_flight)
            say(f"concurrency {concurrency}: {times[-1]:.3f} ms CPU per call")
    ratio = statistics.median(high / low for low, high in zip(spent[50], spent[500], strict=True))
    bench.want("CPU of a call at 500 at once ÷ at 50", ratio, most=1.05)  # as near as it can be told
    bench.want("calls seen at once, 500 allowed", most[500], most=500)
    rows = [
        (str(concurrency), f"{statistics.median(times):.3f}", str(most[concurrency]))
        for concurrency, times in spent.items()
    ]
    return (
        "### Cost of a call\n\nCPU of `safemt run` on 2,000 samples, less that of the same command with "
        f"nothing left to do.\n\n{table(('concurrency', 'CPU ms/call', 'most in flight'), rows)}\n\n"
        f"500 ÷ 50, median of the pairs: {ratio:.2f}"
    )


def memory_store_resume(bench: Bench) -> str:
    """Peak memory at 2,000 and 10,000 samples, size of the store, and how soon a resumption calls."""
    small = bench.safemt(bench.benchmark(2_000), 2_000, 400)
    say(f"2,000 samples: {small.usage.rss:.0f} MB")
    benchmark, out = bench.benchmark(10_000), bench.new_out()
    large = bench.safemt(benchmark, 10_000, 400, out=out)
    say(f"10,000 samples: {large.usage.rss:.0f} MB")
    store = out / "run.sqlite"
    with sqlite3.connect(store) as database:
        texts, samples = database.execute(TEXT_BYTES).fetchone()
    database.close()
    size = store.stat().st_size
    waits = []
    for repeat in range(bench.repeats):
        append_queries(benchmark, range(2_000 + repeat, 2_001 + repeat))
        resumed = bench.safemt(benchmark, 5, 400, out=out)
        waits.append(resumed.seen.first - resumed.usage.started)
        say(f"resumed after {waits[-1]:.2f} s")
    bench.want("peak RSS at 10,000 samples, MB", large.usage.rss, most=250)
    bench.want("peak RSS at 10,000 samples ÷ at 2,000", large.usage.rss / small.usage.rss, most=1.10)
    bench.want("store beyond the texts, bytes a sample", (size - texts) / samples, most=2048)
    bench.want("first call of a resumption over 10,000, s", statistics.median(waits), most=2.0)
    rows = [
        ("peak RSS at 2,000 samples", f"{small.usage.rss:.0f} MB"),
        ("peak RSS at 10,000 samples", f"{large.usage.rss:.0f} MB"),
        ("the second ÷ the first", f"{large.usage.rss / small.usage.rss:.2f}"),
        ("store for each sample", f"{size / samples:,.0f} bytes"),
        ("of it beyond the texts", f"{(size - texts) / samples:,.0f} bytes"),
        ("first new call of a resumption over 10,000 finished samples", f"{statistics.median(waits):.2f} s"),
    ]
    return f"### Memory, store, resumption\n\nAt concurrency 400.\n\n{table(('', ''), rows)}"


@dataclass(frozen=True, slots=True)
class Point:
    """What a simulated run of one size took."""

    samples: int
    seconds: float
    megabytes: float


def scale(bench: Bench) -> tuple[str, list[Point]]:
    """Time and memory from 1,000 to 100,000 samples, with a simulated target."""
    points = []
    for samples in SCALE:
        folder = write_benchmark(bench.folder / f"text-{samples}", samples, images=False)
        command = [
            sys.executable, "-m", "safemt", "run", "--benchmark", folder, "--text-only", "--target",
            "sim/drifting", "--out", bench.new_out(),
        ]  # fmt: skip
        usage = measure(command, most_seconds=600)
        points.append(Point(samples, usage.wall, usage.rss))
        say(f"{samples:,} simulated: {usage.wall:.1f} s, {usage.rss:.0f} MB")
    first, last = points[0], points[-1]
    growth = (last.seconds / first.seconds) / (last.samples / first.samples)
    bench.want("time of a sample at 100,000 ÷ at 1,000", growth, most=1.0)
    rows = [
        (f"{p.samples:,}", f"{p.seconds:.1f}", f"{1e3 * p.seconds / p.samples:.2f}", f"{p.megabytes:.0f}")
        for p in points
    ]
    head = ("samples", "s", "ms/sample", "peak RSS MB")
    title = "### From 1,000 to 100,000 samples\n\nWith `--target sim/drifting`, text only."
    plot = "![time and memory over the number of samples](performance-scale.svg)"
    return f"{title}\n\n{table(head, rows)}\n\n{plot}", points


def start_and_size(bench: Bench) -> str:
    """How long `--help` takes and how large a base install is."""
    command = [sys.executable, "-m", "safemt", "--help"]
    times = [measure(command, most_seconds=30).wall for _ in range(7)]
    bench.want("`safemt --help`, s", statistics.median(times), most=0.3)
    rows = [("`safemt --help`", f"{statistics.median(times):.2f} s"), ("base install", _install_size(bench))]
    return f"### Start and size\n\n{table(('', ''), rows)}"


def _install_size(bench: Bench) -> str:
    folder = bench.folder / "base-install"
    command = [sys.executable, "-m", "pip", "install", "-qq", "--target", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        return f"not measured: pip could not install it ({done.stderr.strip().splitlines()[-1][:120]})"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    bench.want("base install, MB", size, most=250)
    return f"{size:.0f} MB"


def install_peers() -> str | None:
    """Make the peers' environment if it is not there; the reason if that cannot be done."""
    if not (PEERS_ENV / ".installed").exists():
        shutil.rmtree(PEERS_ENV, ignore_errors=True)
        venv.create(PEERS_ENV, with_pip=True)
        command = [str(PEERS_PYTHON), "-m", "pip", "install", "-qq", "inspect-ai", "openai", "httpx"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            shutil.rmtree(PEERS_ENV, ignore_errors=True)
            why = done.stderr.strip().splitlines()[-1][:200]
            return f"Not measured: the published shape and Inspect AI, which could not be installed ({why})."
        (PEERS_ENV / ".installed").touch()
    return None


def table(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def median_of(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """The median of one figure."""
    return statistics.median(map(figure, runs))


def say(line: str) -> None:
    """Tell how far the measurement is."""
    sys.stderr.write(f"  {line}\n")


def main() -> None:
    """Measure, print the tables, and write them where that is wanted."""
    parts: dict[str, Callable[[Bench], str]] = {
        "speed": speed,
        "cost": cost_per_call,
        "memory": memory_store_resume,
        "start": start_and_size,
    }
    parser = argparse.ArgumentParser(description="Speed and memory of `safemt run`, beside its peers.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*parts, "scale"], default=[*parts, "scale"])
    parser.add_argument("--write", type=Path, help="the document to put the tables into")
    arguments = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    texts = []
    points: list[Point] = []
    with fixed_latency_server() as server, tempfile.TemporaryDirectory() as folder:
        bench = Bench(server, Path(folder), arguments.repeats)
        for name, part in parts.items():
            if name in arguments.only:
                texts.append(part(bench))
                say(texts[-1])
        if "scale" in arguments.only:
            text, points = scale(bench)
            texts.append(text)
            say(text)
    state = (
        f"{os.cpu_count()} CPU cores, Python {platform.python_version()}, {platform.system()}; medians of "
        f"{arguments.repeats} repeats in turns. Others on the machine kept {load:.1f} processes busy when it "
        f"began; it took {(time.monotonic() - began) / 60:.0f} minutes."
    )
    wanted = table(("figure", "wanted", "found", "holds"), bench.verdicts)
    measured = "\n\n".join([state, f"### Wanted and found\n\n{wanted}", *texts])
    sys.stdout.write(measured + "\n")
    if arguments.write:
        before, _, rest = arguments.write.read_text(encoding="utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        text = f"{before}{MARKS[0]}\n\n{measured}\n\n{MARKS[1]}{after}"
        arguments.write.write_text(text, encoding="utf-8")
        if points:
            plot = scale_plot([(p.samples, p.seconds, p.megabytes) for p in points])
            arguments.write.with_name("performance-scale.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main()
