"""Documents, screens, signs and labels, drawn by their kind with a title and some lines."""

import random
from collections.abc import Callable, Mapping
from typing import Final

from PIL import Image, ImageDraw

from safemt.build.pictures.card import Card
from safemt.build.pictures.text import SMALLEST, Box, Colour, colour, height_of, write

INK: Final[Colour] = (34, 36, 40)
_PAGE_WIDTH: Final = 820
_PAGE_FACE: Final = 24
_TALLEST: Final = 4_000

_Frame = Callable[[Image.Image, ImageDraw.ImageDraw, random.Random], Box]
"""Draws what surrounds the text and gives the box for it."""


def draw_surface(card: Card) -> Image.Image:
    """A surface of the card's kind."""
    chance = random.Random(card.seed)
    if card.kind == "page" and not card.title:
        return _long_page(card)
    width, height = _SIZES.get(card.kind, (640, 520))
    image = Image.new("RGB", (width, height), colour(chance, chance.uniform(0.72, 0.9)))
    draw = ImageDraw.Draw(image)
    if card.kind == "chat":
        _chat(image, draw, card, chance)
        return image
    if card.kind == "chart":
        _chart(image, draw, card, chance)
        return image
    box = _FRAMES.get(card.kind, _paper)(image, draw, chance)
    _fill(image, draw, card, box, chance)
    return image


