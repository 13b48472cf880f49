"""`safemt build`: make a benchmark from harmful queries."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from safemt.cli import app
from safemt.core.taxonomy import Method


class FormatOption(StrEnum):
    """`--format`."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    MM_SAFETYBENCH = "mm-safetybench"
    JAILBREAKV = "jailbreakv"
    REDTEAM_2K = "redteam-2k"
    MLLMGUARD = "mllmguard"
    FIGSTEP = "figstep"
    BEAVERTAILS_V = "beavertails-v"
    HARMBENCH = "harmbench"


class LayoutOption(StrEnum):
    """`--layout`."""

    JSONL = "jsonl"
    FOLDER = "folder"


@app.command()
def build(
    queries: Annotated[
        list[Path], typer.Option(help="A file or folder of harmful queries; give it again for more.")
    ],
    out: Annotated[Path, typer.Option(help="Where the benchmark goes; must not exist yet.")],
    query_format: Annotated[
        FormatOption, typer.Option("--format", help="The layout of the queries; auto tells it by itself.")
    ] = FormatOption.AUTO,
    images: Annotated[
        Path | None, typer.Option(help="Folder that image paths are relative to. Default: beside the file.")
    ] = None,
    turns: Annotated[str, typer.Option(help="Numbers of turns.")] = "1,2,4,6,8",
    methods: Annotated[
        str, typer.Option(help="How the dialogues conceal their intent.")
    ] = "gradual,role_play,in_context,hybrid",
    method_mix: Annotated[
        str,
        typer.Option(
            help="Shares of the methods: balanced, published, or weights such as gradual=3,role_play=1."
        ),
    ] = "balanced",
    count: Annotated[int, typer.Option(min=1, help="How many queries, balanced over the scenarios.")] = 2000,
    generator: Annotated[
        str, typer.Option(help="Who writes the dialogues: template (offline) or openai/MODEL.")
    ] = "template",
    generator_base_url: Annotated[
        str | None, typer.Option(help="Any OpenAI-compatible server, such as http://localhost:8000/v1.")
    ] = None,
    generator_api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key. Default: OPENAI_API_KEY.")
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Another model that reviews what the generator writes: openai/MODEL.")
    ] = None,
    reviewer_base_url: Annotated[
        str | None, typer.Option(help="Server of the reviewer. Default: the generator's.")
    ] = None,
    reviewer_api_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with the reviewer's key. Default: the generator's."),
    ] = None,
    pilot: Annotated[
        str | None,
        typer.Option(help="A model to ask the first queries when the build is done: openai/MODEL."),
    ] = None,
    pilot_queries: Annotated[int, typer.Option(min=1, help="Number of queries of the pilot.")] = 34,
    max_cost: Annotated[
        float | None, typer.Option(help="Most US dollars to spend on the generator and reviewer.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="Your own price table.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=2000, help="Most calls at once.")] = 20,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one call.")] = 120.0,
    benign_twins: Annotated[
        bool, typer.Option("--benign-twins", help="A harmless twin for each query, to measure over-refusal.")
    ] = False,
    text_control: Annotated[
        bool,
        typer.Option(
            "--text-control", help="Also write the dialogues without pictures, with their words in the text."
        ),
    ] = False,
    language: Annotated[str, typer.Option(help="Of the queries and dialogues; others are left out.")] = "en",
    seed: Annotated[int, typer.Option(help="Decides the selection, the wording and the images.")] = 0,
    layout: Annotated[
        LayoutOption, typer.Option(help="folder: also write the published 1_turn.json, 2_turn.json, …")
    ] = LayoutOption.JSONL,
    allow_fewer: Annotated[
        bool, typer.Option("--allow-fewer", help="Build even if fewer than --count queries are left.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a build with openai/MODEL that was interrupted.")
    ] = False,
) -> None:
    """Build a benchmark from harmful queries.

    Dialogues of several lengths, with images, checked and documented.

    The same queries, options and seed give the same bytes. DATASHEET.md in the result says what is in it.
    """
    from safemt.build.build import BuildPlan
    from safemt.build.build import build as build_benchmark
    from safemt.build.generators.open import ModelOptions, open_generator
    from safemt.build.generators.pilot import open_pilot
    from safemt.build.progress import Progress
    from safemt.build.sources.read import QueryFormat
    from safemt.cli.printing import stderr, stdout

    plan = BuildPlan(
        queries=queries,
        out=out,
        layout=QueryFormat(query_format),
        images=images,
        turns=_turns(turns),
        methods=_methods(methods),
        method_mix=method_mix,
        count=count,
        seed=seed,
        language=language,
        twins=benign_twins,
        text_control=text_control,
        allow_fewer=allow_fewer,
        folder_layout=layout is LayoutOption.FOLDER,
    )
    models = ModelOptions(
        generator=generator,
        base_url=generator_base_url,
        api_key_env=generator_api_key_env,
        reviewer=reviewer,
        reviewer_base_url=reviewer_base_url,
        reviewer_api_key_env=reviewer_api_key_env,
        concurrency=concurrency,
        timeout=timeout,
        max_cost=max_cost,
        prices=prices,
    )
    opened = open_generator(models, out=out, resume=resume)
    piloted = open_pilot(pilot, models, pilot_queries) if pilot else None
    with Progress(stderr()) as progress:
        stats = build_benchmark(plan, progress=progress, generator=opened, piloted=piloted)
    console = stdout()
    rounds = ", ".join(f"{number:,} at {k}" for k, number in stats["by_turns"].items())
    refused = stats["minors_and_sex_refused"]
    lines = [
        f"{stats['samples']:,} samples of {stats['queries']:,} queries ({rounds} turns) → {out}",
        f"build {stats['build']}",
        "left out: " + (_summary(stats["rejects"]) or "nothing"),
        *([f"{refused:,} rows refused that put minors and sexual content together"] if refused else []),
        *(f"{label}: {share}" for label, share in stats["generation"].get("shares", {}).items()),
        *(f"absent: {name} ({why})" for name, why in stats["absent_scenarios"].items()),
        f"Read {out / 'DATASHEET.md'} before you use it.",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _summary(rejects: dict[str, dict[str, int]]) -> str:
    return "; ".join(
        f"{stage} " + ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
        for stage, reasons in rejects.items()
    )


def _turns(text: str) -> list[int]:
    from safemt.core.errors import UsageError

    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1 or found[-1] > 12:
        raise UsageError(
            "bad_turns", f"--turns takes numbers from 1 to 12 with commas, such as 1,2,4,6,8, not {text!r}."
        )
    return found


def _methods(text: str) -> list[Method]:
    from safemt.core.errors import UsageError

    known = ", ".join(Method)
    try:
        found = list(dict.fromkeys(Method(part.strip()) for part in text.split(",")))
    except ValueError:
        raise UsageError(
            "unknown_method", f"--methods takes names with commas out of {known}, not {text!r}."
        ) from None
    return found
