"""The process that reads text in pictures: bytes of a picture in, one line of JSON out.

It is a process of its own because nothing else can stop a decoder or a model that is busy with a hostile
picture, and because its memory (about 300 MB) is then not the moderator's.

A request is the number of bytes (eight, big-endian) and the bytes. The reply is `{"text": …, "why": …}`:
`why` is a code of `Unscanned.why`, or null if the whole picture was read. The first line is `ready`.
"""

import io
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

from safemt.io.images import MAX_PIXELS

BUDGET_SECONDS: Final = 0.4
"""Of processor time for one picture, so that a busy machine reads as much as an idle one."""
LIMIT_SECONDS: Final = 1.2
"""Of processor time for one picture, after which the process ends itself, whatever it is doing."""
SIDE: Final = 960
"""Pixels of the longer side of the picture in which text is searched."""
PARAMS: Final[Mapping[str, object]] = {
    # The default enlarges the shorter side, so that a low strip takes seconds.
    "Det.limit_type": "max",
    "Det.limit_side_len": SIDE,
    # Noise has a thousand shapes that might be text, more than any budget allows.
    "Det.max_candidates": 100,
    # The classifier turns some ordinary lines upside down; `_line` turns those that read badly instead.
    "Global.use_cls": False,
    "Global.log_level": "critical",
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}
MOST_FRAMES: Final = 4
"""Frames of an animation that are read, spread evenly over it."""
LONGEST_TEXT: Final = 4000
"""Characters kept of one picture."""
_DECODED_SIDE: Final = 2000
_LEAST_SIDE: Final = 32
_LONGEST_LINE: Final = 40
"""In multiples of its height; a longer line is read in pieces, since the cost grows with this ratio."""
_TURN_BELOW: Final = 0.9
"""A line read with less confidence may be upside down: those reach 0.86, upright ones seldom miss 0.97."""
_KEEP_FROM: Final = 0.5
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of text in a picture."""

    text: str
    x: float
    y: float
    height: float
    """Centre and height in pixels."""
    upright: bool
    """Whether it runs from left to right, not from top to bottom."""
    turned: bool
    """Whether it could be read only when turned by 180 degrees."""


def main() -> None:
    """Answer requests until the input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    # What a library prints must not look like a reply.
    os.dup2(2, 1)
    engine = _engine()
    replies.write(b"ready\n")
    replies.flush()
    while True:
        request = _request(sys.stdin.buffer)
        if request is None:
            return
        _let_live(LIMIT_SECONDS)
        reply = reading(engine, request)
        _let_live(0)
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


def reading(engine: Any, content: bytes) -> dict[str, str | None]:
    """The text of a picture, and the code for why it may be incomplete."""
    deadline = time.process_time() + BUDGET_SECONDS
    texts: list[str] = []
    why: str | None = None
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return {"text": "", "why": "image_too_many_pixels"}
            for frame in _frames(image):
                if time.process_time() >= deadline:
                    why = "ocr_budget"
                    break
                text, complete = _frame_text(engine, frame, deadline)
                if text and text not in texts:
                    texts.append(text)
                if not complete:
                    why = "ocr_budget"
                    break
            else:
                if _frame_count(image) > MOST_FRAMES:
                    why = "too_many_frames"
    except Image.DecompressionBombError:
        return {"text": "", "why": "image_too_many_pixels"}
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything on hostile bytes
        return {"text": "", "why": "image_unreadable"}
    return {"text": "\n".join(texts)[:LONGEST_TEXT], "why": why}


