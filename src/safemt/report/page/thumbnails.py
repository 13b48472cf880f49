"""Small copies of a benchmark's images, for the page."""

import base64
import io
import warnings
from typing import Final

from PIL import Image, ImageOps

from safemt.core.errors import BenchmarkError
from safemt.core.schema import ImageRef
from safemt.io.images import ImageFolder

SIDE: Final = 96
"""Longest side, in pixels."""
_QUALITY: Final = 60


def thumbnail(folder: ImageFolder, image: ImageRef) -> str | None:
    """A data URI of at most `SIDE` × `SIDE` pixels; None where there is no such file now."""
    try:
        content = base64.b64decode(folder.data_uri(image).partition(b",")[2])
    except BenchmarkError:
        return None
    try:
        with warnings.catch_warnings():
            # The check before the run held the file to limits of our own; it is still that file, by its hash.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as picture:
                picture.draft("RGB", (SIDE, SIDE))
                small = ImageOps.exif_transpose(picture).convert("RGBA")
    except Exception:  # noqa: BLE001, Pillow raises nearly anything; the page says what is missing
        return None
    small.thumbnail((SIDE, SIDE))
    flat = Image.new("RGB", small.size, "white")
    flat.paste(small, mask=small.getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
