"""The commands and their options. Imports stand inside the functions so that `--help` stays quick."""

import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import typer

from safemt.cli import app
from safemt.cli.options import (
    ActionOption,
    AsJson,
    BenchmarkName,
    Concurrency,
    ExecutorName,
    ExecutorOption,
    HistoryName,
    HistoryOption,
    JudgeApiKeyEnv,
    JudgeBaseUrl,
    JudgeMaxOutputTokens,
    JudgeName,
    JudgeTemperature,
    JudgeWithImage,
    Limit,
    LogJson,
    MaxCost,
    MaxOutputTokens,
    MaxTokens,
    ModeratorApiKeyEnv,
    ModeratorBaseUrl,
    ModeratorMaxOutputTokens,
    ModeratorName,
    ModeratorThresholds,
    OnErrorOption,
    PolicyFolder,
    PositionOption,
    Prices,
    RayAddress,
    RayWorkers,
    Routing,
    RoutingOption,
    Seed,
    Shards,
    SkipMissingImages,
    TargetBaseUrl,
    TargetName,
    TextOnly,
    Timeout,
    Turns,
    read_temperature,
)
from safemt.core.errors import UsageError

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
    from safemt.cli.planning import read_benchmark_named
    from safemt.cli.printing import print_json, stdout
    from safemt.report.check import check_json, print_check

    benchmark = read_benchmark_named(path, text_only=False)
    if as_json:
        print_json(check_json(benchmark))
    else:
        print_check(benchmark, stdout())
    if errors_of(benchmark.findings):
        raise typer.Exit(1)


