import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from safemt.build.cards import Card, draw_card
from safemt.build.pictures import PictureFolder, perceptual_hash
from safemt.build.queries import Ledger, PictureSource
from safemt.core.errors import BenchmarkError


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def scene(shift: int = 0) -> Image.Image:
    image = Image.effect_noise((300, 200), 60).convert("RGB")
    image.paste((240, 240, 240), (0, 0, 300, 200))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40 + shift, 50, 120 + shift, 130), fill=(200, 40, 40))
    draw.rectangle((180, 90, 260, 180), fill=(30, 60, 200))
    return image


@pytest.mark.parametrize("kind", ["text", "document", "scene", "diagram"])
def test_a_card_is_the_same_every_time_and_differs_by_seed(kind: str) -> None:
    lines = ("a shop counter", "opening hours", "contracts", "customer habits", "working hours")
    first, again = (draw_card(Card(kind, lines, "1")) for _ in range(2))
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != draw_card(Card(kind, lines, "2")).tobytes()


def test_every_face_and_layout_draws_any_text() -> None:
    for seed in range(40):
        draw_card(Card("text", ("Ünïcode — 漢字 and a-very-long-word-" + "x" * 80,), str(seed)))
    draw_card(Card("document", ("word " * 3_000,), "0"))


def test_the_same_picture_in_another_encoding_is_kept_once(tmp_path: Path) -> None:
    ledger = Ledger()
    folder = PictureFolder(tmp_path, ledger)
    first = folder.from_source(PictureSource(name="a", content=encoded(scene())), "a")
    second = folder.from_source(PictureSource(name="b", content=encoded(scene(), "JPEG")), "b")
    third = folder.from_source(PictureSource(name="c", content=encoded(scene(50))), "c")
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.ref == second.ref != third.ref
    assert [reject.reason for reject in ledger.rejects] == ["near_duplicate_image"]
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_a_perceptual_hash_survives_scaling() -> None:
    bits = perceptual_hash(scene()) ^ perceptual_hash(scene().resize((150, 100)))
    assert bits.bit_count() <= 4


def test_unusable_images_are_left_out_with_a_reason(tmp_path: Path) -> None:
    ledger = Ledger()
    folder = PictureFolder(tmp_path, ledger)
    assert folder.from_source(PictureSource(name="a", content=b"no image"), "a") is None
    assert folder.from_source(PictureSource(root=tmp_path, name="gone.png"), "b") is None
    assert [reject.reason for reject in ledger.rejects] == ["not_an_image", "missing_image"]
    assert not any(reject.fatal for reject in ledger.rejects)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(encoded(scene()))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").symlink_to(tmp_path / "out.png")
    folder = PictureFolder(tmp_path / "made", Ledger())
    with pytest.raises(BenchmarkError, match=r"row 3: .*refused"):
        folder.from_source(PictureSource(root=tmp_path / "in", name="a.png"), "row 3")
