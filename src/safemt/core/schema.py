"""What a benchmark is made of: messages, images by content hash, samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from safemt.core.taxonomy import Method, Scenario

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image by what it is, not where it lies: bytes are read only while a call is in flight."""

    sha256: str
    """Hex digest of the file's bytes."""
    media_type: str
    """Sniffed from the bytes, never from the name: `image/png`, `image/jpeg`, `image/webp`, `image/gif`."""
    width: int
    height: int
    path: str
    """Relative to the benchmark's root, with forward slashes."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a dialogue or of a request."""

    role: Role
    content: str
    image: ImageRef | None = None
    """Shown before the text. None in a sample's dialogue: the protocol puts the sample's image in place."""


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
