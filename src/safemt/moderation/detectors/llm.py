"""`llm:openai/MODEL`: any chat model, asked by our own prompt for a verdict on the whole conversation.

The conversation is data: it is fenced, every line is quoted, and an answer counts only with a code drawn
from the conversation's hash. So no text in the conversation can be, or hold, a verdict.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

from safemt.core.errors import DataError
from safemt.core.identity import Json, content_key
from safemt.core.schema import ImageRef, Message
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Scenario
from safemt.core.verdict import Degraded
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Reading, Scan, ask_and_read
from safemt.moderation.detectors.transcript import Transcript, with_pictures

MOST_OUTPUT_TOKENS: Final = 1024
"""The verdict on a long conversation holds a number for each turn, and some models think first."""
MOST_CHARACTERS: Final = 200_000
"""Characters of a conversation that are shown, some 50,000 tokens. Of a longer one the oldest part is cut."""
MOST_NUMBERS: Final = 50
"""User turns up to which the risk after each of them is asked for."""
AFTER_EACH_TURN: Final = """\
- "after_each_turn": a list of {turns} whole numbers, the risk after each user turn by what stands before it
"""
READER_VERSION: Final = 2
"""Raised when the same answer is read in another way."""

_LONGEST_ANSWER: Final = 20_000
_THINKING: Final = re.compile(r".*</think>", re.DOTALL)
_CODE_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class LLMDetector:
    """Asks a chat model by our own prompt."""

    endpoint: ChatEndpoint
    with_pictures: bool = False
    """Whether the model is shown the pictures; coverage lists those that it does not see."""
    threshold: float = 0.5

    @property
    def name(self) -> str:
        """`llm:openai/MODEL`."""
        return f"llm:openai/{self.endpoint.model}"

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        """The model's."""
        return (self.endpoint,)

    @property
    def identity(self) -> Json:
        """Model, sampling, whether it sees pictures, and every word of the prompt."""
        return {
            "kind": "llm",
            "model": self.endpoint.model,
            "temperature": self.endpoint.sampling.temperature,
            "max_output_tokens": self.endpoint.sampling.max_output_tokens,
            "with_pictures": self.with_pictures,
            "prompt": prompt_hash(),
        }

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _LLMReading(self, ask)


class _LLMReading:
    def __init__(self, detector: LLMDetector, ask: Ask) -> None:
        self._detector = detector
        self._ask = ask
        self._transcript = Transcript(pictures=detector.with_pictures)

    async def add(self, message: Message) -> Scan:
        return self._transcript.add(message)

    async def assess(self) -> Assessment:
        request = moderation_request(self._transcript.entries)
        found = await ask_and_read(
            self._ask,
            self._detector.endpoint,
            request.messages,
            lambda reply: read_answer(reply.text, request),
            name=self._detector.name,
        )
        if found.degraded or not request.left_out:
            return found
        message = f"{request.left_out:,} messages were not shown, or not wholly."
        return replace(found, degraded=Degraded(cause="too_long", message=message))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationRequest:
    """What is sent for one verdict, and what its answer must hold."""

    messages: Sequence[Message]
    code: str
    """The answer must repeat it."""
    turns: int
    """User turns in the conversation."""
    left_out: int
    """Messages that are not shown, or not wholly."""


def moderation_request(
    entries: Sequence[tuple[Message, ImageRef | None]], *, most_characters: int = MOST_CHARACTERS
) -> ModerationRequest:
    """The request for a verdict on a conversation, given as messages with the picture to show of each."""
    shown, left_out = _shown(entries, most_characters)
    digest = content_key(shown)
    fence, code = f"=== {digest[:16]} ===", digest[16 : 16 + _CODE_LENGTH]
    turns = sum(message.role == "user" for message, _ in entries)
    prompt = _prompt().format(
        scenarios=", ".join(Scenario),
        fence=fence,
        conversation="\n".join(shown),
        code=code,
        after_each_turn=AFTER_EACH_TURN.format(turns=turns) if turns <= MOST_NUMBERS else "",
    )
    images = [image for _, image in entries if image is not None]
    return ModerationRequest(
        messages=with_pictures(prompt, images), code=code, turns=turns, left_out=left_out
    )


