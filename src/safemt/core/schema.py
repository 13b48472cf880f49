"""What benchmarks, requests and conversations are made of: messages, pictures by content hash, samples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, TypeAlias

from safemt.core.identity import Json
from safemt.core.taxonomy import Method, Scenario

Role = Literal["system", "user", "assistant", "tool"]

JUDGED_ROLES: Final = ("user", "tool")
"""Roles whose words can carry a user's intent. The operator writes the system message, and an assistant's
message can be forged by whoever sends the request."""


class ImageSource(Protocol):
    """Where the bytes of pictures come from: a benchmark's folder, or the request that brought them."""

    def read(self, image: "ImageRef") -> bytes:
        """The bytes of a picture.

        Raises:
            BenchmarkError: the picture is gone or has changed.
        """

    def data_uri(self, image: "ImageRef") -> bytes:
        """`data:image/png;base64,…` as ASCII bytes.

        Raises:
            BenchmarkError: the picture is gone or has changed.
        """


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A picture, identified by its content. Its bytes are read only when somebody needs them."""

    sha256: str
    """Hex digest of the file's bytes."""
    media_type: str
    """Sniffed from the bytes, never from the name: `image/png`, `image/jpeg`, `image/webp`, `image/gif`."""
    width: int
    height: int
    path: str = ""
    """Relative to the benchmark's root, with forward slashes. Empty for a picture that came in a request."""
    source: ImageSource | None = field(default=None, compare=False, repr=False)
    """Where to read it; None in a benchmark, whose reader knows the folder."""

    def read(self) -> bytes:
        """The picture's bytes, from its `source`.

        Raises:
            BenchmarkError: the picture is gone or has changed.
        """
        if self.source is None:
            raise ValueError(f"the picture {self.sha256} has no source to read it from")
        return self.source.read(self)


@dataclass(frozen=True, slots=True)
class UnknownPart:
    """A part that nobody here can look at: audio, a file, a picture behind a foreign address."""

    kind: str
    """A short stable code, which a verdict's coverage repeats: `unknown_part`, `input_audio`, `image_url` (an
    address, never fetched), `image_missing`, `not_an_image`, `image_too_large`, …"""


Part: TypeAlias = str | ImageRef | UnknownPart


@dataclass(frozen=True, slots=True, init=False)
class Message:
    """One message of a dialogue, of a request or of a conversation under moderation."""

    role: Role
    parts: tuple[Part, ...]
    """In the order in which the model sees them."""

    def __init__(self, role: Role, content: str | Iterable[Part], image: ImageRef | None = None) -> None:
        """`content` is a text or the parts themselves; `image` is shown before it.

        A sample's dialogue holds no images: the protocol puts the sample's image in place.
        """
        parts = (content,) if isinstance(content, str) else tuple(content)
        object.__setattr__(self, "role", role)
        object.__setattr__(self, "parts", parts if image is None else (image, *parts))

    @property
    def content(self) -> str:
        """The texts, in their order, one to a line."""
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            return self.parts[0]
        return "\n".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """The pictures, in their order."""
        return tuple(part for part in self.parts if isinstance(part, ImageRef))

    @property
    def image(self) -> ImageRef | None:
        """The first picture."""
        for part in self.parts:
            if isinstance(part, ImageRef):
                return part
        return None

    @property
    def identity(self) -> Json:
        """The message in content keys, with pictures by their hash.

        `[role, text, hash of the picture or null]`, or `[role, parts]` for a message that is more than a text
        behind at most one picture.
        """
        match self.parts:
            case (str(text),):
                return [self.role, text, None]
            case (ImageRef() as image, str(text)):
                return [self.role, text, image.sha256]
            case () | (ImageRef(),):
                return [self.role, "", self.image.sha256 if self.image else None]
        return [self.role, [_part_identity(part) for part in self.parts if part != ""]]

    def with_source(self, source: ImageSource) -> "Message":
        """The message with pictures that are read from `source`, where they have no source yet."""
        if not self.images:
            return self
        return Message(
            self.role,
            (
                replace(part, source=part.source or source) if isinstance(part, ImageRef) else part
                for part in self.parts
            ),
        )


def _part_identity(part: Part) -> Json:
    if isinstance(part, ImageRef):
        return {"picture": part.sha256}
    return {"unknown": part.kind} if isinstance(part, UnknownPart) else part


@dataclass(frozen=True, slots=True)
class Sample:
    """One dialogue of one query at one number of turns."""

    query_id: str
    """The same at every k; `id` in the published files."""
    turns: int
    """k: the number of user messages."""
    scenario: Scenario
    question: str
    """The harmful query itself; the final turn seldom equals it, so the judge gets it separately."""
    dialogue: tuple[Message, ...]
    """`user assistant user … user`: k user messages and k-1 pre-filled assistant messages."""
    image: ImageRef | None = None
    method: Method | None = None
    """None where the data does not say (the published files carry no method)."""
    twin_of: str | None = None
    """The harmful query's id if this is its benign twin; None for a harmful sample."""
    language: str = "en"
    meta: Mapping[str, str] = field(default_factory=dict)
    """Source, licence and the like: carried along, never sent to a model."""

    @property
    def id(self) -> str:
        """`QUERY_ID@K`: unique in a benchmark."""
        return f"{self.query_id}@{self.turns}"
