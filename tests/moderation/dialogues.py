"""What the tests of moderators share: conversations, and detectors that say what they are told."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from safemt.core.errors import CallError, CallFailure
from safemt.core.identity import Json
from safemt.core.schema import ImageRef, Message, Part
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.io.images import ImageBytes
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.moderator import Moderator
from safemt.moderation.open import open_moderator
from safemt.moderation.policies.policy import read_policies

TIMEOUT = CallError(CallFailure("timeout", "no complete reply within 1 s"))


async def once(endpoint: ChatEndpoint, messages: Sequence[Message]) -> Reply:
    """Make a call once: a failure is one at once."""
    return await endpoint.complete(messages)


def opened(name: str, base_url: str | None = None, **options: Any) -> Moderator:
    """A moderator whose calls go to `base_url` and are made once."""
    return open_moderator(name, base_url=base_url, ask=once, **options)


def picture_from(content: bytes) -> ImageRef:
    """A picture of whatever bytes, as one that came in a request."""
    return ImageRef(hashlib.sha256(content).hexdigest(), "image/png", 1, 1, source=ImageBytes(content))


def user(*parts: Part) -> Message:
    return Message("user", parts)


def assistant(text: str) -> Message:
    return Message("assistant", (text,))


def turns(*texts: str) -> list[Message]:
    """User turns with an assistant's word between them."""
    messages = [each for text in texts for each in (user(text), assistant("I see."))]
    return messages[:-1]


@dataclass
class Scripted:
    """A detector that gives these assessments in turn, the last one again and again. It raises exceptions."""

    says: Sequence[Assessment | Exception]
    threshold: float = 0.5
    name: str = "scripted"
    endpoints: Sequence[ChatEndpoint] = ()
    assessed: int = 0
    scan: Callable[[Message], Scan] = lambda _: Scan(text=True)

    @property
    def identity(self) -> Json:
        return {"kind": "scripted", "name": self.name}

    def open(self, ask: Ask) -> Reading:
        return _ScriptedReading(self)


class _ScriptedReading:
    def __init__(self, detector: Scripted) -> None:
        self._detector = detector
        self._place = 0

    async def add(self, message: Message) -> Scan:
        return self._detector.scan(message)

    async def assess(self) -> Assessment:
        said = self._detector.says[min(self._place, len(self._detector.says) - 1)]
        self._place += 1
        self._detector.assessed += 1
        if isinstance(said, Exception):
            raise said
        return said


def scripted(*says: Assessment | Exception | float, **options: object) -> Moderator:
    """A moderator whose detector says this; a number is a risk."""
    assessments = [Assessment(risk=each) if isinstance(each, float) else each for each in says]
    return Moderator(detector=Scripted(assessments), policies=read_policies(), **options)  # type: ignore[arg-type]
