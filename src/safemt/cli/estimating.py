"""`safemt estimate`: what a run will cost."""

from pathlib import Path
from typing import Annotated

import typer

from safemt.cli import app
from safemt.cli.options import (
    AsJson,
    BenchmarkName,
    HistoryName,
    HistoryOption,
    JudgeBaseUrl,
    JudgeMaxOutputTokens,
    JudgeName,
    JudgeTemperature,
    JudgeWithImage,
    Limit,
    MaxOutputTokens,
    Prices,
    Routing,
    RoutingOption,
    Seed,
    SkipMissingImages,
    TargetBaseUrl,
    TargetName,
    TextOnly,
    Turns,
    read_temperature,
)


@app.command()
def estimate(
    benchmark: BenchmarkName,
    target: TargetName,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; what it holds already is not counted.")
    ] = None,
    judge: JudgeName = "",
    turns: Turns = None,
    limit: Limit = None,
    seed: Seed = 0,
    history: HistoryName = HistoryOption.SCRIPTED,
    temperature: Annotated[
        str, typer.Option(help="Of the target; `default` leaves it to the endpoint.")
    ] = "0",
    max_output_tokens: MaxOutputTokens = 1024,
    text_only: TextOnly = False,
    skip_missing_images: SkipMissingImages = False,
    target_base_url: TargetBaseUrl = None,
    judge_base_url: JudgeBaseUrl = None,
    judge_temperature: JudgeTemperature = "0",
    judge_max_output_tokens: JudgeMaxOutputTokens = 512,
    routing: Routing = RoutingOption.SCENARIO,
    judge_with_image: JudgeWithImage = False,
    prices: Prices = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run will ask and cost, without a call.

    Takes the options of `safemt run` and needs no key.
    """
    from safemt.cli.planning import default_judge, read_samples
    from safemt.cli.printing import print_json, stdout
    from safemt.endpoints.base import Sampling
    from safemt.endpoints.prices import read_prices
    from safemt.io.images import ImageFolder
    from safemt.judges.rubric import Routing as JudgeRouting
    from safemt.report.estimate import estimate_json, print_estimate
    from safemt.run.database import STORE_FILE
    from safemt.run.estimate import estimate_run
    from safemt.run.models import Models
    from safemt.run.protocol import History
    from safemt.run.store import Store

    planned = read_samples(
        benchmark,
        text_only=text_only,
        skip_missing_images=skip_missing_images,
        turns=turns,
        limit=limit,
        seed=seed,
    )
    sampling = Sampling(read_temperature(temperature, "--temperature"), max_output_tokens)
    models = Models(
        target=target,
        target_base_url=target_base_url,
        sampling=sampling,
        judge=judge or default_judge(target),
        judge_base_url=judge_base_url,
        judge_sampling=Sampling(
            read_temperature(judge_temperature, "--judge-temperature"), judge_max_output_tokens
        ),
        routing=JudgeRouting(routing),
        judge_with_image=judge_with_image,
        seed=seed,
    ).without_keys()
    opened_target, opened_judge = models.open(ImageFolder(planned.benchmark.path))
    table = read_prices(prices)
    store = Store.open_for_reading(out) if out is not None and (out / STORE_FILE).is_file() else None
    try:
        result = estimate_run(
            planned.samples,
            target=opened_target,
            judge=opened_judge,
            history=History(history),
            sampling=sampling,
            prices=table,
            store=store,
        )
    finally:
        if store is not None:
            store.close()
    if as_json:
        print_json(estimate_json(result))
    else:
        print_estimate(result, stdout())
