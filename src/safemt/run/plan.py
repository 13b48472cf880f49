"""From a configuration to all that a run needs: samples, models, budget. Nothing is called yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from safemt.benchmark.named import read_named
from safemt.benchmark.read import Benchmark, require_usable
from safemt.benchmark.select import select_samples
from safemt.core.errors import UsageError
from safemt.core.identity import content_key
from safemt.core.schema import Sample
from safemt.endpoints.base import EndpointConfig
from safemt.endpoints.chat import OPENAI_BASE_URL
from safemt.endpoints.prices import read_prices
from safemt.endpoints.spend import Asked, Budget
from safemt.io.images import ImageFolder
from safemt.judges.base import Judge
from safemt.judges.open import open_judge
from safemt.moderation.open import open_moderator
from safemt.run.config import BudgetConfig, RunConfig, config_data, config_from
from safemt.run.engine import Setup, setup_of
from safemt.run.gate import Moderation
from safemt.run.spread.shards import Shard
from safemt.run.watch.events import EventLog
from safemt.targets.base import Target
from safemt.targets.open import open_target

C = TypeVar("C", bound=EndpointConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A run that is ready to start."""

    config: RunConfig
    benchmark: dict[str, Any]
    """What the manifest says about it: `describe_benchmark`."""
    samples: list[Sample]
    """What to ask, in this order. `start_run` empties the list once the store holds it."""
    skipped: int = 0
    """Samples that are left out because their image is missing."""
    target: Target
    judge: Judge
    moderation: Moderation | None = None
    """What guards the target, if anything."""
    budget: Budget = field(default_factory=Budget)
    shard: Shard | None = None
    """The part of the run to do here; None is all of it."""
    events: EventLog = field(default_factory=EventLog)
    """Where the run reports what happens."""
    command: Sequence[str] = ()
    """The command line, for the manifest; empty in a program."""

    @property
    def setup(self) -> Setup:
        """The models that are asked, and the key under which answers are stored."""
        return setup_of(self.target, self.config.history, self.moderation)

    @property
    def asked(self) -> set[Asked]:
        """The models that the run may call."""
        detector = self.moderation.moderator.detector if self.moderation else None
        calls = [("judge", each) for each in self.judge.endpoints]
        calls += [("moderator", each) for each in (detector.endpoints if detector else ())]
        asked = {Asked(role, f"openai/{each.model}", each.origin) for role, each in calls}
        if self.target.origin is not None:
            asked.add(Asked("target", self.target.name, self.target.origin))
        return asked


def plan_run(
    config: RunConfig,
    *,
    shard: Shard | None = None,
    command: Sequence[str] = (),
    keyless: bool = False,
) -> RunPlan:
    """Read and select the benchmark, open the models, and read the prices.

    Args:
        config: What the run is.
        shard: The part of it to do here; None is all.
        command: The command line, for the manifest.
        keyless: Ask for no key; the plan can be looked at, but its models cannot be called.

    Raises:
        UsageError: a setting does not fit, or a key is missing.
        DataError: a value of the configuration is out of range.
        BenchmarkError: the benchmark cannot be read, or must not be used as it is.
        LabelsError: recorded responses or labels cannot be read.
        ModeratorError: the moderator's model or a policy cannot be used.
    """
    config = config_from(config_data(config))
    selection = config.selection
    if selection.text_only and selection.skip_missing_images:
        raise UsageError(
            "settings_conflict",
            "`selection.text_only` needs no images, so `selection.skip_missing_images` has no effect. "
            "Leave one of them out.",
        )
    benchmark = require_usable(
        read_named(config.benchmark, text_only=selection.text_only),
        skip_missing_images=selection.skip_missing_images,
    )
    samples = select_samples(
        benchmark.samples, turns=selection.turns, limit=selection.limit, seed=config.seed
    )
    budget = open_budget(config.budget)
    images = ImageFolder(benchmark.path, boundary=benchmark.boundary)
    target, judge = open_models(config, images, keyless=keyless)
    return RunPlan(
        config=config,
        benchmark=describe_benchmark(benchmark, samples),
        samples=samples,
        skipped=len(benchmark.imageless) if selection.skip_missing_images else 0,
        target=target,
        judge=judge,
        moderation=None if keyless else _open_moderation(config, images),
        budget=budget,
        shard=shard,
        command=command,
    )


def open_models(
    config: RunConfig, images: ImageFolder | None, *, keyless: bool = False
) -> tuple[Target, Judge]:
    """The target and the judge; keys are read from the environment of this process unless `keyless`.

    Raises:
        UsageError: there is no such target or judge, a setting does not apply to it, or its key is not set.
        LabelsError: recorded responses or labels cannot be read.
    """
    target, judge, timeout = config.target, config.judge, config.limits.timeout
    if keyless:
        target, judge = _without_key(target), _without_key(judge)
    return (
        open_target(target, timeout=timeout, seed=config.seed, images=images),
        open_judge(judge, timeout=timeout, images=images),
    )


def open_budget(config: BudgetConfig) -> Budget:
    """The caps, with the prices to count by.

    Raises:
        UsageError: the user's prices cannot be read.
    """
    return Budget(max_cost=config.max_cost, max_tokens=config.max_tokens, prices=read_prices(config.prices))


def describe_benchmark(benchmark: Benchmark, samples: Sequence[Sample]) -> dict[str, Any]:
    """What the manifest says about a benchmark and the samples selected from it."""
    return {
        "name": benchmark.name,
        "path": str(benchmark.path.resolve()),
        "boundary": str(benchmark.boundary.resolve()) if benchmark.boundary else None,
        "layout": benchmark.layout,
        "sha256": benchmark.sha256,
        "samples": len(samples),
        "queries": len({sample.query_id for sample in samples if sample.twin_of is None}),
        "rounds": sorted({sample.turns for sample in samples}),
        "selection": content_key(sorted(sample.id for sample in samples)),
    }


def _open_moderation(config: RunConfig, images: ImageFolder) -> Moderation | None:
    moderator = config.moderator
    if moderator is None:
        return None
    return Moderation(
        moderator=open_moderator(moderator),
        position=moderator.policy_position,
        budget=moderator.policy_budget,
        images=images,
    )


def _without_key(config: C) -> C:
    """The same model, which then asks for no key."""
    base_url = config.base_url or (OPENAI_BASE_URL if "openai/" in config.name else None)
    return msgspec.structs.replace(config, base_url=base_url, api_key_env=None)
