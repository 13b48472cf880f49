"""`policy-always`: no detection, to measure what the baseline policy achieves alone."""

from collections.abc import Sequence

from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.detectors.transcript import scan_text


class AlwaysDetector:
    """Flags every conversation, so that its target always gets the baseline policy; blocks none."""

    name = "policy-always"
    threshold = 0.5
    endpoints: Sequence[ChatEndpoint] = ()

    @property
    def identity(self) -> Json:
        """A constant: nothing is configurable."""
        return {"kind": "policy-always"}

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _AlwaysReading()


class _AlwaysReading:
    def fork(self) -> "_AlwaysReading":
        return self

    async def add(self, message: Message) -> Scan:
        return scan_text(message)

    async def assess(self) -> Assessment:
        # A linkage of 0 keeps the moderator from blocking, since nothing was found.
        return Assessment(risk=1.0, linkage=0.0)
