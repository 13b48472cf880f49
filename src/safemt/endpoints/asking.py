"""The type of a hand that makes calls, and one that makes them within limits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from safemt.core.schema import Message
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import OF_A_PROGRAM, Limits, Patience

Ask: TypeAlias = Callable[[ChatEndpoint, Sequence[Message]], Awaitable[Reply]]
"""How a judge, a moderator or a builder makes a call. Limits and retries are its business.

It raises CallError if the call failed for good, and RunStopped if every other call would fail, too.
"""


class LimitedAsk:
    """Makes calls within limits: bounded at once, made again where that may help.

    It may be used in several event loops, one after the other or at once; each has limits of its own.
    """

    def __init__(self, concurrency: int, *, role: str, patience: Patience | None = None) -> None:
        """`concurrency` calls at once to each endpoint; `role` (`moderator`) names who asks.

        `patience` is that of a run unless it is given.
        """
        self._concurrency = concurrency
        self._role = role
        self._patience = patience
        self._limits: dict[asyncio.AbstractEventLoop, Limits] = {}

    async def __call__(self, endpoint: ChatEndpoint, messages: Sequence[Message]) -> Reply:
        """The reply to one request.

        Raises:
            CallError: the call failed for good.
            RunStopped: so would every other call, and the patience is one that gives up.
        """
        loop = asyncio.get_running_loop()
        limits = self._limits.get(loop)
        if limits is None:
            for ended in [each for each in self._limits if each.is_closed()]:
                del self._limits[ended]
            limits = self._limits[loop] = Limits(self._concurrency, self._patience)
        reply, _ = await limits.of(endpoint.origin).call(
            lambda: endpoint.complete(messages), asked=f"{self._role} {endpoint.model}"
        )
        return reply


limited_ask: Final = LimitedAsk(64, role="moderator", patience=OF_A_PROGRAM)
"""What a program gets that says nothing about limits: 64 calls at once to an endpoint, a few quick retries.
It never raises RunStopped."""
