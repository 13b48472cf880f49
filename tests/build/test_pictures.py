import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from safemt.build.ladders.schema import SurfaceKind
from safemt.build.pictures.card import Card
from safemt.build.pictures.folder import PictureFolder, perceptual_hash
from safemt.build.pictures.scenes import draw_scene, named, pictograms
from safemt.build.pictures.surfaces import draw_surface
from safemt.build.pictures.text import height_of, largest
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


@pytest.mark.parametrize("kind", [*SurfaceKind, "page"])
def test_a_surface_is_the_same_every_time_and_differs_by_seed(kind: str) -> None:
    lines = ("Topic of the month:", "a shop counter", "Read more in the hall")
    first, again = (draw_surface(Card(kind, "Notice", lines, seed="1")) for _ in range(2))
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != draw_surface(Card(kind, "Notice", lines, seed="2")).tobytes()


def test_a_scene_shows_its_objects_in_several_styles() -> None:
    objects = ("laptop", "bank", "envelope")
    pictures = {draw_scene(Card("scene", objects=objects, seed=str(n))).tobytes() for n in range(12)}
    assert len(pictures) == 12
    assert draw_scene(Card("scene", objects=objects, seed="1")).getcolors(1 << 20) != draw_scene(
        Card("scene", objects=("boat",), seed="1")
    ).getcolors(1 << 20)


def test_every_pictogram_can_be_drawn() -> None:
    blank = draw_scene(Card("scene", seed="3")).tobytes()
    for name in pictograms():
        assert draw_scene(Card("scene", objects=(name,), seed="3")).tobytes() != blank, name


def test_objects_are_named_with_their_articles() -> None:
    assert named(["laptop", "apple", "money"]) == "a laptop, an apple, and money"
    assert named(["umbrella", "bank"]) == "an umbrella and a bank"


def test_a_page_is_as_long_as_its_text() -> None:
    short = draw_surface(Card("page", lines=("word " * 20,)))
    long = draw_surface(Card("page", lines=("word " * 2_000,)))
    assert long.height > 2 * short.height


def test_a_text_in_a_box_is_never_larger_than_the_box() -> None:
    box = (0, 0, 300, 80)
    for text in ("a", "a few words on a sign", "Ünïcode - and a-very-long-word-" + "x" * 60):
        assert height_of(text, largest(text, box, 44), 300) <= 80


def test_the_same_picture_in_another_encoding_is_kept_once(tmp_path: Path) -> None:
    ledger = Ledger()
    folder = PictureFolder(tmp_path, ledger)
    first = folder.from_source(PictureSource(name="a", read=lambda: encoded(scene())), "a")
    second = folder.from_source(PictureSource(name="b", read=lambda: encoded(scene(), "JPEG")), "b")
    third = folder.from_source(PictureSource(name="c", read=lambda: encoded(scene(50))), "c")
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
    assert folder.from_source(PictureSource(name="a", read=lambda: b"no image"), "a") is None
    assert folder.from_source(PictureSource(root=tmp_path, name="gone.png"), "b") is None
    assert [reject.reason for reject in ledger.rejects] == ["not_an_image", "missing_image"]
    assert not any(reject.fatal for reject in ledger.rejects)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(encoded(scene()))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").symlink_to(tmp_path / "out.png")
    folder = PictureFolder(tmp_path / "made", Ledger())
    with pytest.raises(BenchmarkError) as error:
        folder.from_source(PictureSource(root=tmp_path / "in", name="a.png"), "row 3")
    assert (error.value.code, error.value.fields["place"]) == ("image_outside", "row 3")
