"""Files that may be gzipped, and that may be made to fill the memory."""

import gzip
from pathlib import Path

import pytest

from safemt.benchmark.judged import read_judged
from safemt.benchmark.recorded import read_recorded
from safemt.core.errors import LabelsError
from safemt.io import packed
from safemt.io.packed import read_unpacked


def test_a_file_is_unpacked_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "plain.jsonl").write_bytes(b"text")
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(b"text"))
    assert read_unpacked(tmp_path / "plain.jsonl") == read_unpacked(tmp_path / "packed.jsonl.gz") == b"text"


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST_UNPACKED", 2**20)
    bomb = tmp_path / "bomb.jsonl.gz"
    bomb.write_bytes(gzip.compress(b"{}" + b" " * 2**20))
    for read in (read_unpacked, read_judged, lambda path: read_recorded(path, field="label")):
        with pytest.raises(LabelsError, match="unpacks to more than"):
            read(bomb)
    bomb.write_bytes(gzip.compress(b" " * 2**20))
    assert len(read_unpacked(bomb)) == 2**20
