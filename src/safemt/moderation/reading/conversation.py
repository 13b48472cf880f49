"""A conversation as a moderator sees it: messages of text, pictures and whatever else."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from safemt.core.schema import Message
from safemt.io.images import ImageFolder

ChatRole = Literal["system", "user", "assistant", "tool"]

JUDGED_ROLES: Final = ("user", "tool")
"""Whose words can carry an intent: the user's, and what a tool brings in. The others' are the operator's."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Picture:
    """An image in a message; its bytes are read only when somebody looks at it."""

    sha256: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class UnknownPart:
    """A part that no moderator can look at: audio, a file, an image behind a foreign address."""

    kind: str
    """A short stable code, which a verdict's coverage repeats: `unknown_part`, `input_audio`, `image_url` (an
    address, never fetched), `image_missing`, `not_an_image`, `image_too_large`, …"""


Part: TypeAlias = str | Picture | UnknownPart


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message. Only the user's are judged; an assistant's can be forged by whoever sends the request."""

    role: ChatRole
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The texts of the message, in their order."""
        return "\n".join(part for part in self.parts if isinstance(part, str))


def picture_from(data: bytes) -> Picture:
    """A picture whose bytes are at hand."""
    return Picture(hashlib.sha256(data).hexdigest(), lambda: data)


def chat_messages(messages: Sequence[Message], images: ImageFolder | None) -> tuple[ChatMessage, ...]:
    """A request's messages as a conversation; a picture stands before the text, as it is sent.

    Reading a picture that is gone or has changed raises BenchmarkError.
    """
    return tuple(ChatMessage(message.role, _parts(message, images)) for message in messages)


def _parts(message: Message, images: ImageFolder | None) -> tuple[Part, ...]:
    image = message.image
    if image is None or images is None:
        return (message.content,)
    return (Picture(image.sha256, lambda: images.read(image)), message.content)
