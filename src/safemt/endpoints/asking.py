"""Calls within an endpoint's limits, for what asks endpoints outside the engine."""

from collections.abc import Sequence

from safemt.core.schema import Message
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.limits import EndpointLimits


class LimitedAsk:
    """Makes calls as a run does: bounded at once, again where that may help, given up where nothing helps."""

    def __init__(self, concurrency: int, *, role: str) -> None:
        """`concurrency` calls at once to each endpoint; `role` (`moderator`) names who asks."""
        self._concurrency = concurrency
        self._role = role
        self._limits: dict[str, EndpointLimits] = {}

    async def __call__(self, endpoint: ChatEndpoint, messages: Sequence[Message]) -> Reply:
        """The reply to one request.

        Raises:
            CallError: the call failed for good.
            RunStopped: so would every other call.
        """
        limits = self._limits.get(endpoint.origin)
        if limits is None:
            limits = self._limits[endpoint.origin] = EndpointLimits(endpoint.origin, self._concurrency)
        reply, _ = await limits.call(
            lambda: endpoint.complete(messages), asked=f"{self._role} {endpoint.model}"
        )
        return reply
