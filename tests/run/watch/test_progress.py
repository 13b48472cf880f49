"""What the progress line says; how it looks on a terminal is in tests/e2e/test_progress.py."""

import asyncio
import io
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.spend import Asked, Usage
from safemt.judges.refusal import RefusalJudge
from safemt.run.engine import Engine, setup_of
from safemt.run.running import Tracker
from safemt.run.store import Store
from safemt.run.watch import progress as progress_module
from safemt.run.watch.progress import progress_line, show_progress
from safemt.targets.openai import OpenAITarget


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    store = Store.open_for_run(tmp_path)
    store.close()
    endpoint = ChatEndpoint(model="m", base_url="http://localhost/v1", sampling=Sampling(), timeout=1.0)
    return Engine(
        store=store,
        setup=setup_of(OpenAITarget(endpoint)),
        judge=RefusalJudge(),
        concurrency=8,
        tracker=Tracker(total=1200, done=200, already_done=200),
    )


def test_the_line_begins_with_how_far_it_is(engine: Engine) -> None:
    assert progress_line(engine, simulated=False) == "200/1,200 samples"


def test_the_line_tells_rate_time_left_asr_tokens_retries_and_the_last_problem(engine: Engine) -> None:
    tracker = engine.tracker
    tracker.started = time.monotonic() - 10
    tracker.done = 300
    tracker.graded, tracker.unsafe = Counter({8: 10, 1: 100}), Counter({1: 7})
    tracker.ungraded = 3
    engine.spend.add(
        Asked("target", "openai/m", "http://localhost"), Usage(prompt_tokens=12345, completion_tokens=67)
    )
    tracker.last_problem = "it broke"
    engine._calls.limits.of("http://localhost").retries = 5
    line = progress_line(engine, simulated=True)
    assert line == (
        "300/1,200 samples · 10.0/s · 0:01:30 left · ASR 1t 7 % 8t 0 % (simulated) · 3 ungraded"
        " · 12,345 tokens in, 67 out · 5 retries, limit 1 · last problem: it broke"
    )


def test_a_long_problem_is_cut(engine: Engine) -> None:
    engine.tracker.last_problem = "x" * 10_000
    assert len(progress_line(engine, simulated=False)) < 250


def console(*, terminal: bool, width: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, _environ={})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def until(console: Console, text: str) -> None:
    async with asyncio.timeout(30):
        while text not in written(console):  # noqa: ASYNC110, a console has no event to wait for
            await asyncio.sleep(0.01)


async def test_plain_lines_come_at_intervals_and_at_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "_PLAIN_SECONDS", 0.02)
    plain = console(terminal=False)
    engine.tracker.last_problem = "[/bold] [red]\n" + "long " * 30
    async with show_progress(engine, plain, simulated=False):
        await until(plain, "200/1,200 samples")
        engine.tracker.done = 1200
    assert written(plain).splitlines()[-2].startswith("1,200/1,200 samples")
    assert "[/bold] [red]" in written(plain)
    assert "\x1b" not in written(plain)


async def test_a_run_with_nothing_to_do_says_nothing(engine: Engine) -> None:
    plain = console(terminal=False)
    async with show_progress(engine, plain, simulated=False):
        pass
    assert written(plain) == ""


async def test_a_terminal_gets_one_live_line_whose_last_state_stays(engine: Engine) -> None:
    live = console(terminal=True)
    engine.tracker.last_problem = "[/bold] [red] " + "long " * 100
    async with show_progress(engine, live, simulated=False):
        await until(live, "200/1,200 samples")
        live.print("a remark")
        engine.tracker.done = 1200
    text = written(live)
    assert "\x1b[?25l" in text
    assert text.index("200/1,200 samples") < text.index("a remark") < text.rindex("1,200/1,200 samples")
    assert text.rstrip().splitlines()[-1].strip()
    assert text.rindex("\x1b[?25h") < text.rindex("1,200/1,200 samples")


async def test_a_display_that_breaks_does_not_break_the_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "_PLAIN_SECONDS", 0.01)
    broken = Console(file=(closed := io.StringIO()), force_terminal=False)
    closed.close()
    finished = False
    async with show_progress(engine, broken, simulated=False):
        await asyncio.sleep(0.05)
        finished = True
    assert finished


async def test_the_line_stays_when_the_run_ends_in_an_error(engine: Engine) -> None:
    plain = console(terminal=False)

    async def broken_run() -> None:
        async with show_progress(engine, plain, simulated=False):
            engine.tracker.done = 300
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken_run()
    assert written(plain).startswith("300/1,200 samples")