def _let_live(seconds: float) -> None:
    """End this process by a signal after so much processor time; 0 switches that off."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _engine() -> Any:
    import cv2
    from rapidocr import RapidOCR

    cv2.setNumThreads(1)
    engine = RapidOCR(params=dict(PARAMS))
    # The first picture loads the models, which must not count against the budget of a real one.
    engine(np.full((SIDE, SIDE, 3), 255, np.uint8), use_rec=False)
    engine(np.full((48, 320, 3), 255, np.uint8), use_det=False)
    return engine


def _request(source: BinaryIO) -> bytes | None:
    head = source.read(8)
    return source.read(int.from_bytes(head, "big")) if len(head) == 8 else None


def _frames(image: Image.Image) -> Iterator[Pixels]:
    """What a viewer may see of a file: its frames, as they are and, if transparent, on grey too."""
    count = _frame_count(image)
    wanted = set(np.linspace(0, count - 1, min(count, MOST_FRAMES)).astype(int).tolist())
    image.draft("RGB", (_DECODED_SIDE, _DECODED_SIDE))
    seen: set[bytes] = set()
    for number, frame in enumerate(ImageSequence.Iterator(image)):
        if number > max(wanted):
            return
        if number not in wanted:
            continue
        whole = ImageOps.exif_transpose(frame)
        whole.thumbnail((_DECODED_SIDE, _DECODED_SIDE))
        looks = [whole.convert("RGB")]
        if whole.has_transparency_data:
            coloured = whole.convert("RGBA")
            # Both black and white letters are visible on grey.
            ground = Image.new("RGBA", coloured.size, (128, 128, 128, 255))
            looks.insert(0, Image.alpha_composite(ground, coloured).convert("RGB"))
        for look in looks:
            pixels = look.tobytes()
            if pixels not in seen:
                seen.add(pixels)
                yield _at_least(np.asarray(look)[:, :, ::-1], _LEAST_SIDE)


def _frame_count(image: Image.Image) -> int:
    # The further pictures in such a JPEG are previews that a camera added.
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _at_least(pixels: Pixels, side: int) -> Pixels:
    """The picture, padded with its edge until no side is shorter; the engine would enlarge all of it."""
    height, width = pixels.shape[:2]
    room = ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0))
    return np.ascontiguousarray(np.pad(pixels, room, mode="edge"))


def _frame_text(engine: Any, pixels: Pixels, deadline: float) -> tuple[str, bool]:
    """The text in reading order, and whether it is complete. The tallest lines are read first."""
    boxes = engine(pixels, use_det=True, use_rec=False).boxes
    if boxes is None:
        return "", True
    corners = sorted((np.asarray(box, np.float32) for box in boxes), key=_salience)
    lines: list[Line] = []
    complete = True
    for box in corners:
        if time.process_time() >= deadline:
            complete = False
            break
        line = _line(engine, pixels, box)
        if line:
            lines.append(line)
    return _in_reading_order(lines), complete


def _line(engine: Any, pixels: Pixels, box: NDArray[np.float32]) -> Line | None:
    crop, upright = _cut_out(pixels, box)
    text, score = _recognised(engine, crop)
    turned = False
    if score < _TURN_BELOW:
        other, other_score = _recognised(engine, np.ascontiguousarray(crop[::-1, ::-1]))
        if other_score > score:
            text, score, turned = other, other_score, True
    if score < _KEEP_FROM or not text.strip():
        return None
    x, y = box.mean(axis=0).tolist()
    return Line(text=text, x=x, y=y, height=_height(box), upright=upright, turned=turned)


def _cut_out(pixels: Pixels, box: NDArray[np.float32]) -> tuple[Pixels, bool]:
    """The box (corners clockwise from the top left) as a picture, laid flat, and whether it was upright."""
    import cv2

    width = max(1, int(max(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[2] - box[3]))))
    height = max(1, int(max(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[1] - box[2]))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    crop = np.asarray(
        cv2.warpPerspective(
            pixels,
            cv2.getPerspectiveTransform(box, target),
            (width, height),
            borderMode=cv2.BORDER_REPLICATE,
            flags=cv2.INTER_CUBIC,
        ),
        np.uint8,
    )
    upright = height < 1.5 * width
    return (crop if upright else np.ascontiguousarray(np.rot90(crop))), upright


def _recognised(engine: Any, crop: Pixels) -> tuple[str, float]:
    """The text of a line, and the confidence in it."""
    height, width = crop.shape[:2]
    pieces = np.array_split(crop, -(-width // (_LONGEST_LINE * height)), axis=1)
    found = [engine(np.ascontiguousarray(piece), use_det=False, use_rec=True) for piece in pieces]
    text = "".join(str(each.txts[0]) for each in found if each.txts)
    return text, sum(float(each.scores[0]) for each in found if each.txts) / len(found)


def _salience(box: NDArray[np.float32]) -> tuple[int, float]:
    """Orders taller lines before lower ones, and lines of about the same height from the top."""
    return -round(3 * math.log2(1 + _height(box))), float(box[:, 1].mean())


def _height(box: NDArray[np.float32]) -> float:
    return float(min(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[0] - box[1])))


def _in_reading_order(lines: list[Line]) -> str:
    """The lines from top to bottom and left to right, with the picture turned upright."""
    letters = sum(len(line.text) for line in lines)
    turned = 2 * sum(len(line.text) for line in lines if line.turned) > letters
    upright = 2 * sum(len(line.text) for line in lines if line.upright) >= letters
    sign = -1 if turned else 1
    places = [
        (sign * line.y, sign * line.x, line) if upright else (-sign * line.x, sign * line.y, line)
        for line in lines
    ]
    places.sort(key=lambda place: place[:2])
    rows: list[list[tuple[float, float, Line]]] = []
    for place in places:
        if rows and place[0] - rows[-1][0][0] < place[2].height / 2:
            rows[-1].append(place)
        else:
            rows.append([place])
    return "\n".join(
        " ".join(line.text for _, _, line in sorted(row, key=lambda place: place[1])) for row in rows
    )


if __name__ == "__main__":
    main()
