"""Files appear whole or not at all, never through a link, and are read only if plain and small enough."""

import os
import stat
from pathlib import Path

import pytest

from safemt.core.errors import DataError, FileError
from safemt.io.files import PUBLIC, hash_file, new_file, read_bounded, write_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_with_the_folders_above_it_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a/b/report.html"
    assert write_file(path, b"first, and longer") == path
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_stream_becomes_the_file_when_its_block_ends(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "rows.jsonl"
    with new_file(path, durable=durable) as stream:
        stream.write(b"1\n")
        assert not path.exists()
        stream.write(b"2\n")
    assert path.read_bytes() == b"1\n2\n"


def test_only_the_owner_may_read_a_file_unless_it_is_public_and_the_umask_narrows_both(
    tmp_path: Path,
) -> None:
    before = os.umask(0o022)
    try:
        assert mode_of(write_file(tmp_path / "private", b"")) == 0o600
        assert mode_of(write_file(tmp_path / "public", b"", mode=PUBLIC)) == 0o644
        os.umask(0o077)
        assert mode_of(write_file(tmp_path / "public", b"", mode=PUBLIC)) == 0o600
        os.umask(0)
        (tmp_path / "private").chmod(0o666)
        assert mode_of(write_file(tmp_path / "private", b"")) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, RuntimeError])
def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = write_file(tmp_path / "a", b"old")

    def interrupted() -> None:
        with new_file(path) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_one_typed_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught, new_file(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert (caught.value.code, caught.value.fields["path"]) == ("cannot_write", tmp_path / "a")
    assert str(caught.value) == f"{tmp_path / 'a'} cannot be written: No space left on device."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/a", "a\0b", "x" * 300])
def test_a_place_where_nothing_can_be_written_is_a_typed_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError) as caught:
        write_file(tmp_path / name, b"")
    assert caught.value.code == "cannot_write"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_neither_followed_nor_replaced(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_bytes(b"mine")
    link.symlink_to(target)
    with pytest.raises(FileError) as caught:
        write_file(link, b"new")
    assert caught.value.code == "is_a_link"
    assert link.is_symlink()
    assert target.exists() == there
    assert not there or target.read_bytes() == b"mine"


def test_a_folder_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(FileError) as caught:
            write_file(tmp_path / name, b"")
        assert caught.value.code == "not_a_file"


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda count: b"\0" * count)
    part = tmp_path / f".safemt-{'00' * 8}.part"
    part.symlink_to(tmp_path / "secret")
    with pytest.raises(FileError):
        write_file(tmp_path / "a", b"new")
    assert not (tmp_path / "secret").exists()
    assert part.is_symlink()


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    seen = set()
    for _ in range(5):
        with new_file(tmp_path / "a"):
            seen |= {each.name for each in tmp_path.glob(".safemt-*")}
    assert len(seen) == 5


def test_reading_stops_at_the_bound(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a", b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(DataError) as caught:
        read_bounded(path, 4, error=DataError)
    assert (caught.value.code, caught.value.fields) == ("too_large", {"path": path, "most": 4})


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "folder"):
        with pytest.raises(FileError) as caught:
            read_bounded(path, 100)
        assert caught.value.code in ("not_a_file", "unreadable_file")


def test_a_link_is_read_only_where_that_is_allowed(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a", b"text")
    (tmp_path / "link").symlink_to(path)
    assert read_bounded(tmp_path / "link", 10) == b"text"
    with pytest.raises(FileError) as caught:
        read_bounded(tmp_path / "link", 10, follow=False)
    assert caught.value.code == "is_a_link"
    assert read_bounded(path, 10, follow=False) == b"text"


@pytest.mark.parametrize("name", ["absent", "a\0b", "x" * 300])
def test_what_is_not_there_is_a_typed_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError) as caught:
        read_bounded(tmp_path / name, 10)
    assert caught.value.code == "unreadable_file"


def test_a_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a", b"")
    assert hash_file(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
