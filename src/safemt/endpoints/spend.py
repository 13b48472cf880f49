"""What a run has spent, by whom it asked, and the caps that stop it.

A cap is for the run directory as a whole: what earlier commands spent there counts, so that resuming does
not get a fresh budget. What counts are the tokens that endpoints report, also with answers that are of no use
(an empty reply is paid for). Where an endpoint reports none, its answers are counted by estimate.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from safemt.core.errors import CallFailure, CapReached, UsageError
from safemt.core.schema import Message
from safemt.endpoints.base import Reply
from safemt.endpoints.prices import Price, PriceTable
from safemt.endpoints.tokens import messages_tokens, text_tokens


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What answers cost in tokens."""

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
            raise UsageError("--max-cost takes an amount in US dollars, such as 5 or 0.50.")
        for each in asked:
            if self.prices.price(each.model, each.origin) is None:
                raise UsageError(
                    f"--max-cost cannot be kept: the price of {each} is not known. Give it with --prices "
                    "FILE, a YAML file with the lines `format: safemt-prices/1`, `models:` and "
                    f"`  {each.model}: {{input: USD, output: USD}}`, per million tokens (0 for a server of "
                    "your own), or use --max-tokens."
                )

    def record(self, asked: Iterable[Asked]) -> dict[str, Any]:
        """Caps and the prices of those asked, for the manifest."""
        return {
            "max_cost": self.max_cost,
            "max_tokens": self.max_tokens,
            "prices": {
                each.model: asdict(price)
                for each in asked
                if (price := self.prices.price(each.model, each.origin))
            },
        }


def recorded_prices(manifest: Mapping[str, Any]) -> PriceTable:
    """The prices that an invocation counted by, from its manifest."""
    prices = manifest.get("budget", {}).get("prices", {})
    return PriceTable({model: Price(**entry) for model, entry in prices.items()})


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
        self._tokens_before = self.tokens
        self._cost_before = self.cost or 0.0

    @property
    def tokens(self) -> int:
        """Input and output, of all that were asked."""
        return sum(usage.tokens for usage in self._usage.values())

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
        if failure.prompt_tokens or failure.completion_tokens:
            self.add(
                asked,
                Usage(
                    calls=1,
                    prompt_tokens=failure.prompt_tokens,
                    completion_tokens=failure.completion_tokens,
                ),
            )

    def reached(self) -> CapReached | None:
        """What to stop with, once a cap is reached."""
        budget = self._budget
        if budget.max_tokens is not None and self.tokens >= budget.max_tokens:
            return CapReached(
                f"The cap of {budget.max_tokens:,} tokens (--max-tokens) is reached: this run directory "
                f"has used {self.tokens:,}, {self._tokens_before:,} of them before this command"
                f"{self._guessed()}.",
                option="--max-tokens",
            )
        if budget.max_cost is not None and (cost := self.cost or 0.0) >= budget.max_cost:
            return CapReached(
                f"The cap of {dollars(budget.max_cost)} (--max-cost) is reached: this run directory has "
                f"spent {dollars(cost)}, {dollars(self._cost_before)} of it before this command"
                f"{self._guessed()}.",
                option="--max-cost",
            )
        return None

    def add(self, asked: Asked, usage: Usage) -> None:
        """Count what was spent; what makes no call costs nothing."""
        if not asked.origin:
            return
        self._usage[asked] = self._usage.get(asked, Usage()) + usage
        if self._record is not None:
            self._record(asked, usage)

    def _guessed(self) -> str:
        calls = sum(usage.estimated for usage in self._usage.values())
        return f" ({calls:,} calls by estimate: their endpoint reports no tokens)" if calls else ""


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
