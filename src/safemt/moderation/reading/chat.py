"""Messages as chat APIs write them, OpenAI's first of all, as a moderator sees them."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from safemt.core.errors import DialogueError
from safemt.core.schema import Message, Part, Role, UnknownPart
from safemt.io.images import MAX_BYTES, ImageProblem, received_image

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
"""What is named in a verdict by its type; everything else is an `unknown_part`."""
_DATA_URI: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_MOST_BASE64: Final = MAX_BYTES * 4 // 3 + 4


def chat_message(fields: object, place: str = "The message") -> Message:
    """One message of a chat request; `content` is a text, a list of parts, or null.

    A picture must be a data URI: an address is never fetched. What nobody can look at is an `UnknownPart`.

    Raises:
        DialogueError: it is no such message; `place` begins the sentence that says so.
    """
    if not isinstance(fields, Mapping):
        raise DialogueError(f"{place} is not an object with `role` and `content`.")
    role = fields.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise DialogueError(f"{place} has the role {_brief(role)}; it must be one of {', '.join(_ROLES)}.")
    content = fields.get("content")
    parts: list[Part] = []
    if isinstance(content, str):
        parts.append(_clean(content))
    elif isinstance(content, list):
        parts += [_part(part, f"{place}, part {number}") for number, part in enumerate(content, 1)]
    elif content is not None or (role == "user"):
        raise DialogueError(f"{place} has a `content` that is neither a text nor a list of parts.")
    calls = fields.get("tool_calls")
    if isinstance(calls, list):
        parts += [_tool_call(call) for call in calls]
    return Message(_ROLES[role], tuple(parts))


def _part(part: object, place: str) -> Part:
    if isinstance(part, str):
        return _clean(part)
    if not isinstance(part, Mapping):
        raise DialogueError(f"{place} is neither a text nor an object with a `type`.")
    kind = part.get("type")
    if not isinstance(kind, str):
        raise DialogueError(f"{place} has no `type`.")
    if kind in _TEXT_PARTS:
        text = part.get(_TEXT_PARTS[kind])
        if not isinstance(text, str):
            raise DialogueError(f"{place} has no text `{_TEXT_PARTS[kind]}`.")
        return _clean(text)
    if kind in _IMAGE_PARTS:
        return _image(part.get("image_url"), place)
    return UnknownPart(kind if kind in _KNOWN_PARTS else "unknown_part")


def _image(value: object, place: str) -> Part:
    url = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(url, str):
        raise DialogueError(f"{place} is an image without a text `url`.")
    match = _DATA_URI.match(url)
    if match is None:
        return UnknownPart("image_url")
    if len(url) - match.end() > _MOST_BASE64:
        return UnknownPart("image_too_large")
    try:
        content = base64.b64decode(url[match.end() :], validate=True)
    except binascii.Error as error:
        raise DialogueError(f"{place} is an image whose data is no valid base64.") from error
    try:
        return received_image(content)
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


def _brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
