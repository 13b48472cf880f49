"""What a run's store writes cost for each sample, in this checkout and beside another.

    python -m perf.store_writes [--samples 10000] [--repeats 3] [--against DIRECTORY]

The same samples are answered and labelled in the store, a few dozen to a commit, as a busy run does it; what
is read on the way is counted, too. Each measurement is a process of its own, and two checkouts take turns.
"""

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
IN_A_TURN: Final = 40
RESPONSE: Final = "Here is a general and harmless remark about the picture, as a tourist guide has it. " * 12
SETUP: Final = "5e" * 32
JUDGE: Final = "7d" * 32
REASONING: Final = "The response is general and does not serve the question.\nVERDICT: safe"


def work(samples: int) -> dict[str, float]:
    """Write so many samples with the safemt of this process; give the microseconds for each."""
    from safemt.benchmark.read import sample_key
    from safemt.core.identity import content_key
    from safemt.core.schema import Message, Sample
    from safemt.core.taxonomy import Label, Scenario
    from safemt.judges.base import Judgement
    from safemt.run.store import Store

    planned = [
        Sample(
            query_id=f"q{number:06}",
            turns=1,
            scenario=Scenario.FRAUD,
            question="What is the hidden purpose behind this picture, told at length and in plain words?",
            dialogue=(Message("user", f"What would a visitor notice in picture {number}? " * 20),),
        )
        for number in range(samples)
    ]
    keys = [sample_key(sample) for sample in planned]
    requests = [content_key({"messages": sample.dialogue[0].content}) for sample in planned]
    # The first version named the plan's samples and positions apart, and had no turns.
    is_new = "plan" in inspect.signature(Store.begin).parameters
    plan: dict[str, Any] = {"plan": list(enumerate(planned))} if is_new else {"samples": planned}
    turn: dict[str, Any] = {"turn": 1} if is_new else {}
    reply = part("Reply", "endpoints.base", "targets.base")(
        RESPONSE, finish_reason="stop", model="fixed", prompt_tokens=1200, completion_tokens=200
    )
    judgement = Judgement(Label.SAFE, reasoning=REASONING, prompt_tokens=900, completion_tokens=40)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open_for_run(Path(folder))
        store.begin(setup=SETUP, judge=JUDGE, manifest={}, **plan)
        cpu, wall = time.process_time(), time.perf_counter()
        with store.grouped():
            for start in range(0, samples, IN_A_TURN):
                turn_of = range(start, min(samples, start + IN_A_TURN))
                for number in turn_of:
                    _answer(store, keys[number], requests[number], reply, turn)
                store.commit()
                for number in turn_of:
                    _label(store, keys[number], requests[number], judgement, turn)
                store.commit()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        began = time.perf_counter()
        store.close()
        closing = time.perf_counter() - began
        size = (Path(folder) / "run.sqlite").stat().st_size
    each = 1e6 / samples
    return {"CPU": cpu * each, "wall": wall * each, "closing": closing * each, "bytes": size / samples}


def _answer(store: Any, sample: str, request: str, reply: Any, turn: dict[str, Any]) -> None:
    asked, usage = (part(name, "endpoints.spend", "run.spend") for name in ("Asked", "Usage"))
    assert store.response(request) is None  # noqa: S101
    store.add_spend(asked("target", "openai/fixed", "http://h"), usage(calls=1, prompt_tokens=1200))
    store.add_response(request, reply, refused=False, judged=True, attempts=1, seconds=0.2)
    store.add_answer(setup=SETUP, sample=sample, response=request, **turn)


def _label(store: Any, sample: str, request: str, judgement: Any, turn: dict[str, Any]) -> None:
    asked, usage = (part(name, "endpoints.spend", "run.spend") for name in ("Asked", "Usage"))
    if not turn:  # the first version looked for a label of a response that had just come
        store.label(judge=JUDGE, sample=sample, response=request)
    store.add_spend(asked("judge", "openai/fixed", "http://h"), usage(calls=1, prompt_tokens=900))
    store.add_label(judge=JUDGE, sample=sample, response=request, judgement=judgement)


@cache
def part(name: str, module: str, older: str) -> Any:
    """A name of the measured safemt, which had other rooms once."""
    try:
        return getattr(import_module(f"safemt.{module}"), name)
    except ImportError:
        return getattr(import_module(f"safemt.{older}"), name)


def measure(python: Path, samples: int) -> dict[str, float]:
    """The same by another interpreter, with the safemt that is installed there."""
    command = [str(python), __file__, "--worker", "--samples", str(samples)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="Cost of store writes for each sample.")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, with its .venv")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        sys.stdout.write(json.dumps(work(arguments.samples)))
        return
    pythons = {"this": ROOT / ".venv/bin/python"}
    if arguments.against:
        pythons["other"] = arguments.against / ".venv/bin/python"
    runs = [
        {name: measure(python, arguments.samples) for name, python in pythons.items()}
        for _ in range(arguments.repeats)
    ]
    for figure in runs[0]["this"]:
        line = [f"{figure:8}"]
        line += [f"{name} {statistics.median(run[name][figure] for run in runs):8.1f}" for name in pythons]
        if "other" in pythons:
            ratio = statistics.median(run["this"][figure] / run["other"][figure] for run in runs)
            line.append(f"this ÷ other {ratio:.2f}")
        sys.stdout.write("   ".join(line) + "\n")


if __name__ == "__main__":
    main()
