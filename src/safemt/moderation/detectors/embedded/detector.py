"""The embedded detector: reads a conversation with the shipped model, turn by turn, on one CPU thread."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from safemt.core.identity import Json
from safemt.core.schema import ImageRef, Message
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.judges.refusal_detector import Refusal, detect_refusal
from safemt.moderation.detectors.detector import Assessment, Scan
from safemt.moderation.detectors.embedded.features import SCENARIOS
from safemt.moderation.detectors.embedded.model import SHIPPED, EmbeddedModel, load_model
from safemt.moderation.detectors.embedded.reading import TurnReading, read_turn
from safemt.moderation.reading.language import UNTOLD, language_of
from safemt.moderation.reading.pictures import PictureReader, PictureText, can_read_pictures

READS: Final = 2
"""Version of what is read of a conversation: raised when views, windows or features change."""
MOST_PICTURES: Final = 16
"""Pictures of one message that are read anew; those whose text is known cost nothing and do not count."""
KEPT_WORDS: Final = 40
"""Pictures whose text is joined with that of later ones."""
LONGEST_WORDS: Final = 2000
"""Characters of the joined text of pictures, the newest."""

HELPED: Final = {Refusal.NONE: 1.0, Refusal.PARTIAL: 0.5, Refusal.FULL: 0.02}
"""How far a response that refuses in this way is help."""

_NOT_READ: Final = {
    "ocr_budget": "A picture could not be read within its time.",
    "image_unreadable": "A picture is damaged or of an unknown kind.",
    "image_too_large": "A picture has too many bytes to be read.",
    "image_too_many_pixels": "A picture has too many pixels to be read.",
    "too_many_frames": "An animation has more frames than are read.",
    "too_many_pictures": f"A message holds more than {MOST_PICTURES} new pictures; the others were not read.",
    "ocr_failed": "The reader of pictures did not start; check that the extra `ocr` is installed whole.",
    "language_not_covered": "A message is in a language that the moderator was not measured on.",
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
    """One conversation: its worst turn and the ends of the newest turns, whatever its length."""

    def __init__(self, model: EmbeddedModel, reader: PictureReader | None) -> None:
        self._model = model
        self._reader = reader
        self._before: list[list[int]] = []
        self._words: deque[str] = deque(maxlen=KEPT_WORDS)
        self._worst: TurnReading | None = None
        self._newest: TurnReading | None = None
        """None also where nothing could be read in the newest user message."""
        self._degraded: Degraded | None = None
        self._helped: float | None = None
        """How far the newest assistant message answers the newest user message; None before there is one."""
        self.language = UNTOLD
        """Of the newest user message: a code of two letters, or `und` where it is too short to tell."""

    async def add(self, message: Message) -> Scan:
        """Read a user's message.

        Others say nothing about the user's intent, since whoever sends a request can forge them. Of an
        assistant's, only whether it refuses is noted, for `response_risk`.

        Raises:
            BenchmarkError: a picture's file is gone or has changed.
        """
        if message.role != "user":
            if message.role == "assistant" and message.content.strip():
                self._helped = HELPED[detect_refusal(message.content)]
            return Scan(text=False, unscanned=_passed_over(message))
        self._helped = None
        found, unscanned = self._pictures(message)
        typed = message.content
        here = " ".join(each.text for each in found if each.text)
        self._newest = None
        covered = True
        if typed.strip() or here:
            turn = self._newest = self._step(self._texts(typed, here))
            covered = self._covers(typed if typed.strip() else here)
            why = "turn_too_long" if not turn.whole else None if covered else "language_not_covered"
            parts = enumerate(message.parts)
            unscanned |= {place: why for place, part in parts if why and isinstance(part, str)}
        elif unscanned:
            self._note("nothing_read")
        for why in unscanned.values():
            self._note(why)
        return Scan(text=covered, images=sum(each.why is None for each in found), unscanned=unscanned)

    async def assess(self) -> Assessment:
        """The calibrated readings of the worst turn so far and of the newest one."""
        worst, newest, model = self._worst, self._newest, self._model
        if worst is None:
            return Assessment(risk=None, degraded=self._degraded)
        return Assessment(
            risk=model.risk(worst.in_context),
            turn_risk=model.turn_risk(newest.alone) if newest else None,
            linkage=model.linkage(newest.in_context) if newest else None,
            scenarios=dict(
                zip(model.scenarios, map(model.scenario, worst.readings[SCENARIOS:].tolist()), strict=True)
            ),
            degraded=self._degraded,
        )

    @property
    def support(self) -> float | None:
        """How likely the newest user turn speaks of distress or of harm done to the speaker, in [0, 1]."""
        return self._model.support(self._newest.support) if self._newest else None

    @property
    def response_risk(self) -> float | None:
        """How likely the newest assistant message helped with a harmful request, in [0, 1].

        The risk of the user's newest turn in its context, times how far the message answers. None without a
        message behind that turn.
        """
        if self._newest is None or self._helped is None:
            return None
        return self._helped * self._model.risk(self._newest.in_context)

    def _covers(self, text: str) -> bool:
        self.language = language_of(text)
        return self.language == UNTOLD or self.language in self._model.languages

    def _step(self, texts: Sequence[str]) -> TurnReading:
        turn = read_turn(self._model, texts, self._before)
        self._before = turn.before
        if self._worst is None or turn.in_context >= self._worst.in_context:
            self._worst = turn
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
