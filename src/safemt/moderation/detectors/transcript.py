"""A conversation as it goes to an endpoint: bare messages for a guard, pictures out of memory."""

import base64
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

from safemt.core.schema import ImageRef, Message, Role
from safemt.io.images import ImageProblem, inspect_bytes
from safemt.moderation.detectors.detector import Scan
from safemt.moderation.reading.conversation import JUDGED_ROLES, ChatMessage, Picture

NOT_SHOWN: Final = "pixels_not_scored"
ONE_PICTURE: Final = "one_picture_per_turn"
"""A message of a request carries one picture; further ones of the same turn are not shown."""
_ROLES: Final[dict[str, Role]] = {"user": "user", "tool": "user", "assistant": "assistant"}


class PictureShelf:
    """Gives the pictures of conversations that are under way to an endpoint; keeps none alive."""

    def __init__(self) -> None:
        self._pictures: WeakValueDictionary[str, Picture] = WeakValueDictionary()

    def put(self, picture: Picture) -> ImageRef:
        """A reference by which `data_uri` finds the picture as long as somebody holds it.

        Raises:
            ImageProblem: it cannot be sent.
            BenchmarkError: its file is gone or has changed.
        """
        image = inspect_bytes(picture.read(), f"memory:{id(picture)}")
        self._pictures[image.path] = picture
        return image

    def data_uri(self, image: ImageRef) -> bytes:
        """`data:image/png;base64,…` as ASCII bytes."""
        content = self._pictures[image.path].read()
        return b"data:%s;base64,%s" % (image.media_type.encode(), base64.b64encode(content))


def scan_text(message: ChatMessage) -> Scan:
    """What a detector that reads only text looks at in a message."""
    pictures = (n for n, part in enumerate(message.parts) if isinstance(part, Picture))
    return Scan(text=True, unscanned=dict.fromkeys(pictures, NOT_SHOWN))


class Transcript:
    """The messages of one conversation so far, with what of them can be shown."""

    def __init__(self, shelf: PictureShelf | None) -> None:
        """Without `shelf` no picture is shown."""
        self._shelf = shelf
        self.entries: list[tuple[ChatMessage, ImageRef | None]] = []

    def add(self, message: ChatMessage) -> Scan:
        """Take in a message, and say what of it can be shown.

        Raises:
            BenchmarkError: a picture's file is gone or has changed.
        """
        shown: ImageRef | None = None
        unscanned: dict[int, str] = {}
        for number, part in enumerate(message.parts):
            if not isinstance(part, Picture):
                continue
            if self._shelf is None or message.role not in JUDGED_ROLES:
                unscanned[number] = NOT_SHOWN
            elif shown is not None or self._turn_has_picture():
                unscanned[number] = ONE_PICTURE
            else:
                try:
                    shown = self._shelf.put(part)
                except ImageProblem as problem:
                    unscanned[number] = problem.code
        self.entries.append((message, shown))
        return Scan(text=True, images=int(shown is not None), unscanned=unscanned)

    def bare(self) -> list[Message]:
        """The conversation for a guard model whose server makes the prompt: user and assistant in turn.

        Chat templates of guards refuse everything else. So messages of one role in a row become one, a tool's
        words count as the user's, the operator's are left out, and it begins and ends on the user.
        """
        bare: list[Message] = []
        for message, image in self.entries:
            role = _ROLES.get(message.role)
            if role is None or (not bare and role == "assistant"):
                continue
            if bare and bare[-1].role == role:
                last = bare.pop()
                bare.append(Message(role, f"{last.content}\n\n{message.text}", last.image or image))
            else:
                bare.append(Message(role, message.text, image))
        while bare and bare[-1].role == "assistant":
            bare.pop()
        return bare

    def _turn_has_picture(self) -> bool:
        """Whether the user has shown a picture since the assistant last spoke."""
        for message, image in reversed(self.entries):
            if message.role == "assistant":
                return False
            if image is not None:
                return True
        return False


def with_pictures(prompt: str, images: Sequence[ImageRef]) -> list[Message]:
    """One prompt with its pictures: the last in the same message, earlier ones in messages before it."""
    before = [Message("user", f"Image{number}", image) for number, image in enumerate(images[:-1], 1)]
    return [*before, Message("user", prompt, images[-1] if images else None)]
