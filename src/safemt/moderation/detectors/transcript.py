"""A conversation as it goes to an endpoint: what of it can be shown, and the bare messages for a guard."""

from collections.abc import Sequence
from typing import Final

from safemt.core.schema import JUDGED_ROLES, ImageRef, Message, Role
from safemt.moderation.detectors.detector import Scan

NOT_SHOWN: Final = "pixels_not_scored"
ONE_PICTURE: Final = "one_picture_per_turn"
"""Chat templates of guards take one picture in a message; further ones of the same turn are not shown."""
_ROLES: Final[dict[str, Role]] = {"user": "user", "tool": "user", "assistant": "assistant"}


def scan_text(message: Message) -> Scan:
    """The scan of a message by a detector that reads only text."""
    pictures = (n for n, part in enumerate(message.parts) if isinstance(part, ImageRef))
    return Scan(text=True, unscanned=dict.fromkeys(pictures, NOT_SHOWN))


class Transcript:
    """The messages of one conversation so far, each with the picture of it that can be shown."""

    def __init__(self, *, pictures: bool) -> None:
        """Without `pictures` none is shown."""
        self._pictures = pictures
        self.entries: list[tuple[Message, ImageRef | None]] = []

    def add(self, message: Message) -> Scan:
        """Take in a message, and tell what of it can be shown."""
        shown: ImageRef | None = None
        unscanned: dict[int, str] = {}
        for number, part in enumerate(message.parts):
            if not isinstance(part, ImageRef):
                continue
            if not self._pictures or message.role not in JUDGED_ROLES:
                unscanned[number] = NOT_SHOWN
            elif shown is not None or self._turn_has_picture():
                unscanned[number] = ONE_PICTURE
            else:
                shown = part
        self.entries.append((message, shown))
        return Scan(text=True, images=int(shown is not None), unscanned=unscanned)

    def bare(self) -> list[Message]:
        """The conversation for a guard model whose server makes the prompt: user and assistant in turn.

        Chat templates of guards refuse anything else. So messages of one role in a row become one, a tool's
        words count as the user's, the operator's are left out, and the user has the first and last word.
        """
        bare: list[Message] = []
        for message, image in self.entries:
            role = _ROLES.get(message.role)
            if role is None or (not bare and role == "assistant"):
                continue
            if bare and bare[-1].role == role:
                last = bare.pop()
                bare.append(Message(role, f"{last.content}\n\n{message.content}", last.image or image))
            else:
                bare.append(Message(role, message.content, image))
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
    """A prompt with its pictures: the last in the same message, earlier ones in messages before it."""
    before = [Message("user", f"Image{number}", image) for number, image in enumerate(images[:-1], 1)]
    return [*before, Message("user", prompt, images[-1] if images else None)]