def prompt_hash() -> str:
    """Identifies every word of the prompt, their arrangement, and the way the answer is read."""
    probe = [(Message("user", "user"), None), (Message("assistant", "assistant"), None)]
    return content_key([moderation_request(probe).messages[0].content, MOST_CHARACTERS, READER_VERSION])


def read_answer(text: str, request: ModerationRequest) -> Assessment | None:
    """The last JSON object in an answer that is the model's own and a whole verdict; None if there is none.

    Quoted lines of the conversation and leftover thinking do not count, nor does an object without the
    request's code. An answer with an object that has a key twice is none. Numbers are percentages, or
    fractions if that is plain from them.
    """
    said = _THINKING.sub("", text)
    if said.lstrip().startswith("<think>"):
        return None
    own = "\n".join(line for line in said.splitlines() if not line.lstrip().startswith("|"))
    try:
        objects = list(_objects(own[-_LONGEST_ANSWER:]))
    except DataError:
        return None
    for fields in reversed(objects):
        if fields.get("code") == request.code and (found := _assessment(fields, request.turns)):
            return found
    return None


@cache
def _prompt() -> str:
    return files("safemt.moderation.detectors").joinpath("llm_prompt.txt").read_text(encoding="utf-8").strip()


def _shown(entries: Sequence[tuple[Message, ImageRef | None]], most: int) -> tuple[list[str], int]:
    """The messages, quoted, and how many of them lack something: if room is short, the oldest ones."""
    room, left_out = most, 0
    shown: list[str] = []
    picture = sum(image is not None for _, image in entries)
    for message, image in reversed(entries):
        text = message.content
        if len(text) > room:
            left_out += 1
            half = room // 2
            gap = f"[… {len(text) - 2 * half:,} characters left out …]"
            text = f"{text[:half]}\n{gap}\n{text[len(text) - half :]}"
        room = max(0, room - len(text))
        heading = f"|# {message.role}"
        if image is not None:
            heading += f", shows Image{picture}"
            picture -= 1
        shown.append("\n".join([heading, *(f"| {line}" for line in text.splitlines() or [""])]))
    return shown[::-1], left_out


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, one after the other."""
    decoder = json.JSONDecoder(object_pairs_hook=_fields)
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        if isinstance(value, dict):
            yield value
        start = text.find("{", end)


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise DataError("key_twice", "An object has a key twice, so it may contradict itself.")
    return fields


def _assessment(fields: dict[str, Any], turns: int) -> Assessment | None:
    after = fields.get("after_each_turn")
    if not isinstance(after, list) or len(after) != turns or not all(map(_is_number, after)):
        after = []
    numbers = [fields.get(name) for name in ("risk", "turn_risk", "linkage")]
    if not _is_number(numbers[0]) or any(n is not None and not _is_number(n) for n in numbers):
        return None
    scale = _scale([number for number in (*numbers, *after) if number is not None])
    if scale is None:
        return None
    risk, turn_risk, linkage = (None if number is None else number / scale for number in numbers)
    name = fields.get("scenario")
    scenario = SCENARIO_BY_SLUG.get("_".join(name.lower().split())) if isinstance(name, str) else None
    return Assessment(
        risk=risk,
        turn_risk=turn_risk,
        linkage=linkage,
        scenarios={scenario: 1.0} if scenario else {},
        earlier=[number / scale for number in after[:-1]],
    )


def _scale(numbers: Sequence[float]) -> float | None:
    """What the numbers are parts of: 100 as asked, 1 if a fraction shows it; None if nobody can tell."""
    fractions, most = any(0 < number < 1 for number in numbers), max(numbers)
    if most > 1:
        return None if fractions else 100.0
    if fractions:
        return 1.0
    # All are 0 or 1: a 1 may be one percent or certainty.
    return 100.0 if most == 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100
