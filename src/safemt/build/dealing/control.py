"""The text control: the same dialogue without its picture, so that what the picture does can be measured."""

import re
from collections.abc import Sequence

from safemt.build.dealing.material import Shown, filled
from safemt.build.dealing.talk import without_picture
from safemt.build.ladders.schema import Carried
from safemt.build.understanding.request import Request
from safemt.core.schema import Message


def control_dialogue(texts: Sequence[str], shown: Shown, request: Request | None) -> tuple[Message, ...]:
    """The messages with the picture's words in the text and no sentence that needs the picture."""
    found = []
    for place, text in enumerate(texts):
        plain = without_picture(text)
        if shown.part is not None:
            plain = _with_words(plain, shown, request)
        role = "assistant" if place % 2 else "user"
        found.append(Message(role=role, content=filled(plain, {}) or text))  # type: ignore[arg-type]
    return tuple(found)


def _with_words(text: str, shown: Shown, request: Request | None) -> str:
    part = shown.part
    if part is None:
        return text
    if part.kind is not Carried.DOING or request is None:
        return text.replace(shown.pointer, part.text)
    acts = Request(request.form, request.phrase[: part.stop])
    for verb, inflect in (("doing", "ing"), ("does", "s"), ("do", "")):
        named = acts.render(inflect=inflect)
        text = re.sub(rf"\b{verb} {re.escape(shown.pointer)}", lambda _: named, text)  # noqa: B023
    return text.replace(shown.pointer, part.text)
