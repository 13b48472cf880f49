"""How many tokens a request has, without the model's own tokenizer: expected, and at worst.

Text: 4.8 ASCII characters a token expected, 3.7 at worst; 3.3 bytes of other UTF-8 expected, 2.3 at worst.
Held against the tokenizers of GPT-4 and GPT-4o (cl100k, o200k) on 20 public sets of dialogues in English,
Chinese, Arabic and Hindi, what is expected lies between 26 % too few and 29 % too many, and no set had more
than the worst.

Images: the providers' published formulas, by the model's name; requests say nothing of detail, which is taken
as high. A model that no formula is known for gets a fallback with a wide margin.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from safemt.core.schema import ImageRef, Message

_ASCII: Final = (4.8, 3.7)
_OTHER: Final = (3.3, 2.3)
_PER_MESSAGE: Final = 4
_PER_REQUEST: Final = 3
_TILE: Final = 512
_PATCH: Final = 32
_MOST_PATCHES: Final = 1536


@dataclass(frozen=True, slots=True)
class Tokens:
    """A number of tokens that can only be estimated."""

    expected: float = 0.0
    worst: float = 0.0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.expected + other.expected, self.worst + other.worst)


@dataclass(frozen=True, slots=True)
class ImageFormula:
    """How a family of models counts an image."""

    name: str
    """What to say of it."""
    models: str
    """A pattern for the model's name, searched for in lower case."""
    tile: tuple[int, int] | None = None
    """Tokens for the image, and for each tile of 512 pixels a side (OpenAI)."""
    patch: float | None = None
    """Tokens for each patch of 32 pixels a side, of 1,536 at most (OpenAI)."""
    cell: int | None = None
    """Pixels a side for one token (Qwen-VL)."""


_FORMULAS: Final = (
    ImageFormula("2,833 + 5,667 for each tile of 512 px", r"gpt-4o-mini", tile=(2833, 5667)),
    ImageFormula("1.62 for each patch of 32 px, at most 1,536 patches", r"gpt-(4\.1|5)-mini", patch=1.62),
    ImageFormula("2.46 for each patch of 32 px, at most 1,536 patches", r"gpt-(4\.1|5)-nano", patch=2.46),
    ImageFormula("1.72 for each patch of 32 px, at most 1,536 patches", r"(?<![a-z])o4-mini", patch=1.72),
    ImageFormula("85 + 170 for each tile of 512 px", r"gpt-4(o|\.1|\.5|-turbo)", tile=(85, 170)),
    ImageFormula("75 + 150 for each tile of 512 px", r"(?<![a-z])o[13](-pro)?(-20\d\d|$)", tile=(75, 150)),
    ImageFormula("70 + 140 for each tile of 512 px", r"gpt-5(-20\d\d|-chat|$)", tile=(70, 140)),
    ImageFormula("one for each 28 x 28 px", r"qwen2(\.5)?-?vl|qvq", cell=28),
    ImageFormula("one for each 32 x 32 px", r"qwen3(\.\d)?-?vl", cell=32),
)
"""OpenAI: its guide to images and vision, detail high. Qwen: the models' processor configurations. The first
whose pattern is found holds."""
_FALLBACK: Final = ImageFormula("no formula known: one for 750 px, 256 to 1,600; at worst 4,096", "")
_FALLBACK_WORST: Final = 4096.0


def text_tokens(text: str) -> Tokens:
    """Tokens of a text."""
    ascii_count = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    other = 0 if ascii_count == len(text) else len(text.encode("utf-8", "replace")) - ascii_count
    return Tokens(ascii_count / _ASCII[0] + other / _OTHER[0], ascii_count / _ASCII[1] + other / _OTHER[1])


def image_formula(model: str) -> ImageFormula:
    """How `model` counts images."""
    name = model.lower()
    return next((each for each in _FORMULAS if re.search(each.models, name)), _FALLBACK)


def image_tokens(image: ImageRef, formula: ImageFormula) -> Tokens:
    """Tokens of an image."""
    width, height = max(1, image.width), max(1, image.height)
    if formula.tile:
        exact = float(formula.tile[0] + formula.tile[1] * _tiles(width, height))
    elif formula.patch:
        exact = math.ceil(formula.patch * _patches(width, height))
    elif formula.cell:
        exact = float(min(16384, max(4, round(width / formula.cell) * round(height / formula.cell))))
    else:
        return Tokens(min(1600.0, max(256.0, width * height / 750)), _FALLBACK_WORST)
    return Tokens(exact, exact)


def messages_tokens(messages: Sequence[Message], model: str) -> Tokens:
    """Input tokens of a request."""
    formula = image_formula(model)
    framing = float(_PER_REQUEST + _PER_MESSAGE * len(messages))
    total = Tokens(framing, framing)
    for message in messages:
        total += text_tokens(message.content)
        for image in message.images:
            total += image_tokens(image, formula)
    return total


def _tiles(width: int, height: int) -> int:
    """Tiles after fitting into 2,048 x 2,048 and then shrinking the shorter side to 768 pixels."""
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return math.ceil(_whole(width * scale) / _TILE) * math.ceil(_whole(height * scale) / _TILE)


def _patches(width: int, height: int) -> int:
    """Patches, shrunk to fit into the limit where there are more."""
    patches = math.ceil(width / _PATCH) * math.ceil(height / _PATCH)
    return min(patches, _MOST_PATCHES)


def _whole(pixels: float) -> int:
    return max(1, int(pixels + 1e-6))
