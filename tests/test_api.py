"""The Python interface: what a notebook or a program gets, and what it gets when something is wrong."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import safemt
from e2e.command import Command, in_process
from safemt.core.errors import DataError, RunError, SafemtError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No judge check of the developer's own corrects a figure here."""
    monkeypatch.setenv("SAFEMT_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> safemt.Run:
    folder = tmp_path_factory.mktemp("runs") / "drifting"
    return safemt.evaluate("demo", target="sim/drifting", out=folder, quiet=True)


def test_a_program_gets_what_the_command_prints(
    run: safemt.Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command: Command = in_process(tmp_path, monkeypatch, capsys)
    scored = command("score", str(run.path), "--json").json
    eight = run.results.turns[8]
    assert eight.asr is not None
    assert scored["turns"]["8"]["asr"] == eight.asr.value
    assert scored["turns"]["8"]["interval"] == [eight.asr.interval.low, eight.asr.interval.high]
    assert (scored["turns"]["8"]["n"], scored["simulated"]) == (eight.n, True)


async def test_it_works_while_a_loop_runs_and_lets_other_tasks_go_on(tmp_path: Path) -> None:
    blocking = safemt.evaluate("demo", target="sim/steady", out=tmp_path / "a", quiet=True)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    beating = asyncio.create_task(beat())
    awaited = await safemt.aevaluate("demo", target="sim/steady", out=tmp_path / "b", quiet=True)
    beating.cancel()
    assert beats > 3
    assert awaited.results.turns == blocking.results.turns


def test_the_same_call_continues(run: safemt.Run) -> None:
    before = run.samples(text=False)
    again = safemt.evaluate("demo", target="sim/drifting", out=run.path, quiet=True)
    assert again.results.turns == run.results.turns
    assert len(again.results.samples) == len(before) == 340


def test_samples_have_one_row_each_with_every_column(run: safemt.Run) -> None:
    table = run.samples()
    names = list(getattr(table, "column_names", None) or table.columns)
    assert len(table) == 340
    for name in ("id", "query_id", "turns", "scenario", "method", "twin_of", "outcome", "label", "response"):
        assert name in names
    assert "label_refusal" in names
    without = run.samples(text=False)
    kept = list(getattr(without, "column_names", None) or without.columns)
    assert {"question", "response"}.isdisjoint(kept)
    assert len(run.figures()) > 100


def test_it_shows_itself(run: safemt.Run, tmp_path: Path) -> None:
    chart = run.plot("asr")
    assert chart.standalone().startswith("<svg")
    shown = run._repr_html_()
    assert "<svg" in shown
    assert "simulated" in shown
    assert "drifting" in str(run)
    assert run.report(tmp_path / "r.md").read_text().startswith("# Safety report")
    other = safemt.evaluate("demo", target="sim/steady", out=tmp_path / "steady", quiet=True)
    compared = safemt.compare(other, run)
    assert "ASR at 8" in str(compared) or "8" in str(compared)
    assert "<table" in compared._repr_html_()


def test_a_judge_is_checked(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "response": text, "label": label} for text, label in (
        ("I cannot help with that.", "safe"), ("Here you are: done.", "unsafe"),
    )]  # fmt: skip
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    checked = safemt.judge_check(path, judge="refusal", quiet=True)
    assert checked.agreement.accuracy is not None
    assert checked.agreement.accuracy.value == 1.0
    assert "refusal against labels" in str(checked)


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        ({"target": "openai/m"}, UsageError, "no_judge"),
        ({"target": "sim/nobody"}, UsageError, "unknown_target"),
        ({"target": {"name": "sim/steady", "temprature": 1}}, DataError, "wrong_form"),
        ({"target": "sim/steady", "speed": 3}, DataError, "wrong_form"),
        ({"target": "sim/steady", "selection": {"limit": 0}}, DataError, "wrong_form"),
    ],
)
def test_a_wrong_setting_is_a_typed_error(
    tmp_path: Path, arguments: dict[str, object], error: type[SafemtError], code: str
) -> None:
    with pytest.raises(error) as caught:
        safemt.evaluate("demo", out=tmp_path / "x", quiet=True, **arguments)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert "--" not in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        safemt.load(tmp_path)
    assert caught.value.code == "not_a_run"
    (tmp_path / "run.sqlite").write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(RunError):
        safemt.load(tmp_path)


def test_an_unknown_chart_and_a_missing_one_say_so(run: safemt.Run) -> None:
    with pytest.raises(UsageError) as caught:
        run.plot("pie")
    assert caught.value.code == "unknown_plot"


def test_the_names_are_there_and_importing_is_quick() -> None:
    assert {"evaluate", "load", "compare", "judge_check", "open_moderator", "__version__"} <= set(dir(safemt))
    assert safemt.__version__ == "0.1.0"
    with pytest.raises(AttributeError):
        safemt.nothing  # noqa: B018
    heavy = ["numpy", "aiohttp", "rich", "yaml", "onnxruntime", "pyarrow", "jinja2", "msgspec"]
    code = f"import sys, safemt; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_interrupt_loses_nothing(tmp_path: Path) -> None:
    """A notebook's stop button: SIGINT in the main thread while a call runs."""
    code = f"""
import asyncio, os, signal, safemt
from safemt.core.errors import RunStopped
from safemt.targets.simulated import SimulatedTarget
plain, asked = SimulatedTarget.respond, []
async def slow(self, messages, sample):
    asked.append(sample)
    if len(asked) == 20:
        os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(0.01)
    return await plain(self, messages, sample)
SimulatedTarget.respond = slow
out = {str(tmp_path / "run")!r}
try:
    safemt.evaluate("demo", target="sim/steady", out=out, limits={{"concurrency": 4}}, quiet=True)
except RunStopped:
    print("stopped", len([s for s in safemt.load(out).results.samples if s.label]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("stopped"), done.stderr
    stored = int(done.stdout.split()[1])
    assert 0 < stored < 340
    finished = safemt.evaluate("demo", target="sim/steady", out=tmp_path / "run", quiet=True)
    assert finished.results.complete
