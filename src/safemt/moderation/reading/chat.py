"""Messages as chat APIs write them, OpenAI's above all, and what else a program may hand in."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from safemt.core.errors import DialogueError
from safemt.core.schema import Message, Part, Role, UnknownPart
from safemt.io.images import MAX_BYTES, ImageProblem, received_image

Said: TypeAlias = Message | Mapping[str, Any]
"""A message, or a mapping with `role` and `content` as in a chat request."""
Conversation: TypeAlias = str | Said | Iterable[Said]
"""One user message as text, one message, or several in their order."""

_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXT_PARTS: Final = {
    **dict.fromkeys(("text", "input_text", "output_text"), "text"),
    "refusal": "refusal",
}
"""Part type → the field that holds its text."""
_IMAGE_PARTS: Final = ("image_url", "input_image")
_KNOWN_PARTS: Final = ("input_audio", "audio", "input_file", "file", "video_url", "input_video")
"""Types that a verdict names; any other is an `unknown_part`."""
_DATA_URI: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_MOST_BASE64: Final = MAX_BYTES * 4 // 3 + 4


def conversation_of(said: Conversation) -> tuple[Message, ...]:
    """The messages of a conversation, however a program writes it.

    Raises:
        DialogueError: something in it is not a message.
    """
    if isinstance(said, str):
        return (Message("user", _clean(said)),)
    if isinstance(said, Message | Mapping):
        return (message_of(said),)
    return tuple(message_of(each, f"message {number}") for number, each in enumerate(said, 1))


def message_of(said: object, place: str = "The message") -> Message:
    """One message of a chat request; its `content` is a text, a list of parts, or null.

    A picture must be a data URI: addresses are never fetched. A part that no moderator can look at becomes an
    `UnknownPart`.

    Raises:
        DialogueError: it is not a message; `place` begins the sentence that says so.
    """
    if isinstance(said, Message):
        return said
    if not isinstance(said, Mapping):
        raise _bad("not_a_message", place, "is not an object with `role` and `content`")
    role = said.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _bad("unknown_role", place, f"has the role {role!r:.40}; it must be one of {', '.join(_ROLES)}")
    content = said.get("content")
    parts: list[Part] = []
    if isinstance(content, str):
        parts.append(_clean(content))
    elif isinstance(content, list | tuple):
        parts += [_part(part, f"{place}, part {number}") for number, part in enumerate(content, 1)]
    elif content is not None or role == "user":
        raise _bad("bad_content", place, "has a `content` that is neither a text nor a list of parts")
    calls = said.get("tool_calls")
    if isinstance(calls, list):
        parts += [_tool_call(call) for call in calls]
    return Message(_ROLES[role], parts)


def _part(part: object, place: str) -> Part:
    if isinstance(part, str):
        return _clean(part)
    if not isinstance(part, Mapping):
        raise _bad("bad_part", place, "is neither a text nor an object with a `type`")
    kind = part.get("type")
    if not isinstance(kind, str):
        raise _bad("bad_part", place, "has no `type`")
    if kind in _TEXT_PARTS:
        text = part.get(_TEXT_PARTS[kind])
        if not isinstance(text, str):
            raise _bad("bad_part", place, f"has no text in `{_TEXT_PARTS[kind]}`")
        return _clean(text)
    if kind in _IMAGE_PARTS:
        return _image(part.get("image_url"), place)
    return UnknownPart(kind if kind in _KNOWN_PARTS else "unknown_part")


def _image(value: object, place: str) -> Part:
    url = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(url, str):
        raise _bad("bad_part", place, "is an image without a `url`")
    match = _DATA_URI.match(url)
    if match is None:
        return UnknownPart("image_url")
    if len(url) - match.end() > _MOST_BASE64:
        return UnknownPart("image_too_large")
    try:
        return received_image(base64.b64decode(url[match.end() :], validate=True))
    except ValueError as error:  # also for text beyond ASCII
        raise _bad("bad_part", place, "is an image whose data is not valid base64") from error
    except ImageProblem as problem:
        return UnknownPart(problem.code)


def _tool_call(call: object) -> Part:
    """What the assistant had a tool do, as text: name and arguments."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return UnknownPart("unknown_part")
    return _clean(f"{function.get('name')}({function.get('arguments')})")


def _clean(text: str) -> str:
    """`text` without halves of surrogate pairs, which no tokenizer and no wire takes."""
    return text.encode("utf-8", "replace").decode()


def _bad(code: str, place: str, problem: str) -> DialogueError:
    return DialogueError(code, f"{place} {problem}.", place=place)
