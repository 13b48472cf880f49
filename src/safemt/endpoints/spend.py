"""What a run has spent, by whom it asked, and the caps that stop it.

A cap is for the run directory as a whole: what earlier commands spent there counts, so that resuming does
not get a fresh budget. What counts are the tokens that endpoints report, also with answers that are of no use
(an empty reply is paid for). Where an endpoint reports none, its answers are counted by estimate.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from safemt.core.errors import CallFailure, CapReached, UsageError
from safemt.core.schema import Message
from safemt.endpoints.base import Reply
from safemt.endpoints.prices import Price, PriceTable
from safemt.endpoints.tokens import messages_tokens, text_tokens
from safemt.io.yaml import typed


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked, and paid."""

    role: str
    """`target`, `judge` or `moderator`."""
    model: str
    """As on the command line: `openai/MODEL`."""
    origin: str
    """The endpoint: scheme, host and port. Empty for what makes no call and costs nothing."""

    def __str__(self) -> str:
        return f"{self.model} at {self.origin}"


@dataclass(slots=True, kw_only=True)
class Usage:
    """What answers cost in tokens. Not frozen, as that makes twice as quickly what each call makes thrice."""

    calls: int = 0
    """Answers with tokens, of use or not."""
    estimated: int = 0
    """How many of them are counted by estimate, since the endpoint reported none."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            calls=self.calls + other.calls,
            estimated=self.estimated + other.estimated,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps on what a run directory may spend, and the prices to count by."""

    max_cost: float | None = None
    """US dollars."""
    max_tokens: int | None = None
    """Input and output together."""
    prices: PriceTable = field(default_factory=lambda: PriceTable({}))

    def require_prices(self, asked: Iterable[Asked]) -> None:
        """Make sure that a cap on cost can be kept.

        Raises:
            UsageError: the price of one that is asked is unknown, or the cap is no amount.
        """
        if self.max_cost is None:
            return
        if not math.isfinite(self.max_cost):
            raise UsageError(
                "bad_max_cost",
                "`budget.max_cost` must be an amount in US dollars, such as 5 or 0.50.",
                max_cost=self.max_cost,
            )
        for each in asked:
            if self.prices.price(each.model, each.origin) is None:
                raise UsageError(
                    "unknown_price",
                    f"`budget.max_cost` cannot be kept, because the price of {each} is not known. Give it in "
                    "a YAML file (`budget.prices`) with the lines `format: safemt-prices/1`, `models:` and "
                    f"`  {each.model}: {{input: USD, output: USD}}`, per million tokens (0 for a server of "
                    "your own), or use `budget.max_tokens`.",
                    model=each.model,
                    origin=each.origin,
                )

    def record(self, asked: Iterable[Asked]) -> dict[str, Any]:
        """Caps and the prices of those asked, for the manifest."""
        return {
            "max_cost": self.max_cost,
            "max_tokens": self.max_tokens,
            "prices": {
                each.model: msgspec.to_builtins(price)
                for each in asked
                if (price := self.prices.price(each.model, each.origin))
            },
        }


def recorded_prices(manifest: Mapping[str, Any]) -> PriceTable:
    """The prices that an invocation counted by, from its manifest.

    Raises:
        DataError: they are not prices.
    """
    prices = manifest.get("budget", {}).get("prices", {})
    return PriceTable(typed(prices, dict[str, Price], where="The manifest's prices"))


class Spend:
    """Counts what is spent, and says when a cap is reached."""

    def __init__(
        self,
        *,
        before: Mapping[Asked, Usage] | None = None,
        record: Callable[[Asked, Usage], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`before` is what the run directory has spent so far; `record` keeps each addition there."""
        self._usage = dict(before or {})
        self._record = record
        self._budget = budget or Budget()
        self._tokens = self._tokens_before = self.total.tokens
        self._cost_before = self.cost or 0.0

    @property
    def total(self) -> Usage:
        """What all that were asked took together."""
        return sum(self._usage.values(), Usage())

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self._tokens

    @property
    def cost(self) -> float | None:
        """US dollars; None if a price is not known."""
        return cost_of(self._usage, self._budget.prices)

    def count_reply(self, asked: Asked, messages: Sequence[Message], reply: Reply) -> None:
        """Count one answered call."""
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        estimated = prompt is None or completion is None
        if prompt is None:
            prompt = round(messages_tokens(messages, asked.model).expected)
        if completion is None:
            completion = round(text_tokens(reply.text).expected)
        self.add(
            asked,
            Usage(calls=1, estimated=int(estimated), prompt_tokens=prompt, completion_tokens=completion),
        )

    def count_failure(self, asked: Asked, failure: CallFailure) -> None:
        """Count an answer of no use, if the endpoint reports tokens for it."""
        prompt, completion = failure.prompt_tokens, failure.completion_tokens
        if prompt or completion:
            self.add(asked, Usage(calls=1, prompt_tokens=prompt, completion_tokens=completion))

    def reached(self) -> CapReached | None:
        """What to stop with, once a cap is reached."""
        budget = self._budget
        if budget.max_tokens is not None and (tokens := self._tokens) >= budget.max_tokens:
            return self._cap_reached(
                "max_tokens", f"{budget.max_tokens:,} tokens", f"{tokens:,}", f"{self._tokens_before:,}"
            )
        if budget.max_cost is not None and (cost := self.cost or 0.0) >= budget.max_cost:
            return self._cap_reached(
                "max_cost", dollars(budget.max_cost), dollars(cost), dollars(self._cost_before)
            )
        return None

    def add(self, asked: Asked, usage: Usage) -> None:
        """Count what was spent; what makes no call costs nothing."""
        if not asked.origin:
            return
        self._usage[asked] = self._usage.get(asked, Usage()) + usage
        self._tokens += usage.tokens
        if self._record is not None:
            self._record(asked, usage)

    def _cap_reached(self, cap: str, amount: str, spent: str, before: str) -> CapReached:
        guessed = self.total.estimated
        guesses = f" ({guessed:,} calls by estimate: their endpoint reports no tokens)" if guessed else ""
        return CapReached(
            f"{cap}_reached",
            f"The cap of {amount} (`budget.{cap}`) is reached: this run directory has spent {spent}, "
            f"{before} of it before this invocation{guesses}.",
            cap=f"budget.{cap}",
        )


def cost_of(usage: Mapping[Asked, Usage], prices: PriceTable) -> float | None:
    """US dollars for all of `usage`; None if one of them has no known price."""
    total = 0.0
    for asked, used in usage.items():
        price = prices.price(asked.model, asked.origin)
        if price is None:
            return None
        total += price.of(used.prompt_tokens, used.completion_tokens)
    return total


def dollars(amount: float) -> str:
    """`$1,234.50`; small amounts with as many digits as it takes to see two that count."""
    digits = 2 if amount == 0 or amount >= 0.1 else min(10, 1 - math.floor(math.log10(amount)))
    return f"${amount:,.{digits}f}"
