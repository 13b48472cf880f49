"""`safemt build`: make a benchmark from harmful queries."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from safemt.cli.command import command, paths_of
from safemt.cli.options import Panel, Setting, option
from safemt.core.taxonomy import PUBLISHED_TURNS, Method
from safemt.endpoints.base import EndpointConfig
from safemt.run.config import LimitsConfig


class GeneratorConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What writes the dialogues."""

    name: str = "template"


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build."""

    format: Literal[
        "auto", "jsonl", "csv", "mm-safetybench", "jailbreakv", "figstep", "beavertails-v", "harmbench"
    ] = "auto"
    images: Path | None = None
    turns: tuple[Annotated[int, msgspec.Meta(ge=1, le=12)], ...] = PUBLISHED_TURNS
    methods: tuple[Method, ...] = tuple(Method)
    count: Annotated[int, msgspec.Meta(ge=1)] = 2000
    generator: GeneratorConfig = GeneratorConfig()
    limits: LimitsConfig = LimitsConfig()
    benign_twins: bool = False
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
    *paths_of(BuildConfig, "generator.", "limits."),
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
    from safemt.build.generators.open import open_generator
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
        count=config.count,
        seed=config.seed,
        language=config.language,
        twins=config.benign_twins,
        allow_fewer=config.allow_fewer,
        folder_layout=config.layout == "folder",
    )
    generator = open_generator(
        config.generator.name,
        out=out,
        base_url=config.generator.base_url,
        api_key_env=config.generator.api_key_env,
        methods=methods,
        concurrency=config.limits.concurrency,
        timeout=config.limits.timeout,
        resume=resume,
    )
    with Progress(stderr()) as progress:
        stats = build_benchmark(plan, progress=progress, generator=generator)
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
