"""`safemt judge-check` and `safemt judge`: what a judge is worth, and judging again."""

import sys
from pathlib import Path
from typing import Annotated

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
    MaxCost,
    MaxTokens,
    Prices,
    Routing,
    RoutingOption,
    Timeout,
    read_temperature,
)


@app.command("judge-check")
def judge_check(
    labels: Annotated[
        Path, typer.Argument(help="JSONL (or .gz) of turns or prompt, response and people's label.")
    ],
    judge: JudgeName,
    language: Annotated[str | None, typer.Option(help="Only rows of this language, such as en.")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only so many rows, labels in proportion.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of rows.")] = 0,
    judge_base_url: JudgeBaseUrl = None,
    judge_api_key_env: JudgeApiKeyEnv = None,
    judge_temperature: JudgeTemperature = "0",
    judge_max_output_tokens: JudgeMaxOutputTokens = 512,
    routing: Routing = RoutingOption.SCENARIO,
    concurrency: Concurrency = 20,
    timeout: Timeout = 120.0,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: Prices = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show the texts of disagreements; they may be harmful.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a judge against labels by people.

    The result is kept for score and report.
    """
    from safemt.benchmark.judged import read_judged
    from safemt.cli.printing import print_json, stderr, stdout
    from safemt.endpoints.base import Sampling
    from safemt.endpoints.prices import read_prices
    from safemt.endpoints.spend import Budget
    from safemt.judges.open import open_judge
    from safemt.judges.rubric import Routing as JudgeRouting
    from safemt.report.judge_check import judge_check_json, print_judge_check
    from safemt.run.judge_check import check_judge, choose_rows

    file = read_judged(labels, language=language)
    rows = choose_rows(file, limit=limit, seed=seed)
    opened = open_judge(
        judge,
        base_url=judge_base_url,
        api_key_env=judge_api_key_env,
        sampling=Sampling(
            read_temperature(judge_temperature, "--judge-temperature"), judge_max_output_tokens
        ),
        routing=JudgeRouting(routing),
        with_image=False,
        timeout=timeout,
        images=None,
    )
    chosen = [f"language {language}" if language else "", f"{len(rows)} rows, seed {seed}" if limit else ""]
    result = check_judge(
        file,
        opened,
        rows=rows,
        selection=", ".join(part for part in chosen if part) or "all",
        concurrency=concurrency,
        budget=Budget(max_cost=max_cost, max_tokens=max_tokens, prices=read_prices(prices)),
        manifest={"command": ["safemt", *sys.argv[1:]], "seed": seed, "judge_base_url": judge_base_url},
        console=stderr(),
    )
    if as_json:
        print_json(judge_check_json(result))
    else:
        print_judge_check(result, stdout(), show_text=show_text)


@app.command("judge")
def judge_again(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    judge: JudgeName,
    judge_base_url: JudgeBaseUrl = None,
    judge_api_key_env: JudgeApiKeyEnv = None,
    judge_temperature: JudgeTemperature = "0",
    judge_max_output_tokens: JudgeMaxOutputTokens = 512,
    routing: Routing = RoutingOption.SCENARIO,
    judge_with_image: JudgeWithImage = False,
    concurrency: Concurrency = 20,
    timeout: Timeout = 120.0,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    prices: Prices = None,
    as_json: AsJson = False,
) -> None:
    """Judge the responses of a run again.

    Both judges' labels are kept, and their agreement is reported.
    """
    from safemt.cli.printing import finish_run, stderr
    from safemt.endpoints.base import Sampling
    from safemt.endpoints.prices import read_prices
    from safemt.endpoints.spend import Budget
    from safemt.io.images import ImageFolder
    from safemt.judges.open import open_judge
    from safemt.judges.rubric import Routing as JudgeRouting
    from safemt.run.manifest import require_manifest
    from safemt.run.start import judge_again as start
    from safemt.run.store import Store

    store = Store.open_for_reading(run)
    benchmark = require_manifest(store.invocation().manifest, store.path)["benchmark"]
    store.close()
    boundary = benchmark.get("boundary")
    opened = open_judge(
        judge,
        base_url=judge_base_url,
        api_key_env=judge_api_key_env,
        sampling=Sampling(
            read_temperature(judge_temperature, "--judge-temperature"), judge_max_output_tokens
        ),
        routing=JudgeRouting(routing),
        with_image=judge_with_image,
        timeout=timeout,
        images=ImageFolder(Path(benchmark["path"]), boundary=Path(boundary) if boundary else None),
    )
    start(
        run,
        opened,
        concurrency=concurrency,
        budget=Budget(max_cost=max_cost, max_tokens=max_tokens, prices=read_prices(prices)),
        command=["safemt", *sys.argv[1:]],
        console=stderr(),
    )
    finish_run(run, as_json=as_json)
