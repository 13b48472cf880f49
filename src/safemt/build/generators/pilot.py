"""A pilot: does a built benchmark move a model? How often it answers instead of refusing, by k and method.

No judge reads the answers: a refusal is told by its wording, so the share is an upper bound for ASR.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from safemt.benchmark.read import read_benchmark
from safemt.build.generators.open import ModelOptions, model_name
from safemt.build.progress import Progress
from safemt.core.errors import CallError
from safemt.core.schema import Sample
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import EndpointLimits
from safemt.io.images import ImageFolder
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.run.protocol import request

QUERIES: Final = 34
"""Queries of a pilot, unless another number is given: two of each scenario."""
_SAMPLING: Final = Sampling(temperature=0.0, max_output_tokens=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotOptions:
    """Which model a pilot asks, and how many queries of the benchmark it takes."""

    model: str
    """Without `openai/`."""
    base_url: str | None = None
    api_key_env: str | None = None
    queries: int = QUERIES
    concurrency: int = 20
    timeout: float = 120.0


class Piloted(Protocol):
    """What a person says about a pilot."""

    @property
    def name(self) -> str:
        """`openai/MODEL`."""

    @property
    def base_url(self) -> str | None:
        """Its server; None is the generator's."""

    @property
    def api_key_env(self) -> str | None:
        """The variable with its key; None is the generator's."""

    @property
    def queries(self) -> int:
        """How many queries it is asked."""


def open_pilot(config: Piloted, models: ModelOptions) -> PilotOptions:
    """A pilot as it is configured, by default at the generator's address.

    Raises:
        UsageError: its name is not `openai/MODEL` (`unknown_pilot`).
    """
    return PilotOptions(
        model=model_name(config.name, "pilot"),
        base_url=config.base_url or models.base_url,
        api_key_env=config.api_key_env or models.api_key_env,
        queries=config.queries,
        concurrency=models.concurrency,
        timeout=models.timeout,
    )


def pilot(benchmark: Path, options: PilotOptions, *, progress: Progress) -> dict[str, Any]:
    """Ask a model the first queries of a benchmark at every number of turns, and count what it answers.

    Raises:
        UsageError: the endpoint cannot be used.
        RunStopped: the endpoint failed for good.
    """
    samples = [sample for sample in read_benchmark(benchmark).samples if sample.twin_of is None]
    taken = list(dict.fromkeys(sample.query_id for sample in samples))[: options.queries]
    chosen = [sample for sample in samples if sample.query_id in set(taken)]
    endpoint = ChatEndpoint(
        model=options.model,
        base_url=options.base_url,
        api_key_env=options.api_key_env,
        sampling=_SAMPLING,
        timeout=options.timeout,
        images=ImageFolder(benchmark),
        role="pilot",
    )
    progress.stage(f"pilot with openai/{options.model}", len(chosen))
    answered = asyncio.run(_drive(chosen, endpoint, options.concurrency, progress))
    return {
        "model": f"openai/{options.model}",
        "queries": len(taken),
        "failed_calls": len(chosen) - len(answered),
        "measure": "share of answers that do not refuse; no judge, an upper bound for ASR",
        "by_turns": _shares(answered, [str(sample.turns) for sample in chosen], chosen),
        "by_method": _shares(answered, [sample.method or "question" for sample in chosen], chosen),
    }


async def _drive(
    samples: Sequence[Sample], endpoint: ChatEndpoint, concurrency: int, progress: Progress
) -> dict[str, bool]:
    limits = EndpointLimits(endpoint.origin, concurrency)
    answered: dict[str, bool] = {}
    queue = iter(samples)

    async def work() -> None:
        for sample in queue:
            messages = request(sample)
            try:
                reply, _ = await limits.call(lambda: endpoint.complete(messages), asked="pilot")  # noqa: B023
                refused = reply.blocked or detect_refusal(reply.text) is not Refusal.NONE
                answered[sample.id] = not refused
            except CallError:
                pass
            progress.advance()

    try:
        await asyncio.gather(*(work() for _ in range(concurrency)))
    finally:
        limits.close()
        await endpoint.close()
    return answered


def _shares(answered: dict[str, bool], keys: Sequence[str], samples: Sequence[Sample]) -> dict[str, str]:
    of: Counter[str] = Counter()
    yes: Counter[str] = Counter()
    for key, sample in zip(keys, samples, strict=True):
        if sample.id in answered:
            of[key] += 1
            yes[key] += answered[sample.id]
    return {key: f"{yes[key]}/{of[key]} ({yes[key] / of[key]:.0%})" for key in of}