@app.command()
def run(
    benchmark: BenchmarkName,
    target: TargetName,
    out: Annotated[Path, typer.Option(help="Run directory; an existing one is continued.")],
    judge: JudgeName = "",
    turns: Turns = None,
    limit: Limit = None,
    seed: Seed = 0,
    history: HistoryName = HistoryOption.SCRIPTED,
    concurrency: Concurrency = 20,
    temperature: Annotated[
        str, typer.Option(help="Of the target; `default` leaves it to the endpoint.")
    ] = "0",
    max_output_tokens: MaxOutputTokens = 1024,
    timeout: Timeout = 120.0,
    text_only: TextOnly = False,
    skip_missing_images: SkipMissingImages = False,
    target_base_url: TargetBaseUrl = None,
    target_api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the target's key. Default: OPENAI_API_KEY.")
    ] = None,
    judge_base_url: JudgeBaseUrl = None,
    judge_api_key_env: JudgeApiKeyEnv = None,
    judge_temperature: JudgeTemperature = "0",
    judge_max_output_tokens: JudgeMaxOutputTokens = 512,
    routing: Routing = RoutingOption.SCENARIO,
    judge_with_image: JudgeWithImage = False,
    moderator: ModeratorName = "",
    action: Annotated[
        ActionOption | None, typer.Option(help="With a flagged dialogue: hand over policies, or block it.")
    ] = None,
    on_moderator_error: Annotated[
        OnErrorOption | None, typer.Option(help="With one that could not be read: inject, open, closed.")
    ] = None,
    moderator_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Risk from which on to flag. Default: its own.")
    ] = None,
    thresholds: ModeratorThresholds = None,
    moderator_base_url: ModeratorBaseUrl = None,
    moderator_api_key_env: ModeratorApiKeyEnv = None,
    moderator_template: Annotated[
        str | None, typer.Option(help="With llm:...: a guard's template, in the place of our prompt.")
    ] = None,
    moderator_temperature: Annotated[
        str | None, typer.Option(help="Of the moderator's model; `default` leaves it to the endpoint.")
    ] = None,
    moderator_max_output_tokens: ModeratorMaxOutputTokens = None,
    moderator_band: Annotated[
        str | None, typer.Option(help="With cascade:...: LOW,HIGH, where the second is asked.")
    ] = None,
    moderator_with_pictures: Annotated[
        bool | None, typer.Option("--moderator-with-pictures", help="With llm:...: show it the pictures.")
    ] = None,
    policies: PolicyFolder = None,
    policy_position: Annotated[
        PositionOption | None, typer.Option(help="Where policies go; templates differ in what they take.")
    ] = None,
    policy_budget: Annotated[
        int | None, typer.Option(min=1, help="Approximate tokens of an injection; 600 by default.")
    ] = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: Prices = None,
    shards: Shards = None,
    executor: ExecutorName = ExecutorOption.LOCAL,
    ray_address: RayAddress = "auto",
    ray_workers: RayWorkers = None,
    log_json: LogJson = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model, judge it, print the figures.

    Every dialogue of the benchmark is asked and its last response judged.

    The same command continues a run that was interrupted; a finished run makes no call.
    """  # fmt: skip
    from safemt.cli.planning import default_judge, open_moderation, read_samples
    from safemt.cli.printing import finish_run, stderr
    from safemt.core.taxonomy import Action
    from safemt.endpoints.base import Sampling
    from safemt.endpoints.prices import read_prices
    from safemt.endpoints.spend import Budget
    from safemt.io.images import ImageFolder
    from safemt.judges.rubric import Routing as JudgeRouting
    from safemt.run.models import Models
    from safemt.run.protocol import History
    from safemt.run.spread.ray_executor import ray_cluster
    from safemt.run.spread.shards import read_shard
    from safemt.run.start import RunPlan, describe_benchmark, start_run
    from safemt.run.watch.events import EventLog

    planned = read_samples(
        benchmark,
        text_only=text_only,
        skip_missing_images=skip_missing_images,
        turns=turns,
        limit=limit,
        seed=seed,
    )
    read, samples = planned.benchmark, planned.samples
    models = Models(
        target=target,
        target_base_url=target_base_url,
        target_api_key_env=target_api_key_env,
        sampling=Sampling(read_temperature(temperature, "--temperature"), max_output_tokens),
        judge=judge or default_judge(target),
        judge_base_url=judge_base_url,
        judge_api_key_env=judge_api_key_env,
        judge_sampling=Sampling(
            read_temperature(judge_temperature, "--judge-temperature"), judge_max_output_tokens
        ),
        routing=JudgeRouting(routing),
        judge_with_image=judge_with_image,
        timeout=timeout,
        seed=seed,
    )
    shard = read_shard(shards) if shards else None
    budget = Budget(max_cost=max_cost, max_tokens=max_tokens, prices=read_prices(prices))
    console = stderr()
    on_ray = executor is ExecutorOption.RAY
    if on_ray and shard is not None:
        raise UsageError("--executor ray splits the run itself; leave out --shards.")
    if on_ray and moderator:
        raise UsageError("--executor ray knows no moderator yet; use --shards on several machines.")
    images = ImageFolder(read.path, boundary=read.boundary)
    # On a cluster the workers call, so that keys need to be in their environment only.
    opened_target, opened_judge = (models.without_keys() if on_ray else models).open(images)
    moderation = open_moderation(
        moderator,
        images=images,
        action=action,
        on_moderator_error=on_moderator_error,
        moderator_threshold=moderator_threshold,
        thresholds=thresholds,
        moderator_base_url=moderator_base_url,
        moderator_api_key_env=moderator_api_key_env,
        moderator_template=moderator_template,
        moderator_temperature=moderator_temperature,
        moderator_max_output_tokens=moderator_max_output_tokens,
        moderator_band=moderator_band,
        moderator_with_pictures=moderator_with_pictures,
        policies=policies,
        policy_position=policy_position,
        policy_budget=policy_budget,
    )
    behind = f" behind {moderation.moderator.name} ({moderation.moderator.action})" if moderation else ""
    simulated = " (simulated)" if opened_target.simulated else ""
    skipped = planned.skipped
    lengths = ", ".join(str(k) for k in sorted({sample.turns for sample in samples}))
    console.print(
        f"{read.name}: {len(samples):,} samples at {lengths} turns"
        f"{f', {skipped:,} without an image left out' if skipped else ''}"
        f" → {opened_target.name}{simulated}{behind}, judged by {opened_judge.name} → {out}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if moderation and opened_target.answers_by_sample and moderation.moderator.action is Action.INJECT:
        console.print(
            f"{opened_target.name} answers the same whatever it is told, so injected policies change nothing "
            "here. --action block does.",
            style="yellow",
            highlight=False,
            markup=False,
        )
    manifest: dict[str, Any] = {
        "command": ["safemt", *sys.argv[1:]],
        "seed": seed,
        "limit": limit,
        "text_only": text_only,
        "skipped_missing_images": skipped,
        "target_base_url": target_base_url,
        "judge_base_url": judge_base_url,
        "moderator_base_url": moderator_base_url,
        "timeout": timeout,
    }
    described = describe_benchmark(read, samples)
    del read, planned  # with all its samples, which need not stay in memory
    with ExitStack() as stack:
        plan = RunPlan(
            benchmark=described,
            samples=samples,
            target=opened_target,
            judge=opened_judge,
            moderation=moderation,
            history=History(history),
            concurrency=concurrency,
            budget=budget,
            shard=shard,
            events=stack.enter_context(closing(EventLog(log_json, complain=console.print))),
            manifest=manifest,
        )
        cluster = stack.enter_context(ray_cluster(ray_address, ray_workers)) if on_ray else None
        start_run(plan, out, console=console, executor=cluster.executor(models) if cluster else None)
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
    from safemt.report.result_tables import print_results
    from safemt.report.results import results_json, results_of

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
    from safemt.cli.planning import DEMO
    from safemt.report.export import write_report

    run(benchmark=DEMO, target="sim/drifting", judge="refusal", out=out)
    [page] = write_report([out], [out / "report.html"], redact=False, force=False)
    print(f"Report: {page}\n{_AFTER_DEMO}")
