"""Pictures drawn for queries that bring none: their words in several layouts and faces, or a plain scene.

Drawn with the two faces that Pillow itself carries, so that one version draws the same pixels everywhere.
"""

import colorsys
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from PIL import Image, ImageDraw, ImageFont

SIDE: Final = 512
"""Pixels of a card's sides; a document's are larger."""
_PAGE: Final = (820, 1_024)
_PIXEL_FONT: Final = (6, 11)
"""Width and height in pixels of a letter of Pillow's bitmap face."""
KINDS: Final = ("text", "scene", "text", "diagram")
"""In rotation, so that half of the drawn pictures hold the query's words and half only its topic."""


@dataclass(frozen=True, slots=True)
class Card:
    """What to draw."""

    kind: str
    """`text`, `document`, `scene`, `diagram`."""
    lines: tuple[str, ...]
    """The words, in reading order: a phrase for `text`, labels for the others."""
    seed: str
    """Decides layout, colours and face."""


_Draw = Callable[[ImageDraw.ImageDraw, Image.Image, Card, random.Random], None]


def draw_card(card: Card) -> Image.Image:
    """The card as an RGB image; the same card gives the same pixels."""
    chance = random.Random(card.seed)
    size = _PAGE if card.kind == "document" else (SIDE, SIDE)
    image = Image.new("RGB", size, _colour(chance, light=0.93))
    _DRAWERS[card.kind](ImageDraw.Draw(image), image, card, chance)
    return image


