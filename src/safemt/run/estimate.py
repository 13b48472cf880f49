"""Estimates what a run will ask and cost, without a call.

It walks through the plan as a run would, with the same requests, and leaves out what the store already holds.
Only the length of answers is unknown. The expected length is the mean of each model's answers so far, or an
assumption; at worst every answer is as long as it may be.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from safemt.benchmark.read import sample_key
from safemt.core.errors import CallError
from safemt.core.schema import Message, Sample
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.prices import Price
from safemt.endpoints.spend import Asked, Usage
from safemt.endpoints.tokens import Tokens, image_formula, messages_tokens
from safemt.judges.base import judge_id
from safemt.run.config import RunConfig
from safemt.run.database import STORE_FILE
from safemt.run.engine import is_for_judge
from safemt.run.plan import RunPlan, plan_run
from safemt.run.protocol import History, call_key, live_sample, request
from safemt.run.store import Store

ASSUMED_OUTPUT: Final = {"target": 300, "judge": 80}
"""Tokens of an answer, for a model without answers so far."""
_ENOUGH_SEEN: Final = 20


@dataclass(slots=True, kw_only=True)
class Part:
    """What one model will be asked."""

    asked: Asked
    output_each: Tokens
    """Tokens of one answer."""
    seen: int
    """The number of stored answers behind `output_each`; 0 if it is assumed."""
    price: Price | None
    calls: int = 0
    images: int = 0
    input: Tokens = field(default_factory=Tokens)
    output: Tokens = field(default_factory=Tokens)

    @property
    def cost(self) -> Tokens | None:
        """US dollars, expected and at worst; None if the price is unknown."""
        if self.price is None:
            return None
        return Tokens(
            self.price.of(self.input.expected, self.output.expected),
            self.price.of(self.input.worst, self.output.worst),
        )

    @property
    def image_formula(self) -> str:
        """The formula that counts the tokens of its images."""
        return image_formula(self.asked.model).name

    def add(self, messages: Sequence[Message], assumed: Tokens) -> None:
        """Count a request; `assumed` are the tokens of answers in it that do not exist yet."""
        self.calls += 1
        self.images += sum(message.image is not None for message in messages)
        self.input += messages_tokens(messages, self.asked.model) + assumed
        self.output += self.output_each


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the rest of a run will ask."""

    samples: int
    done: int
    """Samples that need no more calls."""
    parts: Sequence[Part]
    """By model; targets first."""

    @property
    def cost(self) -> Tokens | None:
        """US dollars over all models; None if a price is unknown."""
        total = Tokens()
        for part in self.parts:
            if part.cost is None:
                return None
            total += part.cost
        return total


def estimate_run(config: RunConfig, out: Path | None = None) -> Estimate:
    """What the run that `config` describes has still to ask; no key is needed.

    The calls of a moderator are not counted: they depend on the dialogue that it sees.

    Args:
        config: What the run is.
        out: Its run directory; what it holds already is not counted. It may be missing.

    Raises:
        UsageError, DataError, BenchmarkError, LabelsError: as `plan_run` raises them.
        RunError: the store cannot be read.
    """
    plan = plan_run(config, keyless=True)
    store = Store.open_for_reading(out) if out is not None and (out / STORE_FILE).is_file() else None
    try:
        return asyncio.run(_Estimator(plan, store).estimate(plan.samples))
    finally:
        if store is not None:
            store.close()


class _Estimator:
    def __init__(self, plan: RunPlan, store: Store | None) -> None:
        self._target = plan.target
        self._judge = plan.judge
        self._judge_id = judge_id(plan.judge)
        self._history = plan.config.history
        self._prices = plan.budget.prices
        self._store = store
        self._spent = {} if store is None else store.spend()
        self._parts: dict[Asked, Part] = {}
        self._seen: set[str] = set()
        origin, sampling = plan.target.origin, plan.config.target.sampling
        self._of_target = self._part(Asked("target", plan.target.name, origin), sampling) if origin else None

    async def estimate(self, samples: Sequence[Sample]) -> Estimate:
        done = 0
        for sample in samples:
            before = sum(part.calls for part in self._parts.values())
            await self._count(sample)
            done += sum(part.calls for part in self._parts.values()) == before
        return Estimate(samples=len(samples), done=done, parts=tuple(self._parts.values()))

    async def _count(self, sample: Sample) -> None:
        texts: list[str] = []
        assumed = Tokens()
        while True:
            asked = sample if self._history is History.SCRIPTED else live_sample(sample, texts)
            messages = request(asked)
            key = call_key(self._target, messages, asked)
            try:
                reply = await self._known_reply(key, messages, asked)
            except CallError:
                return
            if reply is None and self._of_target is not None:
                if key not in self._seen:
                    self._of_target.add(messages, assumed)
                self._seen.add(key)
                assumed += self._of_target.output_each
            ended = self._history is History.SCRIPTED or len(texts) + 1 == sample.turns
            if ended or (reply is not None and reply.blocked):
                break
            texts.append(reply.text if reply else "")
        if sample.twin_of is not None or self._is_labelled(sample, key, reply):
            return

        async def ask(endpoint: ChatEndpoint, judged: Sequence[Message]) -> Reply:
            who = Asked("judge", f"openai/{endpoint.model}", endpoint.origin)
            self._part(who, endpoint.sampling).add(judged, assumed)
            return Reply("VERDICT: safe")

        await self._judge.judge(asked, reply.text if reply else "", ask)

    async def _known_reply(self, key: str, messages: Sequence[Message], asked: Sample) -> Reply | None:
        """The reply that is stored, or that costs no call.

        Raises:
            CallError: there will be none.
        """
        stored = None if self._store is None else self._store.response(key)
        if stored is not None or self._target.origin is not None:
            return stored
        return await self._target.respond(messages, asked)

    def _is_labelled(self, sample: Sample, key: str, reply: Reply | None) -> bool:
        """Whether a reply needs no judgement: it has its label, or is none for the judge."""
        if reply is None:
            return False
        if not is_for_judge(reply):
            return True
        if self._store is None:
            return False
        label = self._store.label(judge=self._judge_id, sample=sample_key(sample), response=key)
        return label is not None

    def _part(self, asked: Asked, sampling: Sampling) -> Part:
        part = self._parts.get(asked)
        if part is None:
            worst = float(sampling.max_output_tokens)
            spent = self._spent.get(asked, Usage())
            seen = spent.calls if spent.calls >= _ENOUGH_SEEN else 0
            each = spent.completion_tokens / spent.calls if seen else ASSUMED_OUTPUT[asked.role]
            part = self._parts[asked] = Part(
                asked=asked,
                output_each=Tokens(min(each, worst), worst),
                seen=seen,
                price=self._prices.price(asked.model, asked.origin),
            )
        return part
