"""The commands and their options. Imports stand inside the functions so that `--help` stays quick."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from safemt.cli import app
from safemt.cli.options import (
    AsJson,
    Concurrency,
    JudgeApiKeyEnv,
    JudgeBaseUrl,
    JudgeMaxOutputTokens,
    JudgeName,
    JudgeTemperature,
    JudgeWithImage,
    Routing,
    RoutingOption,
    Timeout,
    read_temperature,
)
from safemt.core.errors import UsageError


class HistoryOption(StrEnum):
    """`--history`."""

    SCRIPTED = "scripted"
    LIVE = "live"


_DEMO = "demo"
_AFTER_DEMO = """
These figures are simulated: sim/drifting follows a known curve and reads nothing.

Next, a real model. With a key in OPENAI_API_KEY:
  safemt run --benchmark demo --target openai/MODEL --judge openai/JUDGE --out runs/first
or on a server of your own (vLLM, SGLang, llama.cpp, Ollama, ...):
  safemt run --benchmark demo --target openai/MODEL --target-base-url http://localhost:8000/v1 \\
    --judge openai/JUDGE --out runs/first"""


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"safemt {version('safemt')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def check(
    path: Annotated[
        str, typer.Argument(help="A benchmark: folder, file, demo, or hub:OWNER/NAME[@REVISION].")
    ],
    as_json: AsJson = False,
) -> None:
    """Say what is in a benchmark and what is wrong.

    Exit code 1 if it has errors.
    """
    from safemt.benchmark.findings import errors_of
    from safemt.cli.printing import print_check, print_json
    from safemt.report.check import check_json

    benchmark = _read(path, text_only=False)
    if as_json:
        print_json(check_json(benchmark))
    else:
        print_check(benchmark)
    if errors_of(benchmark.findings):
        raise typer.Exit(1)


@app.command()
def run(
    benchmark: Annotated[
        str, typer.Option(help="A benchmark: folder, file, demo, or hub:OWNER/NAME[@REVISION].")
    ],
    target: Annotated[
        str, typer.Option(help="Model under test: openai/MODEL, replay/PATH, sim/steady|drifting|brittle.")
    ],
    out: Annotated[Path, typer.Option(help="Run directory; an existing one is continued.")],
    judge: JudgeName = "",
    turns: Annotated[
        str | None, typer.Option(help="Numbers of turns to run, such as 1,2,4. Default: all.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many queries, spread over the scenarios.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the selection, the order and simulated targets.")] = 0,
    history: Annotated[
        HistoryOption, typer.Option(help="Assistant turns: as scripted, or the target's own.")
    ] = HistoryOption.SCRIPTED,
    concurrency: Concurrency = 20,
    temperature: Annotated[
        str, typer.Option(help="Of the target; `default` leaves it to the endpoint.")
    ] = "0",
    max_output_tokens: Annotated[int, typer.Option(min=1, help="Of the target's responses.")] = 1024,
    timeout: Timeout = 120.0,
    text_only: Annotated[bool, typer.Option("--text-only", help="Ask without images.")] = False,
    skip_missing_images: Annotated[
        bool, typer.Option("--skip-missing-images", help="Leave out samples whose image is missing.")
    ] = False,
    target_base_url: Annotated[
        str | None, typer.Option(help="Any OpenAI-compatible server, such as http://localhost:8000/v1.")
    ] = None,
    target_api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the target's key. Default: OPENAI_API_KEY.")
    ] = None,
    judge_base_url: JudgeBaseUrl = None,
    judge_api_key_env: JudgeApiKeyEnv = None,
    judge_temperature: JudgeTemperature = "0",
    judge_max_output_tokens: JudgeMaxOutputTokens = 512,
    routing: Routing = RoutingOption.SCENARIO,
    judge_with_image: JudgeWithImage = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model, judge it, print the figures.

    Every dialogue of the benchmark is asked and its last response judged.

    The same command continues a run that was interrupted; a finished run makes no call.
    """  # fmt: skip
    from safemt.benchmark.images import ImageFolder
    from safemt.benchmark.read import require_usable
    from safemt.benchmark.select import select_samples
    from safemt.cli.printing import finish_run, stderr
    from safemt.judges.open import open_judge
    from safemt.judges.rubric import Routing as JudgeRouting
    from safemt.run.protocol import History
    from safemt.run.start import RunPlan, describe_benchmark, start_run
    from safemt.targets.base import Sampling
    from safemt.targets.open import open_target

    if text_only and skip_missing_images:
        raise UsageError(
            "--text-only needs no images, so --skip-missing-images would do nothing; leave one out."
        )
    judge = judge or _default_judge(target)
    rounds = _turns(turns)
    sampling = Sampling(read_temperature(temperature, "--temperature"), max_output_tokens)
    judging = Sampling(read_temperature(judge_temperature, "--judge-temperature"), judge_max_output_tokens)
    console = stderr()
    read = require_usable(_read(benchmark, text_only=text_only), skip_missing_images=skip_missing_images)
    samples = select_samples(read.samples, turns=rounds, limit=limit, seed=seed)
    images = ImageFolder(read.path, boundary=read.boundary)
    opened_target = open_target(
        target,
        base_url=target_base_url,
        api_key_env=target_api_key_env,
        sampling=sampling,
        timeout=timeout,
        seed=seed,
        images=images,
    )
    opened_judge = open_judge(
        judge,
        base_url=judge_base_url,
        api_key_env=judge_api_key_env,
        sampling=judging,
        routing=JudgeRouting(routing),
        with_image=judge_with_image,
        timeout=timeout,
        images=images,
    )
    simulated = " (simulated)" if opened_target.simulated else ""
    skipped = len(read.imageless) if skip_missing_images else 0
    lengths = ", ".join(str(k) for k in sorted({sample.turns for sample in samples}))
    console.print(
        f"{read.name}: {len(samples):,} samples at {lengths} turns"
        f"{f', {skipped:,} without an image left out' if skipped else ''}"
        f" → {opened_target.name}{simulated}, judged by {opened_judge.name} → {out}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    manifest: dict[str, Any] = {
        "command": ["safemt", *sys.argv[1:]],
        "seed": seed,
        "limit": limit,
        "text_only": text_only,
        "skipped_missing_images": skipped,
        "target_base_url": target_base_url,
        "judge_base_url": judge_base_url,
        "timeout": timeout,
    }
    described = describe_benchmark(read, samples)
    del read  # with all its samples, which need not stay in memory
    start_run(
        RunPlan(
            benchmark=described,
            samples=samples,
            target=opened_target,
            judge=opened_judge,
            history=History(history),
            concurrency=concurrency,
            manifest=manifest,
        ),
        out,
        console=console,
    )
    finish_run(out, as_json=as_json)


