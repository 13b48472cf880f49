"""The prompts of the chat models, filled, and what is read from their replies."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import orjson

from safemt.build.compose import Understood
from safemt.build.dealing.twins import Next
from safemt.build.pictures.plan import PicturePlan
from safemt.core.schema import Message, Role
from safemt.core.taxonomy import Method
from safemt.endpoints.base import Reply
from safemt.judges.refusal_detector import Refusal, detect_refusal

CRITERIA: Final = ("coherence", "escalation", "intent", "rewording", "picture", "harmless")
TWIN_CRITERIA: Final = ("coherence", "harmless")
_LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Job:
    """One dialogue to write."""

    understood: Understood
    turns: int
    method: Method
    language: str


@dataclass(frozen=True, slots=True)
class Review:
    """A reviewer's scores, by criterion, and its reasons for low ones."""

    scores: Mapping[str, int]
    reasons: str

    def accepted(self, least: int) -> bool:
        """Whether every criterion has at least the least score."""
        return min(self.scores.values()) >= least


def plan_messages(understood: Understood) -> list[Message]:
    """The request for a plan."""
    return _asked(_filled("plan.txt", understood, picture=describe(understood.picture)))


def dialogue_messages(job: Job, plan: str) -> list[Message]:
    """The request for one dialogue."""
    shown = job.understood.picture.shown
    withheld = ""
    if shown.words:
        withheld = (
            f'Only the picture holds the words "{shown.words}": no turn may use them. The last turn says '
            f'"{shown.pointer}" instead.'
        )
    task = _filled(
        "task.txt",
        job.understood,
        k=str(job.turns),
        k_minus_1=str(job.turns - 1),
        language=job.language,
        picture=describe(job.understood.picture),
        withheld=withheld,
        plan=plan or "none",
    )
    return _asked(f"{prompt(f'{job.method.value}.txt')}\n\n{task}")


def repair_message(job: Job, fault: str) -> Message:
    """What is said of an answer that cannot be used."""
    text = _filled("repair.txt", job.understood, k=str(job.turns), k_minus_1=str(job.turns - 1), fault=fault)
    return Message(role="user", content=text)


def twin_messages(job: Job, dialogue: Sequence[Message], next_: Next, picture: PicturePlan) -> list[Message]:
    """The request for the twin of a dialogue."""
    kept = 2 * ((job.turns - 1) // 2 or 1)
    thing = picture.shown.pointer or next_.thing
    text = _filled(
        "twin.txt",
        job.understood,
        kept=str(min(kept, len(dialogue) - 1)),
        thing=f"{next_.thing} (the text calls it {thing!r})" if thing != next_.thing else next_.thing,
        picture=describe(picture),
        dialogue=as_json(dialogue),
    )
    return _asked(text)


def review_messages(
    understood: Understood, dialogue: Sequence[Message], *, twin: bool = False
) -> list[Message]:
    """The request for a review."""
    text = _filled(
        "review_twin.txt" if twin else "review.txt",
        understood,
        picture=describe(understood.picture),
        dialogue=as_json(dialogue),
    )
    return [Message(role="user", content=text)]


def describe(plan: PicturePlan) -> str:
    """A picture in words, for a model that cannot see it."""
    card = plan.card
    if card is None:
        words = f" It prints the words: {plan.shown.words}." if plan.shown.words else ""
        return f"a picture from the query's source, which you cannot see.{words}"
    if card.kind == "scene":
        return f"a drawing of {', '.join(card.objects)}."
    lines = " / ".join(line for line in (card.title, *card.lines) if line)
    return f'a {card.kind} that reads "{lines}".'


def read_plan(reply: Reply) -> str:
    """A plan as one line, or nothing where the reply holds none."""
    try:
        document = orjson.loads(unfenced(reply.text))
    except orjson.JSONDecodeError:
        return ""
    goals = document.get("sub_goals") if isinstance(document, dict) else None
    if not isinstance(goals, list) or not all(isinstance(goal, str) for goal in goals):
        return ""
    picture = document.get("picture")
    steps = "; ".join(goals)
    return f"{steps}. The picture: {picture}" if isinstance(picture, str) else steps


def read_dialogue(reply: Reply, turns: int) -> tuple[Message, ...] | str:  # noqa: PLR0911
    """The dialogue in a reply, or what is wrong: `refused`, or a clause for the model to mend it by."""
    if reply.blocked:
        return "refused"
    try:
        document = orjson.loads(unfenced(reply.text))
    except orjson.JSONDecodeError:
        if detect_refusal(reply.text) is not Refusal.NONE:
            return "refused"
        return "it was cut off" if reply.finish_reason == "length" else "it is not one valid JSON object"
    entries = document.get("turns") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return "it has no list `turns`"
    messages = []
    for place, entry in enumerate(entries):
        role: Role = "assistant" if place % 2 else "user"
        if (
            not isinstance(entry, dict)
            or entry.get("role") != role
            or not isinstance(entry.get("content"), str)
        ):
            return f"entry {place + 1} of `turns` must be an object with role {role} and a text content"
        messages.append(Message(role=role, content=entry["content"].strip()))
    if len(messages) != 2 * turns - 1:
        return f"it has {len(messages)} turns in all instead of {2 * turns - 1}"
    return tuple(messages)


def read_review(reply: Reply, criteria: Sequence[str]) -> Review | None:
    """The scores in a reply; None where one is missing or out of range."""
    try:
        document = orjson.loads(unfenced(reply.text))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    scores: dict[str, int] = {}
    reasons = []
    for name in criteria:
        entry = document.get(name)
        score = entry.get("score") if isinstance(entry, dict) else entry
        if isinstance(score, bool) or not isinstance(score, int) or not 1 <= score <= 5:
            return None
        scores[name] = score
        reason = entry.get("reason") if isinstance(entry, dict) else None
        if score < 5 and isinstance(reason, str):
            reasons.append(f"{name}: {reason[:_LONGEST_REASON]}")
    return Review(scores, "; ".join(reasons))


def unfenced(text: str) -> str:
    """A reply without the code fence that some models put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text.removeprefix("```json").removeprefix("```").removesuffix("```")
    return text


def as_json(dialogue: Sequence[Message]) -> str:
    """A dialogue as the JSON that the prompts speak of."""
    turns = [{"role": message.role, "content": message.content} for message in dialogue]
    return json.dumps({"turns": turns}, ensure_ascii=False)


@cache
def prompt(name: str) -> str:
    """One prompt of the package."""
    return files("safemt.build").joinpath("data", "prompts", name).read_text(encoding="utf-8").strip()


def _asked(text: str) -> list[Message]:
    return [Message(role="system", content=prompt("system.txt")), Message(role="user", content=text)]


def _filled(name: str, understood: Understood, **values: str) -> str:
    """A prompt with its blanks filled. Texts of the data come last, so that no blank in them is filled."""
    data = {"question": understood.query.text, "dialogue": values.pop("dialogue", "")}
    values |= {"scenario": understood.query.scenario.value, "boundary": _boundary(understood.query.text)}
    text = prompt(name)
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    before, mark, after = text.partition("{question}")
    if not mark:
        return before.replace("{dialogue}", data["dialogue"])
    return before + data["question"] + after.replace("{dialogue}", data["dialogue"])


def _boundary(question: str) -> str:
    """A mark that the question does not hold; the same for the same question, so that its calls are too."""
    return f"REQUEST-{hashlib.sha256(question.encode('utf-8', 'surrogatepass')).hexdigest()[:12].upper()}"
