"""The embedded detector: reads a conversation with the shipped model, turn by turn, on one CPU thread."""

from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from safemt.core.identity import Json
from safemt.core.schema import ImageRef, Message
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Scan
from safemt.moderation.detectors.embedded.features import Floats
from safemt.moderation.detectors.embedded.head import INTENT, LINKAGE, SCENARIOS, TURN
from safemt.moderation.detectors.embedded.model import SHIPPED, EmbeddedModel, load_model
from safemt.moderation.detectors.embedded.reading import TurnReading, read_turn
from safemt.moderation.reading.pictures import PictureReader, PictureText, can_read_pictures

READS: Final = 1
"""Version of what is read of a conversation: raised when views, windows or features change."""
MOST_PICTURES: Final = 16
"""Pictures of one message that are read anew; those whose text is known cost nothing and do not count."""
KEPT_WORDS: Final = 40
"""Pictures whose text is joined with that of later ones."""
LONGEST_WORDS: Final = 2000
"""Characters of the joined text of pictures, the newest."""

_NOT_READ: Final = {
    "ocr_budget": "A picture could not be read within its time.",
    "image_unreadable": "A picture is damaged or of an unknown kind.",
    "image_too_large": "A picture has too many bytes to be read.",
    "image_too_many_pixels": "A picture has too many pixels to be read.",
    "too_many_frames": "An animation has more frames than are read.",
    "too_many_pictures": f"A message holds more than {MOST_PICTURES} new pictures; the others were not read.",
    "ocr_failed": "The reader of pictures did not start; check that the extra `ocr` is installed whole.",
    "script_not_read": "A message is in a script that is not read here; the model knows Latin letters only.",
    "turn_too_long": "A message is too long to be read whole; excerpts of it were.",
    "nothing_read": "The newest user message holds nothing that could be read.",
}
"""By code of `Unscanned.why`: what makes a verdict worth less. Pixels, and pictures where no reader is
installed, are never looked at, so they are reported and degrade nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDetector:
    """The detector `embedded`. Any number of conversations share its model; each call takes milliseconds."""

    model: EmbeddedModel
    reader: PictureReader | None
    """None: text in pictures is not read."""

    @classmethod
    def load(cls, *, pictures: bool = True, folder: Path = SHIPPED) -> "EmbeddedDetector":
        """The detector with the model in `folder`; with `pictures` it reads text in them if it can.

        Raises:
            ModeratorError: a file of the model is missing, damaged or of another version.
        """
        return cls(model=load_model(folder), reader=_reader() if pictures and can_read_pictures() else None)

    @property
    def name(self) -> str:
        """As given to `--moderator`."""
        return "embedded"

    @property
    def identity(self) -> Json:
        """The model's files by their hashes, how a conversation is read, and how pictures are."""
        return {
            "kind": "embedded",
            "reads": READS,
            "model": dict(self.model.sha256),
            "pictures": self.reader.identity if self.reader else None,
        }

    @property
    def threshold(self) -> float:
        """As calibrated when the model was made."""
        return self.model.thresholds["default"]

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        """None: it works on this machine alone."""
        return ()

    def open(self, ask: Ask) -> "EmbeddedReading":
        """Begin a conversation."""
        return EmbeddedReading(self.model, self.reader)


class EmbeddedReading:
    """One conversation: the head's state and the ends of the newest turns, whatever its length."""

    def __init__(self, model: EmbeddedModel, reader: PictureReader | None) -> None:
        self._model = model
        self._reader = reader
        self._state = model.head.start()
        self._before: list[list[int]] = []
        self._words: deque[str] = deque(maxlen=KEPT_WORDS)
        self._logits: Floats | None = None
        self._read = False
        """Whether anything was read in the newest user message."""
        self._degraded: Degraded | None = None

    def fork(self) -> "EmbeddedReading":
        """A copy that shares nothing that changes."""
        forked = copy(self)
        vars(forked).update(_words=self._words.copy())
        return forked

    async def add(self, message: Message) -> Scan:
        """Read a user's message; all others are passed over, since whoever sends a request can forge them.

        Raises:
            BenchmarkError: a picture's file is gone or has changed.
        """
        if message.role != "user":
            return Scan(text=False, unscanned=_passed_over(message))
        found, unscanned = self._pictures(message)
        typed = message.content
        here = " ".join(each.text for each in found if each.text)
        self._read = bool(typed.strip() or here)
        legible = True
        if self._read:
            turn = self._step(self._texts(typed, here))
            legible = turn.legible
            why = "turn_too_long" if not turn.whole else None if legible else "script_not_read"
            parts = enumerate(message.parts)
            unscanned |= {place: why for place, part in parts if why and isinstance(part, str)}
        if not self._read and unscanned:
            self._note("nothing_read")
        for why in unscanned.values():
            self._note(why)
        return Scan(text=legible, images=sum(each.why is None for each in found), unscanned=unscanned)

    async def assess(self) -> Assessment:
        """The calibrated outputs of the head after the newest user turn."""
        logits = self._logits
        if logits is None:
            return Assessment(risk=None, degraded=self._degraded)
        model = self._model
        return Assessment(
            risk=model.risk(logits[INTENT]),
            turn_risk=model.turn_risk(logits[TURN]) if self._read else None,
            linkage=model.linkage(logits[LINKAGE]) if self._read else None,
            scenarios=dict(zip(model.scenarios, map(model.scenario, logits[SCENARIOS:]), strict=True)),
            degraded=self._degraded,
        )

    def _step(self, texts: Sequence[str]) -> TurnReading:
        turn = read_turn(self._model, texts, self._before)
        self._before = turn.before
        self._logits, self._state = self._model.head.step(turn.features, self._state)
        return turn

    def _texts(self, typed: str, here: str) -> list[str]:
        """Readings of a turn: with the words in its pictures, without them, with those of all pictures."""
        if not here:
            return [typed]
        texts = [f"{typed}\n{here}", typed, here] if typed.strip() else [here]
        if self._words:
            # A request may be spread over pictures, a word on each.
            joined = " ".join([*self._words, here])[-LONGEST_WORDS:]
            texts += [joined, f"{joined}\n{typed}"] if typed.strip() else [joined]
        self._words.append(here)
        return texts

    def _pictures(self, message: Message) -> tuple[list[PictureText], dict[int, str]]:
        """What was read in the message's pictures, and why parts of it were not looked at."""
        found: list[PictureText] = []
        unscanned: dict[int, str] = {}
        fresh = 0
        for place, part in enumerate(message.parts):
            if not isinstance(part, ImageRef):
                continue
            if self._reader is None:
                unscanned[place] = "no_ocr"
                continue
            fresh += not self._reader.knows(part)
            if fresh > MOST_PICTURES and not self._reader.knows(part):
                unscanned[place] = "too_many_pictures"
                continue
            text = self._reader.read(part)
            found.append(text)
            unscanned[place] = text.why or "pixels_not_scored"
        return found, unscanned

    def _note(self, why: str) -> None:
        if self._degraded is None and why in _NOT_READ:
            self._degraded = Degraded(cause=why, message=_NOT_READ[why])


def _passed_over(message: Message) -> dict[int, str]:
    """Of a message that is not the user's: its pictures, and the text that a tool brought in."""
    kinds = (str, ImageRef) if message.role == "tool" else ImageRef
    return {place: "not_from_user" for place, part in enumerate(message.parts) if isinstance(part, kinds)}


@cache
def _reader() -> PictureReader:
    """One for all detectors of a process: it holds a process of its own and remembers pictures."""
    return PictureReader()