def _text(draw: ImageDraw.ImageDraw, image: Image.Image, card: Card, chance: random.Random) -> None:
    layout = chance.choice(("poster", "note", "screen", "sign", "list", "banner"))
    ink = _colour(chance, light=0.2)
    box = (40, 60, SIDE - 40, SIDE - 60)
    if layout == "note":
        draw.rectangle((50, 40, SIDE - 50, SIDE - 40), fill=_colour(chance, light=0.85))
        draw.ellipse((SIDE // 2 - 12, 28, SIDE // 2 + 12, 52), fill=_colour(chance, light=0.5))
        box = (75, 80, SIDE - 75, SIDE - 70)
    elif layout == "screen":
        draw.rectangle((24, 60, SIDE - 24, SIDE - 90), fill=ink)
        draw.rectangle((SIDE // 2 - 60, SIDE - 90, SIDE // 2 + 60, SIDE - 50), fill=ink)
        draw.rectangle((40, 76, SIDE - 40, SIDE - 106), fill=_colour(chance, light=0.97))
        box = (60, 95, SIDE - 60, SIDE - 125)
    elif layout == "sign":
        draw.rectangle((SIDE // 2 - 10, 360, SIDE // 2 + 10, SIDE), fill=_colour(chance, light=0.4))
        draw.rounded_rectangle((40, 60, SIDE - 40, 380), 26, fill="white", outline=ink, width=8)
        box = (65, 85, SIDE - 65, 355)
    elif layout == "banner":
        draw.rectangle((0, 130, SIDE, SIDE - 130), fill=_colour(chance, light=0.8))
        box = (30, 150, SIDE - 30, SIDE - 150)
    elif layout == "list":
        for row in range(3):
            draw.text((60, 330 + 45 * row), f"{row + 1}.", font=_face(30), fill=ink)
        box = (50, 50, SIDE - 50, 300)
    else:
        draw.rectangle((16, 16, SIDE - 16, SIDE - 16), outline=ink, width=6)
    _fit(image, " ".join(card.lines), box, chance.choice(("plain", "bold", "pixel", "slanted")), ink)


def _document(draw: ImageDraw.ImageDraw, image: Image.Image, card: Card, chance: random.Random) -> None:
    width, height = image.size
    draw.rectangle(
        (20, 20, width - 20, height - 20), fill="white", outline=_colour(chance, light=0.6), width=2
    )
    _fit(image, "\n".join(card.lines), (60, 60, width - 60, height - 60), "plain", (20, 20, 20), most=26)


def _scene(draw: ImageDraw.ImageDraw, image: Image.Image, card: Card, chance: random.Random) -> None:
    horizon = chance.randint(230, 330)
    draw.rectangle((0, 0, SIDE, horizon), fill=_colour(chance, light=0.88))
    draw.rectangle((0, horizon, SIDE, SIDE), fill=_colour(chance, light=0.7))
    sun = chance.randint(60, 440)
    draw.ellipse((sun - 34, 40, sun + 34, 108), fill=_colour(chance, light=0.8))
    for _ in range(chance.randint(3, 6)):
        x, width, height = chance.randint(0, 430), chance.randint(50, 130), chance.randint(60, 190)
        shade = _colour(chance, light=chance.uniform(0.45, 0.75))
        base = horizon + chance.randint(0, 70)
        if chance.random() < 0.3:
            draw.polygon(((x, base), (x + width // 2, base - height), (x + width, base)), fill=shade)
        else:
            draw.rectangle((x, base - height, x + width, base), fill=shade)
            draw.rectangle((x + 14, base - height + 16, x + 30, base - height + 34), fill="white")
    for _ in range(chance.randint(1, 3)):
        x, y = chance.randint(40, 440), chance.randint(horizon + 30, 430)
        shade = _colour(chance, light=0.35)
        draw.ellipse((x - 9, y - 50, x + 9, y - 32), fill=shade)
        draw.rectangle((x - 11, y - 30, x + 11, y + 14), fill=shade)
    draw.rectangle((0, SIDE - 62, SIDE, SIDE), fill="white")
    _fit(image, card.lines[0], (20, SIDE - 56, SIDE - 20, SIDE - 6), "plain", (30, 30, 30), most=30)


def _diagram(draw: ImageDraw.ImageDraw, image: Image.Image, card: Card, chance: random.Random) -> None:
    ink = _colour(chance, light=0.3)
    _fit(image, card.lines[0], (30, 20, SIDE - 30, 90), "bold", ink, most=36)
    rows = list(card.lines[1:5])
    round_boxes, side_by_side = chance.random() < 0.5, chance.random() < 0.5
    before: tuple[int, int, int, int] | None = None
    for index, label in enumerate(rows):
        if side_by_side:
            x, y = 40 + 230 * (index % 2), 130 + 180 * (index // 2)
            box = (x, y, x + 200, y + 120)
        else:
            y = 110 + 100 * index
            box = (90, y, SIDE - 90, y + 70)
        shape = draw.rounded_rectangle if round_boxes else draw.rectangle
        shape(box, fill=_colour(chance, light=0.85), outline=ink, width=3)
        if before:
            draw.line((before[2] - 20, before[3], box[0] + 20, box[1]), fill=ink, width=3)
        before = box
        inner = (box[0] + 10, box[1] + 8, box[2] - 10, box[3] - 8)
        _fit(image, label, inner, "plain", ink, most=24)


_DRAWERS: Final[Mapping[str, _Draw]] = {
    "text": _text,
    "document": _document,
    "scene": _scene,
    "diagram": _diagram,
}


def _fit(
    image: Image.Image,
    text: str,
    box: tuple[int, int, int, int],
    style: str,
    ink: tuple[int, int, int],
    *,
    most: int = 54,
) -> None:
    """Write a text into a box, as large as it fits; what does not fit at the smallest size is cut off."""
    height = most
    left, top, right, bottom = box
    for size in range(most, 11, -3):
        lines = _wrap(text, style, size, right - left)
        height = int(size * 1.3)
        if height * len(lines) <= bottom - top:
            break
    else:
        lines = [*lines[: max(1, (bottom - top) // height - 1)], "…"]
    y = top + (bottom - top - height * len(lines)) // 2
    for line in lines:
        x = left if len(lines) > 8 else left + (right - left - _width(line, style, size)) // 2
        _draw_line(image, (x, y), line, style, size, ink)
        y += height


def _wrap(text: str, style: str, size: int, width: int) -> list[str]:
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and _width(longer, style, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


@cache
def _face(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType, which the drawn pictures need")
    return font


def _width(line: str, style: str, size: int) -> int:
    if style == "pixel":
        return len(line) * _PIXEL_FONT[0] * size // _PIXEL_FONT[1]
    return int(_face(size).getlength(line))


def _draw_line(
    image: Image.Image, at: tuple[int, int], line: str, style: str, size: int, ink: tuple[int, int, int]
) -> None:
    if style in ("plain", "bold"):
        ImageDraw.Draw(image).text(at, line, font=_face(size), fill=ink, stroke_width=int(style == "bold"))
        return
    height = int(size * 1.3)
    if style == "pixel":
        small = Image.new("L", (max(1, len(line) * _PIXEL_FONT[0]), _PIXEL_FONT[1]), 0)
        # The bitmap face knows Latin-1 only.
        known = line.encode("latin-1", "replace").decode("latin-1")
        ImageDraw.Draw(small).text((0, 0), known, font=ImageFont.load_default_imagefont(), fill=255)
        mask = small.resize((max(1, _width(line, style, size)), size), Image.Resampling.NEAREST)
        image.paste(ink, at, mask)
        return
    mask = Image.new("L", (_width(line, style, size) + height, height), 0)
    ImageDraw.Draw(mask).text((height // 4, 0), line, font=_face(size), fill=255)
    mask = mask.transform(mask.size, Image.Transform.AFFINE, (1, 0.22, -0.22 * height, 0, 1, 0))
    image.paste(ink, (at[0] - height // 4, at[1]), mask)


def _colour(chance: random.Random, *, light: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(chance.random(), light, chance.uniform(0.25, 0.7))
    return round(255 * red), round(255 * green), round(255 * blue)
