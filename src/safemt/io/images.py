"""Images: checked before a run, read and encoded only while a call is in flight."""

import base64
import hashlib
import io
import os
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image

from safemt.core.errors import BenchmarkError, FileError
from safemt.core.schema import ImageRef
from safemt.io.files import read_bounded

MAX_BYTES: Final = 20 * 1024 * 1024
"""Larger files are refused, as chat endpoints would do, one paid call at a time."""
MAX_PIXELS: Final = 50_000_000
"""Larger pictures are refused before anything decodes them."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
# MPO is what Pillow calls a JPEG with further pictures behind the first, as many phones write them.
_MEDIA_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_EXTENSIONS: Final = {
    "image/png": {".png"},
    "image/jpeg": {".jpg", ".jpeg"},
    "image/webp": {".webp"},
    "image/gif": {".gif"},
}
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SHOWN: Final = 200
"""Characters of an image path that a message repeats."""


class ImageProblem(Exception):
    """Why a file cannot be used as an image; `code` is the finding's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def locate_image(root: Path, name: str, *, boundary: Path | None = None) -> Path | None:
    """Find the image that a record names, below `root`; None if there is no such file.

    SafeMT's two image roots, `images/…` and `Data/images/…`, are interchangeable.

    Raises:
        ImageProblem: the name leads out of the benchmark (`..`, an absolute path, a symbolic link), or a
            folder on the way may not be read.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or any(part == ".." or _DRIVE.match(part) for part in relative.parts):
        raise ImageProblem(
            "image_outside",
            f"the image path {shown(name)} leads out of the benchmark; "
            "put the image into the benchmark's folder and name it from there",
        )
    if "\0" in name:
        return None
    inner = relative.parts[1:] if relative.parts[:1] in {("Data",), ("data",)} else relative.parts
    for candidate in (root / relative, *(root.joinpath(folder, *inner) for folder in ("", "Data", "data"))):
        try:
            found = candidate.is_file()
        except PermissionError as error:
            raise _unreadable(name, error) from error
        except OSError:  # a name too long for the file system
            continue
        if found:
            # Not `Path.resolve`: it takes three times as long, and a run checks all images before it starts.
            if not Path(os.path.realpath(candidate)).is_relative_to(os.path.realpath(boundary or root)):
                raise ImageProblem(
                    "image_outside",
                    f"the image {shown(name)} is a link out of the benchmark; put the file itself there",
                )
            return candidate
    return None


def inspect_image(path: Path, name: str) -> ImageRef:
    """Read type and size from the file's bytes, and hash them. `name` becomes the reference's path.

    Raises:
        ImageProblem: not a PNG, JPEG, WebP or GIF; too many bytes; too many pixels; unreadable.
    """
    try:
        _require_small(path.stat().st_size, name)
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(name, error) from error
    return inspect_bytes(content, name)


def inspect_bytes(content: bytes, name: str) -> ImageRef:
    """Read type and size from the bytes of an image, and hash them. `name` becomes the reference's path.

    Raises:
        ImageProblem: not a PNG, JPEG, WebP or GIF; too many bytes; too many pixels.
    """
    _require_small(len(content), name)
    try:
        with warnings.catch_warnings():
            # Only the size matters here, and our own limit for it follows.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                width, height = image.size
                media_type = _MEDIA_TYPES[image.format or ""]
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name) from error
    except Exception as error:  # Pillow raises nearly anything on hostile bytes
        raise ImageProblem(
            "not_an_image",
            f"{shown(name)} is not a PNG, JPEG, WebP or GIF image; replace or convert it",
        ) from error
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(name)
    return ImageRef(
        sha256=hashlib.sha256(content).hexdigest(),
        media_type=media_type,
        width=width,
        height=height,
        path=name,
    )


def received_image(content: bytes) -> ImageRef:
    """A picture that came in a request, which brings its bytes along.

    Raises:
        ImageProblem: as for `inspect_bytes`.
    """
    return replace(inspect_bytes(content, ""), source=ImageBytes(content))


def has_wrong_extension(image: ImageRef) -> bool:
    """Whether the file's name states another type than its bytes."""
    return PurePosixPath(image.path).suffix.lower() not in _EXTENSIONS[image.media_type]


def shown(name: str) -> str:
    """An image path as messages show it: quoted, control characters escaped, not too long."""
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def _require_small(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise ImageProblem(
            "image_too_large",
            f"the image {shown(name)} has {size / 2**20:.1f} MB, more than {MAX_BYTES // 2**20}; shrink it",
        )


def _too_many_pixels(name: str) -> ImageProblem:
    return ImageProblem(
        "image_too_many_pixels",
        f"the image {shown(name)} has more than {MAX_PIXELS // 1_000_000} megapixels; shrink it",
    )


def _unreadable(name: str, error: OSError) -> ImageProblem:
    return ImageProblem(
        "image_unreadable",
        f"the image {shown(name)} cannot be read ({error.strerror}); make it readable",
    )


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """Gives one picture whose bytes are in memory."""

    content: bytes

    def read(self, image: ImageRef) -> bytes:
        """The bytes."""
        return self.content

    def data_uri(self, image: ImageRef) -> bytes:
        """`data:image/png;base64,…` as ASCII bytes."""
        return _data_uri(image, self.content)


def _data_uri(image: ImageRef, content: bytes) -> bytes:
    return b"data:%s;base64,%s" % (image.media_type.encode(), base64.b64encode(content))


class ImageFolder:
    """Gives the images of one benchmark, read by path and compared with their hash.

    It keeps the newest encodings, a few megabytes: the rounds of a query run close together, so its image is
    read and encoded once.
    """

    def __init__(self, root: Path, *, boundary: Path | None = None, cache_bytes: int = 16 * 2**20) -> None:
        self._root = root
        self._boundary = boundary
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._room = cache_bytes

    def data_uri(self, image: ImageRef) -> bytes:
        """`data:image/png;base64,…` as ASCII bytes.

        Raises:
            BenchmarkError: as for `read`.
        """
        encoded = self._cache.get(image.sha256)
        if encoded is not None:
            self._cache.move_to_end(image.sha256)
            return encoded
        encoded = _data_uri(image, self.read(image))
        self._cache[image.sha256] = encoded
        self._room -= len(encoded)
        while self._room < 0 and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._room += len(oldest)
        return encoded

    def read(self, image: ImageRef) -> bytes:
        """The bytes of an image.

        Raises:
            BenchmarkError: `image_changed`: the file is gone, or is no longer the one that was checked.
        """
        try:
            path = locate_image(self._root, image.path, boundary=self._boundary)
            content = read_bounded(path, MAX_BYTES) if path else b""
        except (ImageProblem, FileError):
            content = b""
        if hashlib.sha256(content).hexdigest() != image.sha256:
            raise BenchmarkError(
                "image_changed",
                f"The image {image.path} in {self._root} is missing or has changed since it was checked. "
                "Put the original back, or check the benchmark and start again.",
                path=self._root / image.path,
            )
        return content
