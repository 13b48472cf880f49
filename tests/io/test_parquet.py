"""Parquet in all its encodings, and files that would become a thousand times their size."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from safemt.core.errors import BenchmarkError
from safemt.io.row import LIMITS, Limits, Row
from safemt.io.rows import read_rows

HOSTILE: Final = Path(__file__).parents[3] / "shared/cases/hostile"
SMALL: Final = Limits(content=2**24, row=2**16)


def written(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
    return path


def rows_of(path: Path, **options: Any) -> list[Row]:
    return list(read_rows(path, error=BenchmarkError, **options))


def refusal(path: Path, limits: Limits = SMALL) -> BenchmarkError:
    with pytest.raises(BenchmarkError) as caught:
        rows_of(path, limits=limits)
    return caught.value


def talk(number: int) -> dict[str, Any]:
    said = [{"role": ("user", "assistant")[n % 2], "content": f"{n} of {number}"} for n in range(number % 4)]
    return {
        "id": f"q{number}",
        "dialogue": said,
        "twin_of": None if number % 3 else "q0",
        "score": number / 7,
    }


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False},
        {"use_dictionary": False, "column_encoding": {"id": "DELTA_BYTE_ARRAY"}},
        {"use_dictionary": False, "column_encoding": {"id": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"data_page_version": "2.0", "data_page_size": 64, "write_batch_size": 3},
        {"dictionary_pagesize_limit": 64, "write_batch_size": 3, "row_group_size": 11},
        {"write_page_index": True, "write_page_checksum": True},
    ],
)
def test_every_encoding_gives_the_rows_that_were_written(
    tmp_path: Path, compression: str, options: dict[str, Any]
) -> None:
    rows = [talk(number) for number in range(60)]
    path = written(tmp_path / "a.parquet", rows, compression=compression, **options)
    for limits in (LIMITS, Limits(row=600)):
        read = rows_of(path, limits=limits)
        assert [row.fields for row in read] == rows
        assert [row.place for row in read[:2]] == ["record 1", "record 2"]


def test_only_the_columns_that_are_wanted_are_read(tmp_path: Path) -> None:
    rows = [{"id": "a", "image": {"bytes": b"x" * 2**17}, "label": "safe"}]
    path = written(tmp_path / "a.parquet", rows)
    [row] = rows_of(path, columns={"id", "label", "absent"}, limits=SMALL)
    assert row.fields == {"id": "a", "label": "safe"}
    [whole] = rows_of(path, limits=SMALL)
    assert (whole.code, whole.fields) == ("too_long", None)


def test_a_row_that_is_too_long_does_not_keep_the_others_back(tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": "x" * (2**17 if number == 40 else 9)} for number in range(90)]
    read = rows_of(written(tmp_path / "a.parquet", rows), limits=SMALL)
    assert [row.number for row in read if row.code == "too_long"] == [41]
    assert sum(row.fields is not None for row in read) == 89


def test_one_text_repeated_a_million_times_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", [{"text": "x" * 2**15}] * 1000, compression="zstd")
    assert path.stat().st_size < 5000
    assert refusal(path).code == "too_large"


def test_a_row_that_repeats_a_text_many_times_is_refused(tmp_path: Path) -> None:
    row = {"said": [{"role": "user", "content": "x" * 2**14}] * 3000}
    path = written(tmp_path / "a.parquet", [row], compression="zstd")
    assert path.stat().st_size < 5000
    assert refusal(path).code == "too_large"


def test_lists_that_repeat_short_texts_are_read(tmp_path: Path) -> None:
    rows = [{"said": ["yes" * (number % 9), "no"] * 90} for number in range(500)]
    assert [row.fields for row in rows_of(written(tmp_path / "a.parquet", rows), limits=SMALL)] == rows


def test_a_row_of_texts_that_start_alike_is_refused(tmp_path: Path) -> None:
    row = {"said": ["x" * 2**14 + str(number) for number in range(3000)]}
    column = {"said.list.element": "DELTA_BYTE_ARRAY"}
    options: dict[str, Any] = {"use_dictionary": False, "column_encoding": column, "compression": "zstd"}
    assert refusal(written(tmp_path / "a.parquet", [row], **options)).code == "too_large"


def test_lists_of_a_billion_nothings_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", [{"numbers": [None] * 2_200_000}], compression="zstd")
    assert path.stat().st_size < 5000
    assert refusal(path).code == "too_large"


def test_a_page_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", [{"text": "x" * 2**23}], compression="zstd", use_dictionary=False)
    error = refusal(path)
    assert error.code == "too_large"
    assert "a page of more than 4 MB" in str(error)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    rows = [{"text": f"{number:06}" * 1000} for number in range(4000)]
    assert refusal(written(tmp_path / "a.parquet", rows, compression="zstd")).code == "too_large"


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="the hostile samples are not here")
def test_three_kilobytes_that_become_ten_gigabytes_are_refused() -> None:
    assert refusal(HOSTILE / "bomb.parquet", Limits(content=2**28)).code == "too_large"


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"[]"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(damage)
    assert refusal(tmp_path / "a.parquet").code == "not_parquet"


@settings(max_examples=80, deadline=None)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
    nested=st.booleans(),
)
def test_a_damaged_file_gives_rows_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[float, int]], nested: bool
) -> None:
    buffer = io.BytesIO()
    rows = [talk(number) if nested else {"a": str(number)} for number in range(9)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    content = bytearray(buffer.getvalue())
    for where, bits in flips:
        content[int(where * len(content))] ^= bits
    path = tmp_path_factory.mktemp("damaged") / "a.parquet"
    path.write_bytes(content)
    with suppress(BenchmarkError):
        for row in rows_of(path):
            assert (row.fields is None) == bool(row.problem)
