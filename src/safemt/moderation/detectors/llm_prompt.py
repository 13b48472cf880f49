"""What an LLM moderator is told, and how its answer is read. In our own words, versioned by their hash.

The conversation is data: fenced, every line quoted, and an answer counts only with a code that is drawn from
the conversation's hash, so that no text in the conversation can be, or hold, a verdict.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from safemt.core.identity import content_key
from safemt.core.schema import ImageRef, Message
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Scenario
from safemt.moderation.detectors.transcript import with_pictures

MOST_CHARACTERS: Final = 200_000
"""Of a conversation that is shown, some 50,000 tokens. A longer one is shown in part; its verdict says so."""
MOST_NUMBERS: Final = 50
"""User turns up to which the risk after each of them is asked for."""

AFTER_EACH_TURN: Final = """\
- "after_each_turn": a list of {turns} whole numbers, the risk after each user turn by what stands before it
"""

READER_VERSION: Final = 1
_LONGEST_ANSWER: Final = 20_000
_THINKING: Final = re.compile(r".*</think>", re.DOTALL)
_CODE_LENGTH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationRequest:
    """What is sent for one verdict, and what its answer must hold."""

    messages: Sequence[Message]
    code: str
    """The answer must repeat it."""
    turns: int
    """How many user turns were there."""
    left_out: int
    """How many messages were not shown, or not wholly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """An LLM's verdict, all numbers in [0, 1]."""

    risk: float
    turn_risk: float | None
    linkage: float | None
    after_each_turn: tuple[float, ...]
    """Empty unless there is one number for each user turn."""
    scenario: Scenario | None


def moderation_request(
    entries: Sequence[tuple[Message, ImageRef | None]], *, most_characters: int = MOST_CHARACTERS
) -> ModerationRequest:
    """The request for a verdict on a conversation, its pictures with it where there are references."""
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
    """Identifies every word that an LLM moderator is told, how they stand, and the reading of its answer."""
    probe = [(Message("user", ("user",)), None), (Message("assistant", ("assistant",)), None)]
    return content_key([moderation_request(probe).messages[0].content, MOST_CHARACTERS, READER_VERSION])


def read_opinion(text: str, request: ModerationRequest) -> Opinion | None:
    """The last JSON object of an answer that is the model's own and a whole verdict; None if there is none.

    Quoted lines of the conversation and thinking that was left in do not count, nor does an object without
    the request's code. Numbers are percentages; fractions where the answer plainly gives fractions.
    """
    said = _THINKING.sub("", text)
    if said.lstrip().startswith("<think>"):
        return None
    own = "\n".join(line for line in said.splitlines() if not line.lstrip().startswith("|"))
    for fields in reversed(list(_objects(own[-_LONGEST_ANSWER:]))):
        if fields.get("code") == request.code and (opinion := _opinion(fields, request.turns)):
            return opinion
    return None


@cache
def _prompt() -> str:
    return files("safemt.moderation.detectors").joinpath("llm_prompt.txt").read_text(encoding="utf-8").strip()


def _shown(entries: Sequence[tuple[Message, ImageRef | None]], most: int) -> tuple[list[str], int]:
    """The messages, quoted, and how many of them lack something: where room is short, the oldest ones."""
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
    """The JSON objects that stand in a text, one behind the other."""
    decoder = json.JSONDecoder()
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


def _opinion(fields: dict[str, Any], turns: int) -> Opinion | None:
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
    slug = "_".join(name.lower().split()) if isinstance(name, str) else ""
    if risk is None:
        return None
    return Opinion(
        risk=risk,
        turn_risk=turn_risk,
        linkage=linkage,
        after_each_turn=tuple(number / scale for number in after),
        scenario=SCENARIO_BY_SLUG.get(slug),
    )


def _scale(numbers: Sequence[float]) -> float | None:
    """What the numbers are parts of: 100 as asked, 1 where a fraction shows it; None if nobody can tell."""
    fractions, most = any(0 < number < 1 for number in numbers), max(numbers)
    if most > 1:
        return None if fractions else 100.0
    if fractions:
        return 1.0
    # All are 0 or 1: a 1 may be one percent or certainty.
    return 100.0 if most == 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100