@app.command()
def score(
    path: Annotated[Path, typer.Argument(help="A run directory, or a folder of published label files.")],
    as_json: AsJson = False,
    compat: Annotated[bool, typer.Option("--compat", help="Exactly the published computation.")] = False,
    target: Annotated[
        str | None, typer.Option(help="Which model's labels, where a folder holds several.")
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="JSONL of labels that people gave to a random part of the run.")
    ] = None,
) -> None:
    """Print ASR and Safety Index of a run.

    Or of label files in the published layout.
    """
    from safemt.benchmark.recorded import read_recorded
    from safemt.cli.printing import print_json, stdout
    from safemt.report.results import results_json, results_of
    from safemt.report.tables import print_results

    by_people = [] if people is None else read_recorded(people, field="label")
    results = results_of(
        path, target=target, people=[(row.query_id, row.turns, row.value) for row in by_people]
    )
    if as_json:
        print_json(results_json(results, compat=compat))
    else:
        print_results(results, stdout(), compat=compat)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where to put the run.")] = Path("runs/demo"),
) -> None:
    """See it work: no key, no network.

    A simulated model is asked a small benchmark that comes with safemt.
    """
    from safemt.report.export import write_report

    run(benchmark=_DEMO, target="sim/drifting", judge="refusal", out=out)
    [page] = write_report([out], [out / "report.html"], redact=False, force=False)
    print(f"Report: {page}\n{_AFTER_DEMO}")


def _read(name: str, *, text_only: bool) -> Any:
    import safemt.benchmark
    from safemt.benchmark.hub import PREFIX, fetch_from_hub
    from safemt.benchmark.read import read_benchmark

    if name.startswith(PREFIX):
        folder, boundary = fetch_from_hub(name.removeprefix(PREFIX))
        return read_benchmark(folder, text_only=text_only, boundary=boundary, name=name.removeprefix(PREFIX))
    if name == _DEMO:  # a folder of that name is ./demo
        name = str(Path(safemt.benchmark.__file__).parent / _DEMO)
    return read_benchmark(Path(name), text_only=text_only)


def _default_judge(target: str) -> str:
    if target.startswith("sim/"):
        return "refusal"
    raise UsageError(
        "No judge was given. Choose one with --judge: openai/MODEL (another model than the target), "
        "recorded/PATH, or refusal (offline and weak). The model under test never judges itself by default."
    )


def _turns(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        turns = sorted({int(part) for part in text.split(",")})
    except ValueError:
        turns = []
    if not turns or turns[0] < 1:
        raise UsageError(f"--turns takes numbers with commas, such as 1,2,4,6,8, not {text!r}.")
    return turns
