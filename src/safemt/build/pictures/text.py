"""Text on a picture: broken into lines, as large as it fits, never cut off.

Drawn with the face that Pillow itself carries, so that one version draws the same pixels everywhere.
"""

import colorsys
import random
from functools import cache
from typing import Final

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
SMALLEST: Final = 13
"""Size in pixels of the smallest letters."""
_LEADING: Final = 1.3


@cache
def face(size: int) -> ImageFont.FreeTypeFont:
    """The face at a size in pixels."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType, which the drawn pictures need")
    return font


def wrapped(text: str, size: int, width: int) -> list[str]:
    """A text broken into lines of at most `width` pixels; a longer word is broken, too."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            for piece in _pieces(word, size, width):
                longer = f"{line} {piece}".strip()
                if line and face(size).getlength(longer) > width:
                    lines.append(line)
                    longer = piece
                line = longer
        lines.append(line)
    return lines


def _pieces(word: str, size: int, width: int) -> list[str]:
    if face(size).getlength(word) <= width:
        return [word]
    fits = max(1, int(len(word) * width / face(size).getlength(word)) - 1)
    return [word[start : start + fits] for start in range(0, len(word), fits)]


def height_of(text: str, size: int, width: int) -> int:
    """Pixels that a text takes at a size."""
    return int(len(wrapped(text, size, width)) * size * _LEADING)


def largest(text: str, box: Box, most: int) -> int:
    """The largest size at which a text fits into a box; `SMALLEST` if it fits at none."""
    left, top, right, bottom = box
    for size in range(most, SMALLEST, -2):
        if height_of(text, size, right - left) <= bottom - top:
            return size
    return SMALLEST


def write(
    image: Image.Image,
    text: str,
    box: Box,
    ink: Colour,
    *,
    most: int = 44,
    centred: bool = True,
    bold: bool = False,
) -> int:
    """Write a text into a box from its top, or in its middle. Returns the bottom of the text in pixels."""
    left, top, right, bottom = box
    size = largest(text, box, most)
    lines = wrapped(text, size, right - left)
    step = int(size * _LEADING)
    y = top + max(0, (bottom - top - step * len(lines)) // 2) if centred else top
    draw = ImageDraw.Draw(image)
    for line in lines:
        x = left + (right - left - face(size).getlength(line)) // 2 if centred else left
        draw.text((x, y), line, font=face(size), fill=ink, stroke_width=int(bold))
        y += step
    return y


def colour(chance: random.Random, light: float, *, strong: float = 0.5) -> Colour:
    """A random hue at a lightness (0 black, 1 white)."""
    red, green, blue = colorsys.hls_to_rgb(chance.random(), light, chance.uniform(0.2, 0.2 + strong))
    return round(255 * red), round(255 * green), round(255 * blue)
