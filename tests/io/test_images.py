"""Images: told by their bytes, held to limits and to their folder, read only as they were checked."""

import base64
import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.sets import ending, picture, png_header, put
from safemt.core.errors import BenchmarkError
from safemt.core.schema import ImageRef
from safemt.io.images import (
    MAX_BYTES,
    MAX_PIXELS,
    ImageFolder,
    ImageProblem,
    has_wrong_extension,
    inspect_image,
    locate_image,
)

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty benchmark with a secret picture beside it."""
    put(tmp_path / "secret.png", picture(colour=99))
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


def problem_with(path: Path) -> ImageProblem:
    with pytest.raises(ImageProblem) as caught:
        inspect_image(path, path.name)
    assert f"'{path.name}'" in str(caught.value)
    return caught.value


def problem_of_name(root: Path, name: str) -> ImageProblem:
    with pytest.raises(ImageProblem) as caught:
        locate_image(root, name)
    return caught.value


def folder_with(root: Path, name: str = "a.png", content: bytes = picture()) -> tuple[ImageFolder, ImageRef]:
    return ImageFolder(root), inspect_image(put(root / name, content), name)


# What an image is.


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp", "a.gif", "a.bmp", "a", "a.png.txt"])
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_type_is_told_by_the_bytes(root: Path, format_: str, name: str) -> None:
    content = picture(format_, size=(5, 2))
    image = inspect_image(put(root / name, content), name)
    assert image == ImageRef(
        sha256=hashlib.sha256(content).hexdigest(),
        media_type=f"image/{format_.lower()}",
        width=5,
        height=2,
        path=name,
    )
    right = {f"a.{ending(format_)}"} | ({"a.JPEG"} if format_ == "JPEG" else set())
    assert has_wrong_extension(image) is (name not in right)


def test_a_phones_jpeg_with_further_pictures_behind_the_first_is_a_jpeg(root: Path) -> None:
    first = Image.new("RGB", (8, 8))
    first.save(root / "a.jpg", "MPO", save_all=True, append_images=[first])
    image = inspect_image(root / "a.jpg", "a.jpg")
    assert image.media_type == "image/jpeg"
    assert not has_wrong_extension(image)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"no image at all",
        b"\0" * 4096,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        picture("BMP"),
        picture("TIFF"),
        picture("ICO", size=(16, 16)),
        b"\x89PNG\r\n\x1a\n",
        picture()[:20],
        picture()[:30],
        picture("JPEG")[:12],
        picture("WEBP")[:12],
        picture("GIF")[:8],
        b"GIF89a\0\0\0\0\0\0\0;",
        png_header(0, 0),
        png_header(0, 5),
    ],
)
def test_what_is_no_image_is_refused(root: Path, content: bytes) -> None:
    problem = problem_with(put(root / "a.png", content))
    assert problem.code == "not_an_image"
    assert str(problem) == "'a.png' is not a PNG, JPEG, WebP or GIF image; replace or convert it"


@pytest.mark.parametrize(
    "size", [(7072, 7072), (8000, 8000), (10_000, 10_000), (20_000, 10_000), (2**31 - 1, 2**31 - 1)]
)
def test_pictures_of_too_many_pixels_are_refused_undecoded(root: Path, size: tuple[int, int]) -> None:
    problem = problem_with(put(root / "a.png", png_header(*size)))
    assert problem.code == "image_too_many_pixels"
    assert str(problem) == "the image 'a.png' has more than 50 megapixels; shrink it"


def test_the_largest_picture_is_taken(root: Path) -> None:
    image = inspect_image(put(root / "a.png", png_header(10_000, 5_000)), "a.png")
    assert image.width * image.height == MAX_PIXELS


def test_files_of_too_many_bytes_are_refused_unread(root: Path) -> None:
    path = put(root / "a.png", picture())
    os.truncate(path, MAX_BYTES)
    assert inspect_image(path, "a.png").width == 4
    os.truncate(path, MAX_BYTES + 2**20)
    problem = problem_with(path)
    assert problem.code == "image_too_large"
    assert str(problem) == "the image 'a.png' has 21.0 MB, more than 20; shrink it"
    os.truncate(path, 2**40)
    assert problem_with(path).code == "image_too_large"


def test_a_file_that_has_gone_is_unreadable(root: Path) -> None:
    problem = problem_with(root / "a.png")
    assert problem.code == "image_unreadable"
    assert "No such file" in str(problem)


@given(content=st.binary(max_size=300), cut=st.integers(0, 80), kind=st.sampled_from(["PNG", "JPEG", "GIF"]))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_are_an_image_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int, kind: str
) -> None:
    path = put(tmp_path_factory.getbasetemp() / "fuzz/a.png", picture(kind)[:cut] + content)
    with suppress(ImageProblem):
        image = inspect_image(path, "a.png")
        assert image.width * image.height > 0


# Where an image may lie.


def test_the_two_image_roots_stand_for_each_other(root: Path) -> None:
    for folder in ("", "Data/", "data/"):
        put(root / f"{folder}images/{folder[:1] or 'x'}.png", picture())
    for found, names in {
        "images/x.png": ["images/x.png", "Data/images/x.png", "data/images/x.png", "./images//x.png"],
        "Data/images/D.png": ["images/D.png", "Data/images/D.png", "data/images/D.png", "images\\D.png"],
        "data/images/d.png": ["images/d.png", "Data/images/d.png", "data/images/d.png"],
    }.items():
        for name in names:
            path = locate_image(root, name)
            assert path is not None
            assert path.samefile(root / found)


def test_the_place_that_is_named_comes_first(root: Path) -> None:
    put(root / "images/a.png", picture())
    put(root / "Data/images/a.png", picture(colour=5))
    for name in ("images/a.png", "Data/images/a.png"):
        assert locate_image(root, name) == root / name


@pytest.mark.parametrize(
    "name", ["none.png", "images/none.png", ".", "", "a\0b.png", "\0", "n" * 300, "n/" * 5000, "set"]
)
def test_what_is_not_there_is_missing(root: Path, name: str) -> None:
    (root / "set").mkdir()
    assert locate_image(root, name) is None


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "images/../../secret.png",
        "..\\secret.png",
        "Data/../../secret.png",
        "/etc/passwd",
        "//server/share/a.png",
        "\\\\server\\share\\a.png",
        "C:\\secret.png",
        "c:secret.png",
        "./C:/secret.png",
        "images/C:/secret.png",
        "..",
        "a/..",
    ],
)
def test_names_that_lead_out_are_refused(root: Path, name: str) -> None:
    problem = problem_of_name(root, name)
    assert problem.code == "image_outside"
    assert str(problem) == (
        f"the image path {name!r} leads out of the benchmark; "
        "put the image into the benchmark's folder and name it from there"
    )


def test_absolute_names_are_refused_even_where_they_lead_in(root: Path) -> None:
    path = put(root / "a.png", picture())
    assert problem_of_name(root, str(path)).code == "image_outside"


def test_links_out_are_refused(root: Path) -> None:
    (root / "a.png").symlink_to("../secret.png")
    (root / "images").symlink_to("..")
    (root / "there").symlink_to(root)
    for name in ("a.png", "images/secret.png", "there/images/secret.png"):
        problem = problem_of_name(root, name)
        assert problem.code == "image_outside"
        assert str(problem) == f"the image {name!r} is a link out of the benchmark; put the file itself there"


def test_links_within_are_followed(root: Path, tmp_path: Path) -> None:
    put(root / "images/a.png", picture())
    (root / "b.png").symlink_to("images/a.png")
    (tmp_path / "other").symlink_to(root)
    assert locate_image(root, "b.png") == root / "b.png"
    assert locate_image(tmp_path / "other", "b.png") == tmp_path / "other/b.png"


def test_broken_and_circular_links_are_missing(root: Path) -> None:
    (root / "a.png").symlink_to("nowhere.png")
    (root / "b.png").symlink_to("b.png")
    assert locate_image(root, "a.png") is None
    assert locate_image(root, "b.png") is None


def test_a_wider_boundary_lets_links_lead_as_far_as_it(root: Path, tmp_path: Path) -> None:
    (root / "a.png").symlink_to("../secret.png")
    assert locate_image(root, "a.png", boundary=tmp_path) == root / "a.png"
    (root / "b.png").symlink_to("../../out.png")
    put(tmp_path.parent / "out.png", picture())
    with pytest.raises(ImageProblem):
        locate_image(root, "b.png", boundary=tmp_path)


def test_pipes_are_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "a.png")
    assert locate_image(root, "a.png") is None


@pytest.mark.skipif(AS_ROOT, reason="nothing is forbidden to root")
@pytest.mark.parametrize("barred", ["images", "images/a.png"])
def test_an_image_that_may_not_be_read_is_not_called_missing(root: Path, barred: str) -> None:
    put(root / "images/a.png", picture())
    (root / barred).chmod(0)
    try:
        with pytest.raises(ImageProblem) as caught:
            inspect_image(locate_image(root, "images/a.png") or root, "images/a.png")
        assert caught.value.code == "image_unreadable"
        assert "Permission denied" in str(caught.value)
    finally:
        (root / barred).chmod(0o700)


def test_messages_show_names_safely_and_not_whole(root: Path) -> None:
    problem = problem_of_name(root, "../\x1b[31m\n" + "n" * 100_000)
    assert str(problem).isprintable()
    assert len(str(problem)) < 400


# Images for a call.


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_data_uri_holds_the_file_and_its_real_type(root: Path, format_: str) -> None:
    content = picture(format_)
    images, image = folder_with(root, "a.png", content)
    expected = f"data:image/{format_.lower()};base64,{base64.b64encode(content).decode()}"
    assert images.data_uri(image) == expected.encode()
    assert images.data_uri(image) is images.data_uri(image)


def test_an_image_that_changed_since_the_check_is_refused(root: Path) -> None:
    images, image = folder_with(root)
    put(root / "a.png", picture(colour=1))
    with pytest.raises(BenchmarkError) as caught:
        images.data_uri(image)
    assert (caught.value.code, caught.value.fields) == ("image_changed", {"path": root / "a.png"})
    put(root / "a.png", picture())
    assert images.data_uri(image).startswith(b"data:image/png;base64,")


def test_an_image_that_is_gone_or_leads_out_since_the_check_is_refused(root: Path, tmp_path: Path) -> None:
    images, image = folder_with(root)
    (root / "a.png").rename(tmp_path / "a.png")
    with pytest.raises(BenchmarkError) as caught:
        images.data_uri(image)
    assert caught.value.code == "image_changed"
    (root / "a.png").symlink_to("../a.png")
    with pytest.raises(BenchmarkError) as caught:
        images.data_uri(image)
    assert caught.value.code == "image_changed"
    assert ImageFolder(root, boundary=tmp_path).data_uri(image)


def test_an_image_is_read_once_while_it_is_kept(root: Path) -> None:
    images, image = folder_with(root)
    first = images.data_uri(image)
    (root / "a.png").unlink()
    assert images.data_uri(image) == first


def test_only_so_many_bytes_are_kept_the_newest_used_first(root: Path) -> None:
    refs = [folder_with(root, f"{n}.png", picture(colour=n))[1] for n in range(4)]
    one = len(ImageFolder(root).data_uri(refs[0]))
    images = ImageFolder(root, cache_bytes=2 * one)
    kept = [images.data_uri(refs[n]) for n in (0, 1, 0, 2)]
    assert images.data_uri(refs[0]) is kept[0]
    assert images.data_uri(refs[2]) is kept[3]
    assert images.data_uri(refs[1]) is not kept[1]


def test_an_image_larger_than_the_room_is_given_and_makes_way(root: Path) -> None:
    refs = [folder_with(root, f"{n}.png", picture(colour=n))[1] for n in range(2)]
    images = ImageFolder(root, cache_bytes=1)
    for n in (0, 1, 0):
        assert images.data_uri(refs[n]).endswith(base64.b64encode(picture(colour=n)))
