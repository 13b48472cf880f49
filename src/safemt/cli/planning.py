"""From the options of a command to what is asked: the benchmark, the samples of it, the judge."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safemt.benchmark
from safemt.benchmark.read import Benchmark, read_benchmark, require_usable
from safemt.benchmark.select import select_samples
from safemt.cli.options import read_band, read_temperature
from safemt.core.errors import UsageError
from safemt.core.schema import Sample
from safemt.core.taxonomy import Action
from safemt.io.hub import PREFIX, fetch_from_hub
from safemt.io.images import ImageFolder
from safemt.moderation.measuring.thresholds import with_thresholds
from safemt.moderation.moderator import OnError
from safemt.moderation.open import DetectorOptions, open_moderator
from safemt.moderation.policies.inject import BUDGET, Position
from safemt.run.gate import Moderation

DEMO: Final = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run is to ask."""

    benchmark: Benchmark
    samples: list[Sample]
    skipped: int
    """Samples that are left out because their image is missing."""


def read_benchmark_named(name: str, *, text_only: bool) -> Benchmark:
    """The benchmark that `--benchmark` names: a folder, a file, `demo` or `hub:OWNER/NAME`.

    Raises:
        BenchmarkError: it cannot be read.
    """
    if name.startswith(PREFIX):
        folder, boundary = fetch_from_hub(name.removeprefix(PREFIX))
        return read_benchmark(folder, text_only=text_only, boundary=boundary, name=name.removeprefix(PREFIX))
    if name == DEMO:  # a folder of that name is ./demo
        name = str(Path(safemt.benchmark.__file__).parent / DEMO)
    return read_benchmark(Path(name), text_only=text_only)


def read_samples(
    name: str, *, text_only: bool, skip_missing_images: bool, turns: str | None, limit: int | None, seed: int
) -> Planned:
    """Read the benchmark called `name` and choose from it.

    Raises:
        UsageError: options that do not fit.
        BenchmarkError: it cannot be read, or must not be used as it is.
    """
    if text_only and skip_missing_images:
        raise UsageError(
            "--text-only needs no images, so --skip-missing-images would do nothing; leave one out."
        )
    rounds = _rounds(turns)
    benchmark = require_usable(
        read_benchmark_named(name, text_only=text_only), skip_missing_images=skip_missing_images
    )
    return Planned(
        benchmark=benchmark,
        samples=select_samples(benchmark.samples, turns=rounds, limit=limit, seed=seed),
        skipped=len(benchmark.imageless) if skip_missing_images else 0,
    )


def default_judge(target: str) -> str:
    """The judge of a simulated target.

    Raises:
        UsageError: it is a real one, and no judge was given.
    """
    if target.startswith("sim/"):
        return "refusal"
    raise UsageError(
        "No judge was given. Choose one with --judge: openai/MODEL (another model than the target), "
        "recorded/PATH, or refusal (offline and weak). The model under test never judges itself by default."
    )


def open_moderation(name: str, *, images: ImageFolder, **options: Any) -> Moderation | None:
    """The moderator that `--moderator` names, with the other options of the command by their names.

    None where it names none.

    Raises:
        UsageError: there is no such moderator, or an option does not fit it.
        ModeratorError: its model or a policy cannot be used.
    """
    given = {option: value for option, value in options.items() if value is not None}
    if not name:
        if given:
            option = next(iter(given)).replace("_", "-")
            raise UsageError(f"--{option} says something of a moderator, but none is named: add --moderator.")
        return None
    moderator = open_moderator(
        name,
        action=Action(given.get("action", Action.INJECT)),
        on_error=OnError(given.get("on_moderator_error", OnError.INJECT)),
        threshold=given.get("moderator_threshold"),
        policies=given.get("policies"),
        options=DetectorOptions(
            base_url=given.get("moderator_base_url"),
            api_key_env=given.get("moderator_api_key_env"),
            template=given.get("moderator_template"),
            band=read_band(given.get("moderator_band")),
            with_pictures=given.get("moderator_with_pictures", False),
            temperature=read_temperature(given.get("moderator_temperature", "0"), "--moderator-temperature"),
            max_output_tokens=given.get("moderator_max_output_tokens"),
        ),
    )
    return Moderation(
        moderator=with_thresholds(moderator, given.get("thresholds")),
        position=Position(given.get("policy_position", Position.LATE_SYSTEM)),
        budget=given.get("policy_budget", BUDGET),
        images=images,
    )


def _rounds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        rounds = sorted({int(part) for part in text.split(",")})
    except ValueError:
        rounds = []
    if not rounds or rounds[0] < 1:
        raise UsageError(f"--turns takes numbers with commas, such as 1,2,4,6,8, not {text!r}.")
    return rounds
