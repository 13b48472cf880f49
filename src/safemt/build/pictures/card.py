"""What a drawn picture shows. Drawing needs nothing else: the same card gives the same pixels."""

from dataclasses import dataclass
from enum import StrEnum


class ImageRole(StrEnum):
    """What a picture does for its dialogue."""

    CARRIES = "carries"
    """It holds words that the text leaves out."""
    ILLUSTRATES = "illustrates"
    """It shows the subject; the dialogue can be understood without it."""
    CONTEXT = "context"
    """It is the document or scene that the request is about."""


@dataclass(frozen=True, slots=True)
class Card:
    """One drawn picture."""

    kind: str
    """A `SurfaceKind`, `page` for a long text, or `scene`."""
    title: str = ""
    lines: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    """Pictograms of a scene, by name."""
    seed: str = ""
    """Decides colours, sizes and places."""
