"""A chat model that a build asks: within the limits of its endpoint, from the store, and up to a cost.

Every reply is stored under the hash of its request before it is looked at, so a build that was killed asks
nothing twice.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safemt.core.errors import CapReached
from safemt.core.identity import Json, content_key
from safemt.core.schema import Message
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import EndpointLimits
from safemt.endpoints.prices import Price
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.run.store import Store

PROMPTS_VERSION = 2


@dataclass(slots=True)
class Purse:
    """What a build may spend and has spent, in US dollars, over all the models that it asks."""

    most: float | None = None
    spent: float = 0.0

    def pay(self, amount: float) -> None:
        """Count an answer."""
        self.spent += amount

    def require_left(self) -> None:
        """Stop before the next call if nothing is left.

        Raises:
            CapReached: what was spent has reached the cap.
        """
        if self.most is not None and self.spent >= self.most:
            raise CapReached(
                "cost_cap_reached",
                f"The build has spent ${self.spent:.2f} of ${self.most:.2f} (`budget.max_cost`).",
                setting="budget.max_cost",
            )


class StoredModel:
    """One chat model in one part: `generator`, `reviewer` or `pilot`."""

    def __init__(
        self, endpoint: ChatEndpoint, *, part: str, concurrency: int, purse: Purse, price: Price | None
    ) -> None:
        self.name = f"openai/{endpoint.model}"
        self.part = part
        self.asked = self.stored = 0
        self.tokens = [0, 0]
        """Of prompts and of completions, stored answers included."""
        self.price = price
        self._endpoint = endpoint
        self._limits = EndpointLimits(endpoint.origin, concurrency)
        self._purse = purse

    @property
    def identity(self) -> Json:
        """Everything that decides a reply besides the messages."""
        return {
            "kind": f"build-{self.part}",
            "model": self._endpoint.model,
            "temperature": self._endpoint.sampling.temperature,
            "max_output_tokens": self._endpoint.sampling.max_output_tokens,
            "prompts": PROMPTS_VERSION,
        }

    async def ask(self, messages: Sequence[Message], store: Store) -> Reply:
        """The reply to some messages: the stored one, or a new one.

        Raises:
            CallError: the call failed.
            CapReached: nothing is left to spend.
            RunStopped: the endpoint failed for good.
        """
        key = content_key(
            {
                "asked": self.identity,
                "messages": [
                    [message.role, message.content, message.image.sha256 if message.image else None]
                    for message in messages
                ],
            }
        )
        stored = store.response(key)
        if stored is not None:
            self.stored += 1
            self._count(messages, stored, paid=False)
            return stored
        self._purse.require_left()
        started = time.monotonic()
        reply, attempts = await self._limits.call(lambda: self._endpoint.complete(messages), asked=self.part)
        self.asked += 1
        store.add_response(
            key,
            reply,
            refused=detect_refusal(reply.text) is Refusal.FULL,
            judged=False,
            attempts=attempts,
            seconds=time.monotonic() - started,
        )
        self._count(messages, reply, paid=True)
        return reply

    def _count(self, messages: Sequence[Message], reply: Reply, *, paid: bool) -> None:
        prompt = reply.prompt_tokens or _prompt_tokens(messages)
        completion = reply.completion_tokens or _tokens(reply.text)
        self.tokens[0] += prompt
        self.tokens[1] += completion
        if paid and self.price is not None:
            self._purse.pay(self.price.of(prompt, completion))

    def report(self) -> dict[str, Any]:
        """Calls and tokens."""
        return {
            "model": self.name,
            "identity": self.identity,
            "calls": self.asked,
            "from_the_store": self.stored,
            "prompt_tokens": self.tokens[0],
            "completion_tokens": self.tokens[1],
        }

    async def close(self) -> None:
        """Close connections."""
        self._limits.close()
        await self._endpoint.close()


def _prompt_tokens(messages: Sequence[Message]) -> int:
    return sum(_tokens(message.content) for message in messages)


def _tokens(text: str) -> int:
    """About how many tokens a text has, where an endpoint reports none."""
    return len(text.encode()) // 4 + 1
