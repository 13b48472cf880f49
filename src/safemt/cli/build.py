"""`safemt build`: make a benchmark from harmful queries."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from safemt.cli.command import command, paths_of
from safemt.cli.options import Panel, Setting, option
from safemt.core.taxonomy import PUBLISHED_TURNS, Method
from safemt.endpoints.base import EndpointConfig
from safemt.run.config import BudgetConfig, LimitsConfig


class GeneratorConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What writes the dialogues."""

    name: str = "template"


class ReviewerConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What reviews the dialogues that a chat model writes. Without an address, the generator's."""

    name: str = ""


class PilotConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked the first queries when the benchmark is built. Without an address, the generator's."""

    name: str = ""
    queries: Annotated[int, msgspec.Meta(ge=1)] = 34
    """How many."""


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build."""

    format: Literal[
        "auto",
        "jsonl",
        "csv",
        "mm-safetybench",
        "jailbreakv",
        "redteam-2k",
        "mllmguard",
        "figstep",
        "beavertails-v",
        "harmbench",
    ] = "auto"
    images: Path | None = None
    turns: tuple[Annotated[int, msgspec.Meta(ge=1, le=12)], ...] = PUBLISHED_TURNS
    methods: tuple[Method, ...] = tuple(Method)
    count: Annotated[int, msgspec.Meta(ge=1)] = 2000
    method_mix: str = "balanced"
    generator: GeneratorConfig = GeneratorConfig()
    reviewer: ReviewerConfig = ReviewerConfig()
    pilot: PilotConfig = PilotConfig()
    budget: BudgetConfig = BudgetConfig()
    limits: LimitsConfig = LimitsConfig()
    benign_twins: bool = False
    text_control: bool = False
    language: str = "en"
    seed: int = 0
    layout: Literal["jsonl", "folder"] = "jsonl"
    allow_fewer: bool = False


_HELP: Final = {
    "format": "Layout of the queries. `auto` detects it.",
    "images": "Folder that image paths are relative to. Default: the folder of the file.",
    "count": "Number of queries, balanced over the scenarios.",
    "allow_fewer": "Build even if fewer than --count queries are left.",
    "turns": "Numbers of turns.",
    "methods": "How the dialogues conceal their intent.",
    "method_mix": "Shares of the methods: `balanced`, `published`, or weights such as gradual=3,role_play=1.",
    "text_control": "Also write the dialogues without pictures, with their words in the text.",
    "benign_twins": "Add a harmless twin of each query, to measure over-refusal.",
    "language": "Language of the queries and dialogues. Queries in others are left out.",
}


@command(
    Setting(
        "queries", "File or folder of harmful queries. May be repeated.", Path,
        panel=Panel.SELECTION, required=True, multiple=True,
    ),
    *(Setting(path, text, panel=Panel.SELECTION) for path, text in _HELP.items()),
    option("seed", "Random seed for the selection, the wording and the images."),
    *paths_of(BuildConfig, "generator.", "reviewer.", "pilot.", "limits."),
    option("budget.max_cost", "Most US dollars to spend on the generator and its reviewer."),
    option("budget.prices"),
    Setting("layout", "With `folder`, also write the published files (1_turn.json, 2_turn.json, …)."),
    Setting("resume", "Continue an interrupted build with openai/MODEL.", bool),
    option("out", "Folder for the benchmark. It must not exist yet.", required=True),
    config=BuildConfig,
    examples=(
        "safemt build --queries queries.jsonl --out my-benchmark --count 200 --benign-twins",
        "safemt build --queries queries.jsonl --out my-benchmark --generator openai/MODEL",
    ),
)  # fmt: skip
def build(config: BuildConfig, *, queries: tuple[Path, ...], resume: bool, out: Path) -> None:
    """Writes dialogues of several lengths with images, and checks and documents them.

    The same queries, options and seed give the same bytes. DATASHEET.md in the result describes it.
    """
    from safemt.build.build import BuildPlan
    from safemt.build.build import build as build_benchmark
    from safemt.build.generators.open import ModelOptions, open_generator
    from safemt.build.generators.pilot import open_pilot
    from safemt.build.progress import Progress
    from safemt.build.sources.read import QueryFormat
    from safemt.cli.printing import say, stderr, stdout

    methods = tuple(dict.fromkeys(config.methods))
    plan = BuildPlan(
        queries=queries,
        out=out,
        layout=QueryFormat(config.format),
        images=config.images,
        turns=sorted(set(config.turns)),
        methods=methods,
        method_mix=config.method_mix,
        count=config.count,
        seed=config.seed,
        language=config.language,
        twins=config.benign_twins,
        text_control=config.text_control,
        allow_fewer=config.allow_fewer,
        folder_layout=config.layout == "folder",
    )
    models = ModelOptions(
        generator=config.generator.name,
        base_url=config.generator.base_url,
        api_key_env=config.generator.api_key_env,
        reviewer=config.reviewer.name or None,
        reviewer_base_url=config.reviewer.base_url,
        reviewer_api_key_env=config.reviewer.api_key_env,
        concurrency=config.limits.concurrency,
        timeout=config.limits.timeout,
        max_cost=config.budget.max_cost,
        prices=config.budget.prices,
    )
    generator = open_generator(models, out=out, resume=resume)
    piloted = open_pilot(config.pilot, models) if config.pilot.name else None
    with Progress(stderr()) as progress:
        stats = build_benchmark(plan, progress=progress, generator=generator, piloted=piloted)
    for line in _summary(stats, out):
        say(stdout(), line)


def _summary(stats: dict[str, Any], out: Path) -> list[str]:
    rounds = ", ".join(f"{number:,} at {k}" for k, number in stats["by_turns"].items())
    refused = stats["minors_and_sex_refused"]
    left_out = "; ".join(
        f"{stage} " + ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
        for stage, reasons in stats["rejects"].items()
    )
    return [
        f"{stats['samples']:,} samples of {stats['queries']:,} queries ({rounds} turns) → {out}",
        f"build {stats['build']}",
        f"left out: {left_out or 'nothing'}",
        *([f"{refused:,} rows refused that put minors and sexual content together"] if refused else []),
        *(f"{label}: {share}" for label, share in stats["generation"].get("shares", {}).items()),
        *(f"absent: {name} ({why})" for name, why in stats["absent_scenarios"].items()),
        f"Read {out / 'DATASHEET.md'} before you use it.",
    ]
