"""The reader of pictures with its real process, on pictures drawn here."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from PIL import Image, ImageDraw, ImageFont

from moderation.dialogues import picture_from
from safemt.core.identity import content_key
from safemt.core.schema import ImageRef
from safemt.moderation.reading.pictures import (
    LIMIT_SECONDS,
    PictureReader,
    PictureText,
    can_read_pictures,
)

pytestmark = pytest.mark.skipif(not can_read_pictures(), reason="needs the extra `ocr`")

LINES = ("Water the garden", "in the evening")


@pytest.fixture(scope="module")
def reader() -> Iterator[PictureReader]:
    reader = PictureReader()
    yield reader
    reader.close()


def drawn(
    *lines: str, size: tuple[int, int] = (640, 200), points: int = 40, ink: str = "black"
) -> Image.Image:
    image = Image.new("RGBA", size, (255, 255, 255, 0))
    pen = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        pen.text((20, 15 + place * points * 1.5), line, fill=ink, font=ImageFont.load_default(points))
    return image


def on_white(image: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def packed(image: Image.Image, kind: str = "PNG", others: tuple[Image.Image, ...] = ()) -> ImageRef:
    file = io.BytesIO()
    if others:
        image.save(file, kind, save_all=True, append_images=list(others))
    else:
        image.save(file, kind)
    return picture_from(file.getvalue())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_text_is_read_in_every_kind_of_picture(reader: PictureReader, kind: str) -> None:
    assert reader.read(packed(on_white(drawn(*LINES)), kind)) == PictureText(text="\n".join(LINES))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_text_is_read_in_its_order_whichever_way_the_picture_lies(
    reader: PictureReader, degrees: int
) -> None:
    turned = on_white(drawn(*LINES)).rotate(degrees, expand=True)
    assert reader.read(packed(turned)) == PictureText(text="\n".join(LINES))


@pytest.mark.parametrize("ink", ["white", "black", "#00000000"])
def test_transparency_hides_nothing(reader: PictureReader, ink: str) -> None:
    assert reader.read(packed(drawn("Water the garden", ink=ink))).text == "Water the garden"


def test_a_low_strip_is_read_within_the_budget(reader: PictureReader) -> None:
    strip = on_white(drawn("Water the garden in the evening", size=(1900, 60), points=30))
    assert reader.read(packed(strip)) == PictureText(text="Water the garden in the evening")


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000), (960, 960)])
def test_a_picture_without_text_is_read_to_its_end(reader: PictureReader, size: tuple[int, int]) -> None:
    assert reader.read(packed(Image.new("RGB", size, "green"))) == PictureText(text="")


def test_of_a_page_that_takes_too_long_the_first_lines_are_read(reader: PictureReader) -> None:
    page = drawn(
        *(f"Row {row}: water the garden in the evening and mind the snails" for row in range(1, 91)),
        size=(900, 2000),
        points=14,
    )
    found = reader.read(packed(on_white(page)))
    assert found.why == "ocr_budget"
    assert found.text.startswith("Row 1: water")


def test_text_in_a_later_frame_is_read(reader: PictureReader) -> None:
    frames = tuple(on_white(drawn(word)) for word in ("water", "the", "garden"))
    assert reader.read(packed(frames[0], "GIF", frames[1:])).text == "water\nthe\ngarden"


def test_an_animation_of_many_frames_is_read_in_part_and_says_so(reader: PictureReader) -> None:
    frames = tuple(on_white(drawn(f"row {number}")) for number in range(12))
    found = reader.read(packed(frames[0], "GIF", frames[1:]))
    assert found.why == "too_many_frames"
    assert {"row 0", "row 11"} <= set(found.text.split("\n"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "image_unreadable"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_unreadable"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "image_unreadable"),
        (bytes(21 * 2**20), "image_too_large"),
    ],
)
def test_what_is_no_picture_is_not_read(reader: PictureReader, content: bytes, why: str) -> None:
    assert reader.read(picture_from(content)) == PictureText(text="", why=why)


def test_a_cut_picture_is_unreadable(reader: PictureReader) -> None:
    whole = packed(on_white(drawn(*LINES))).read()
    assert reader.read(picture_from(whole[: len(whole) // 2])).why == "image_unreadable"


def test_a_picture_with_too_many_pixels_is_not_decoded(reader: PictureReader) -> None:
    bomb = packed(Image.new("1", (20_000, 20_000)))
    assert len(bomb.read()) < 100_000
    assert reader.read(bomb) == PictureText(text="", why="image_too_many_pixels")


@dataclass
class Counted:
    """A source that counts how often it is read."""

    content: bytes
    reads: int = 0

    def read(self, image: ImageRef) -> bytes:
        self.reads += 1
        return self.content

    def data_uri(self, image: ImageRef) -> bytes:
        raise AssertionError


def test_a_known_picture_is_not_even_opened(reader: PictureReader) -> None:
    picture = packed(on_white(drawn("Once and again")))
    source = Counted(picture.read())
    counted = replace(picture, source=source)
    assert not reader.knows(counted)
    found = [reader.read(counted) for _ in range(3)]
    assert source.reads == 1
    assert found == [PictureText(text="Once and again")] * 3
    assert reader.knows(picture)


@pytest.mark.slow
def test_an_animation_that_takes_too_long_to_decode_is_given_up(reader: PictureReader) -> None:
    one = packed(Image.new("P", (4000, 4000)), "GIF").read()
    frame = one[one.index(b",") : -1]
    bomb = picture_from(one[: one.index(b",")] + 300 * frame + b";")
    assert reader.read(bomb) == PictureText(text="", why="ocr_budget")
    assert reader.read(packed(on_white(drawn("Still here")))).text == "Still here"


@pytest.mark.slow
def test_a_picture_that_takes_too_long_is_given_up_and_the_next_one_is_read() -> None:
    reader = PictureReader()
    reader.limit_seconds = 0.001
    slow = packed(on_white(drawn("Too slow")))
    assert reader.read(slow) == PictureText(text="", why="ocr_budget")
    reader.limit_seconds = LIMIT_SECONDS
    assert reader.read(slow).why == "ocr_budget"
    assert reader.read(packed(on_white(drawn("In time")))).text == "In time"
    reader.close()


@pytest.mark.slow
def test_a_reader_that_does_not_start_says_so_and_is_tried_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = PictureReader()
    picture = packed(on_white(drawn("Second try")))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", shutil.which("false"))
        assert reader.read(picture) == PictureText(text="", why="ocr_failed")
    assert reader.read(picture) == PictureText(text="", why="ocr_failed")
    reader.retry_seconds = 0
    assert reader.read(picture).text == "Second try"
    reader.close()


@pytest.mark.slow
def test_the_process_ends_with_its_reader() -> None:
    reader = PictureReader()
    reader.read(packed(Image.new("RGB", (8, 8))))
    worker = reader._worker
    assert isinstance(worker, subprocess.Popen)
    assert worker.poll() is None
    reader.close()
    assert worker.poll() is not None


def test_the_identity_holds_how_pictures_are_read(reader: PictureReader) -> None:
    assert content_key(reader.identity) == content_key(PictureReader().identity)