def _fill(image: Image.Image, draw: ImageDraw.ImageDraw, card: Card, box: Box, chance: random.Random) -> None:
    """Title and lines below each other, each as large as its share of the box allows."""
    left, top, right, bottom = box
    centred = card.kind in ("sign", "poster", "cover", "card", "label")
    accent = colour(chance, 0.3)
    head = top + int((bottom - top) * 0.26)
    write(image, card.title, (left, top, right, head), accent, most=46, centred=centred, bold=True)
    if card.kind in ("letter", "page", "form", "screen", "list"):
        draw.line((left, head + 6, right, head + 6), fill=accent, width=2)
    step = (bottom - head - 16) // max(1, len(card.lines))
    y = head + 16
    for line in card.lines:
        if card.kind in ("list", "note"):
            draw.rectangle((left, y + step // 2 - 7, left + 14, y + step // 2 + 7), outline=INK, width=2)
        inner = (left + (28 if card.kind in ("list", "note") else 0), y + 4, right, y + step - 4)
        if card.kind == "form":
            draw.rectangle((left, y + 2, right, y + step - 6), outline=accent, width=2)
            inner = (left + 10, y + 6, right - 10, y + step - 10)
        size = 40 if centred else 34
        middle = y + max(0, (step - height_of(line, size, inner[2] - inner[0])) // 2)
        shown = inner if centred else (inner[0], min(middle, inner[3] - SMALLEST), inner[2], inner[3])
        write(image, line, shown if not centred else inner, INK, most=size, centred=centred)
        y += step


def _paper(image: Image.Image, draw: ImageDraw.ImageDraw, chance: random.Random) -> Box:
    width, height = image.size
    edge = chance.randint(24, 44)
    draw.rectangle((edge + 6, edge + 6, width - edge + 6, height - edge + 6), fill=(150, 150, 150))
    draw.rectangle((edge, edge, width - edge, height - edge), fill=(252, 251, 247))
    return edge + 30, edge + 24, width - edge - 30, height - edge - 24


def _sign(image: Image.Image, draw: ImageDraw.ImageDraw, chance: random.Random) -> Box:
    width, height = image.size
    board = colour(chance, 0.94)
    draw.rectangle((width // 2 - 12, height - 130, width // 2 + 12, height), fill=(110, 90, 70))
    draw.rounded_rectangle((36, 36, width - 36, height - 110), 24, fill=board, outline=INK, width=7)
    return 66, 56, width - 66, height - 132


def _screen(image: Image.Image, draw: ImageDraw.ImageDraw, chance: random.Random) -> Box:
    width, height = image.size
    draw.rounded_rectangle((20, 20, width - 20, height - 20), 18, fill=(40, 42, 48))
    draw.rectangle((36, 36, width - 36, height - 36), fill=(250, 250, 252))
    draw.rectangle((36, 36, width - 36, 76), fill=colour(chance, 0.82))
    for place in range(3):
        draw.ellipse((52 + 26 * place, 48, 68 + 26 * place, 64), fill=colour(chance, 0.5))
    return 64, 92, width - 64, height - 56


def _card(image: Image.Image, draw: ImageDraw.ImageDraw, chance: random.Random) -> Box:
    width, height = image.size
    draw.rounded_rectangle(
        (40, 60, width - 40, height - 60), 22, fill="white", outline=colour(chance, 0.4), width=5
    )
    return 70, 84, width - 70, height - 84


def _label(image: Image.Image, draw: ImageDraw.ImageDraw, chance: random.Random) -> Box:
    width, height = image.size
    body = colour(chance, 0.5)
    draw.rounded_rectangle((90, 20, width - 90, height - 20), 60, fill=body)
    draw.rectangle((90, 100, width - 90, height - 90), fill=(253, 252, 246), outline=INK, width=3)
    return 120, 116, width - 120, height - 108


def _note(image: Image.Image, draw: ImageDraw.ImageDraw, chance: random.Random) -> Box:
    width, height = image.size
    draw.rectangle((60, 50, width - 60, height - 40), fill=colour(chance, 0.86, strong=0.7))
    draw.ellipse((width // 2 - 12, 36, width // 2 + 12, 60), fill=(190, 50, 50))
    return 92, 78, width - 92, height - 64


def _cover(image: Image.Image, draw: ImageDraw.ImageDraw, chance: random.Random) -> Box:
    width, height = image.size
    draw.rectangle((70, 20, width - 70, height - 20), fill=colour(chance, 0.84), outline=INK, width=3)
    draw.rectangle((70, 20, 100, height - 20), fill=colour(chance, 0.45))
    return 126, 60, width - 96, height - 60


def _chat(image: Image.Image, draw: ImageDraw.ImageDraw, card: Card, chance: random.Random) -> None:
    width, height = image.size
    draw.rectangle((30, 20, width - 30, height - 20), fill=(244, 243, 239))
    draw.rectangle((30, 20, width - 30, 78), fill=colour(chance, 0.35))
    write(image, card.title, (50, 26, width - 50, 72), (255, 255, 255), most=30, bold=True)
    step = (height - 120) // max(1, len(card.lines))
    for place, line in enumerate(card.lines):
        left = 50 if place % 2 == 0 else 150
        box = (left, 94 + step * place, width - (150 if place % 2 == 0 else 50), 84 + step * (place + 1))
        draw.rounded_rectangle(box, 16, fill="white" if place % 2 == 0 else (219, 240, 207))
        write(image, line, (box[0] + 14, box[1] + 6, box[2] - 14, box[3] - 6), INK, most=28)


def _chart(image: Image.Image, draw: ImageDraw.ImageDraw, card: Card, chance: random.Random) -> None:
    width, height = image.size
    draw.rectangle((20, 20, width - 20, height - 20), fill="white")
    write(image, card.title, (40, 30, width - 40, 90), INK, most=34, bold=True)
    step = (height - 140) // max(1, len(card.lines))
    for place, line in enumerate(card.lines):
        top = 104 + step * place
        write(image, line, (40, top, width - 40, top + step // 2), INK, most=28, centred=False)
        length = chance.randint(140, width - 120)
        draw.rectangle((40, top + step // 2 + 4, 40 + length, top + step - 12), fill=colour(chance, 0.55))


def _long_page(card: Card) -> Image.Image:
    """A page that is as long as its text needs."""
    text = "\n".join(card.lines)
    size = _PAGE_FACE
    width = _PAGE_WIDTH - 120
    while height_of(text, size, width) > _TALLEST - 140 and size > SMALLEST:
        size -= 1
    height = max(420, height_of(text, size, width) + 140)
    image = Image.new("RGB", (_PAGE_WIDTH, height), (250, 249, 245))
    write(image, text, (60, 60, _PAGE_WIDTH - 60, height - 40), INK, most=size, centred=False)
    return image


_FRAMES: Final[Mapping[str, _Frame]] = {
    "card": _card,
    "cover": _cover,
    "label": _label,
    "note": _note,
    "notice": _paper,
    "poster": _paper,
    "screen": _screen,
    "sign": _sign,
}
_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "poster": (560, 720),
    "letter": (600, 700),
    "page": (640, 680),
    "cover": (560, 720),
    "sign": (680, 560),
    "label": (520, 640),
    "card": (640, 460),
    "note": (560, 560),
}
