"""What the tests of moderators share: conversations, and detectors that say what they are told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safemt.core.errors import CallError, CallFailure
from safemt.core.identity import Json
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Reading, Scan
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.read import read_policies
from safemt.moderation.reading.conversation import ChatMessage, Part

TIMEOUT = CallError(CallFailure("timeout", "no complete reply within 1 s"))


def user(*parts: Part) -> ChatMessage:
    return ChatMessage("user", parts)


def assistant(text: str) -> ChatMessage:
    return ChatMessage("assistant", (text,))


def turns(*texts: str) -> list[ChatMessage]:
    """User turns with an assistant's word between them."""
    messages = [each for text in texts for each in (user(text), assistant("I see."))]
    return messages[:-1]


@dataclass
class Scripted:
    """A detector that gives these assessments in turn, the last one again and again; an error is raised."""

    says: Sequence[Assessment | CallError]
    threshold: float = 0.5
    name: str = "scripted"
    endpoints: Sequence[ChatEndpoint] = ()
    assessed: int = 0
    scan: Callable[[ChatMessage], Scan] = lambda _: Scan(text=True)

    @property
    def identity(self) -> Json:
        return {"kind": "scripted", "name": self.name}

    def open(self, ask: Ask) -> Reading:
        return _ScriptedReading(self)


class _ScriptedReading:
    def __init__(self, detector: Scripted) -> None:
        self._detector = detector
        self._place = 0

    async def add(self, message: ChatMessage) -> Scan:
        return self._detector.scan(message)

    async def assess(self) -> Assessment:
        said = self._detector.says[min(self._place, len(self._detector.says) - 1)]
        self._place += 1
        self._detector.assessed += 1
        if isinstance(said, CallError):
            raise said
        return said


def scripted(*says: Assessment | CallError | float, **options: object) -> Moderator:
    """A moderator whose detector says this; a number is a risk."""
    assessments = [Assessment(risk=each) if isinstance(each, float) else each for each in says]
    return Moderator(detector=Scripted(assessments), policies=read_policies(), **options)  # type: ignore[arg-type]
