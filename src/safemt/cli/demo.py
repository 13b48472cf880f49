"""`safemt demo`: a simulated run on the shipped benchmark."""

from pathlib import Path

from safemt.cli.command import command
from safemt.cli.options import option

_AFTER = """
These figures are simulated: sim/drifting follows a known curve and reads nothing.

Next, evaluate a real model. With a key in OPENAI_API_KEY:
  safemt run --benchmark demo --target openai/MODEL --judge openai/JUDGE --out runs/first
Or on your own server (vLLM, SGLang, llama.cpp, Ollama, ...):
  safemt run --benchmark demo --target openai/MODEL --target-base-url http://localhost:8000/v1 \\
    --judge openai/JUDGE --out runs/first"""


@command(
    option("out", "Run directory.", default=Path("runs/demo")),
    examples=("safemt demo", "safemt demo --out runs/simulated"),
)
def demo(*, out: Path) -> int | None:
    """Evaluates a simulated model on the shipped benchmark, and writes a report."""
    from safemt.benchmark.named import DEMO
    from safemt.cli.printing import finish_run, stderr
    from safemt.report.export import write_runs
    from safemt.report.runs import open_runs
    from safemt.run.config import config_from
    from safemt.run.plan import plan_run
    from safemt.run.start import announce, start_run

    config = config_from({"benchmark": DEMO, "target": "sim/drifting"})
    plan = plan_run(config, command=["safemt", "demo", "--out", str(out)])
    announce(plan, out, console=stderr())
    start_run(plan, out, console=stderr())
    with open_runs([out]) as runs:
        code = finish_run(out, as_json=False, results=runs[0].results)
        [page] = write_runs(runs, [out / "report.html"])
    print(f"Report: {page}\n{_AFTER}")
    return code
