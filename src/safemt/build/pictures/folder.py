"""The image of each query: the source's own, made uniform, or one drawn. Kept by the hash of its bytes."""

import hashlib
import io
import warnings
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from safemt.build.pictures.card import Card
from safemt.build.pictures.scenes import draw_scene
from safemt.build.pictures.surfaces import draw_surface
from safemt.build.queries import Ledger, PictureSource, Reject, Stage
from safemt.core.errors import BenchmarkError
from safemt.core.schema import ImageRef
from safemt.io.images import MAX_BYTES, MAX_PIXELS, ImageProblem, locate_image

LONG_SIDE: Final = 1_024
"""Pixels; larger images are made smaller, none is made larger."""
FOLDER: Final = "images"

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_JPEG_QUALITY: Final = 90
_PNG_LEVEL: Final = 3
"""Of zlib's nine: beyond it, cards get slower to write and hardly smaller."""
_NEAR_BITS: Final = 4
"""Bits of 64 in which two perceptual hashes may differ for the pictures to be compared."""
_NEAR_LEVELS: Final = 1.0
"""Mean difference in grey levels (of 255) up to which two such pictures count as one."""
_PROBE: Final = 128
"""Side in pixels of the grey copies that decide whether two pictures are the same."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that was written."""

    ref: ImageRef
    origin: str
    """`source`, or the kind of the card that was drawn."""


class PictureFolder:
    """Writes the images of a build into one folder, each once."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        self._root = root
        self._ledger = ledger
        self._written: dict[str, ImageRef] = {}
        self._probes: list[tuple[int, NDArray[np.int16], ImageRef]] = []

    def from_source(self, source: PictureSource, place: str) -> Picture | None:
        """The source's image, or None if it cannot be used; the ledger says why.

        An image that looks the same as an earlier one is that one (`near_duplicate_image` in the ledger).

        Raises:
            BenchmarkError: its path leads out of its folder.
        """
        try:
            content = _source_bytes(source)
            image, media_type = _normalised(content, source.name)
        except ImageProblem as problem:
            if problem.code == "image_outside":
                raise BenchmarkError(
                    "image_outside", f"{place}: {problem}; it is refused.", place=place
                ) from problem
            self._reject(place, problem.code, str(problem), "")
            return None
        bits, probe = perceptual_hash(image), _probe(image)
        for other_bits, other_probe, ref in self._probes:
            near = (bits ^ other_bits).bit_count() <= _NEAR_BITS
            if near and float(np.abs(probe - other_probe).mean()) <= _NEAR_LEVELS:
                self._reject(place, "near_duplicate_image", "looks the same as an earlier image", ref.sha256)
                return Picture(ref, "source")
        ref = self._write(_encoded(image, media_type), media_type, image.size)
        self._probes.append((bits, probe, ref))
        return Picture(ref, "source")

    def drawn(self, card: Card) -> Picture:
        """A card, drawn."""
        image = draw_scene(card) if card.kind == "scene" else draw_surface(card)
        return Picture(self._write(_encoded(image, "image/png"), "image/png", image.size), card.kind)

    def forget_unused(self, used: Set[str]) -> None:
        """Remove images that no sample shows: those of queries that were not taken in the end."""
        for digest, ref in list(self._written.items()):
            if ref.path not in used:
                (self._root / ref.path).unlink()
                del self._written[digest]

    def _write(self, content: bytes, media_type: str, size: tuple[int, int]) -> ImageRef:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._written:
            name = f"{FOLDER}/{digest}.{'jpg' if media_type == 'image/jpeg' else 'png'}"
            (self._root / name).write_bytes(content)
            self._written[digest] = ImageRef(digest, media_type, *size, name)
        return self._written[digest]

    def _reject(self, place: str, reason: str, detail: str, kept: str) -> None:
        self._ledger.add(
            Reject(Stage.PICTURES, reason=reason, place=place, detail=detail, kept=kept, fatal=False)
        )


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: the signs of the lowest frequencies of a 32×32 grey copy against their median (DCT)."""
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64)
    low = (_DCT @ grey @ _DCT.T).ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _dct_rows(rows: int, size: int) -> NDArray[np.float64]:
    """The first rows of the type-II DCT matrix."""
    rows_: NDArray[np.float64] = np.cos(np.pi / size * (np.arange(size) + 0.5) * np.arange(rows)[:, None])
    return rows_


_DCT: Final = _dct_rows(8, 32)


def _probe(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image.convert("L").resize((_PROBE, _PROBE), Image.Resampling.BOX), dtype=np.int16)


def _source_bytes(source: PictureSource) -> bytes:
    if source.read is not None:
        content = source.read()
        if content is None:
            raise ImageProblem("missing_image", f"{source.name} has no image")
        if len(content) > MAX_BYTES:
            raise ImageProblem("image_too_large", f"{source.name} has more than {MAX_BYTES // 2**20} MB")
        return content
    root = source.root or Path()
    path = locate_image(root, source.name)
    if path is None:
        raise ImageProblem("missing_image", f"the image {source.name} is not in {root.name or root}")
    if path.stat().st_size > MAX_BYTES:
        raise ImageProblem(
            "image_too_large", f"the image {source.name} has more than {MAX_BYTES // 2**20} MB"
        )
    return path.read_bytes()


def _normalised(content: bytes, name: str) -> tuple[Image.Image, str]:
    """RGB pixels, upright, at most `LONG_SIDE`, without metadata; JPEG stays JPEG, all else becomes PNG."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise ImageProblem("image_too_many_pixels", f"the image {name} has too many pixels")
                media_type = "image/jpeg" if opened.format == "JPEG" else "image/png"
                image = _flat(ImageOps.exif_transpose(opened))
    except ImageProblem:
        raise
    except Exception as error:  # Pillow raises nearly anything on hostile bytes
        raise ImageProblem("not_an_image", f"{name} is not a readable PNG, JPEG, WebP or GIF") from error
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    return image, media_type


def _flat(image: Image.Image) -> Image.Image:
    """Without transparency, on white."""
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _encoded(image: Image.Image, media_type: str) -> bytes:
    buffer = io.BytesIO()
    clean = image.copy()
    clean.info = {}  # colour profiles, EXIF and comments would be written again from here
    if media_type == "image/jpeg":
        clean.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    else:
        clean.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
