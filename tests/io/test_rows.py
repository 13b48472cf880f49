"""One reader for every form that rows come in: the same rows from each, one at a time, within limits."""

import csv
import gzip
import io
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from safemt.core.errors import BenchmarkError, LabelsError, SafemtError
from safemt.io.row import Limits, Row
from safemt.io.rows import column_names, read_rows, require_rows, usual_file

HOSTILE: Final = Path(__file__).parents[3] / "shared/cases/hostile"
hostile = pytest.mark.skipif(not HOSTILE.is_dir(), reason="the hostile samples are not here")

Rows = Sequence[dict[str, Any]]


def _json_lines(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _plain_json_lines(path: Path, rows: Rows) -> None:
    text = "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())


def _packed_json_lines(path: Path, rows: Rows) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=1))


def _array(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps(rows), encoding="utf-8")


def _indented_array(path: Path, rows: Rows) -> None:
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=1))


def _keyed(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps({str(n): row for n, row in enumerate(rows)}, indent=1), encoding="utf-8")


def _csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        dialect = "excel-tab" if path.suffix == ".tsv" else "excel"
        writer = csv.DictWriter(file, list(rows[0]), dialect=dialect)
        writer.writeheader()
        writer.writerows(rows)


def _parquet(path: Path, rows: Rows) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def _plain_parquet(path: Path, rows: Rows) -> None:
    table = pyarrow.Table.from_pylist(list(rows))
    options: dict[str, Any] = {"use_dictionary": False, "compression": "none", "data_page_version": "2.0"}
    parquet.write_table(table, path, row_group_size=2, data_page_size=16, **options)


# By the name of the file to write.
WRITERS: Final[dict[str, Callable[[Path, Rows], None]]] = {
    "a.jsonl": _json_lines,
    "b.jsonl": _plain_json_lines,
    "c.jsonl.gz": _packed_json_lines,
    "a.json": _array,
    "b.json.gz": _indented_array,
    "c.json": _keyed,
    "a.csv": _csv,
    "a.tsv": _csv,
    "a.parquet": _parquet,
    "b.parquet": _plain_parquet,
}


def rows_of(source: Path | io.BufferedReader, **options: Any) -> list[Row]:
    return list(read_rows(source, error=BenchmarkError, **options))


def rows_in(tmp_path: Path, content: bytes | str, name: str = "rows.jsonl", **options: Any) -> list[Row]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return rows_of(path, **options)


def refusal(source: Path | io.BufferedReader, **options: Any) -> SafemtError:
    with pytest.raises(BenchmarkError) as caught:
        rows_of(source, **options)
    return caught.value


def refusal_in(tmp_path: Path, content: bytes, name: str = "rows.jsonl", **options: Any) -> SafemtError:
    (tmp_path / name).write_bytes(content)
    error = refusal(tmp_path / name, **options)
    assert error.fields["path"] == str(tmp_path / name)
    assert str(error).startswith(f"{tmp_path / name} ")
    return error


# The same rows from every form.

texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
names = st.sampled_from(["id", "text", "label", "größe"])
tables = st.lists(names, min_size=1, unique=True).flatmap(
    lambda columns: st.lists(st.fixed_dictionaries(dict.fromkeys(columns, texts)), min_size=1, max_size=6)
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(rows=tables)
def test_every_form_gives_the_same_rows(rows: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            write(Path(folder) / name, rows)
            read = rows_of(Path(folder) / name)
            assert [row.fields for row in read] == rows, name
            assert {row.problem for row in read} == {""}


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.dictionaries(texts, values, max_size=4), min_size=1, max_size=4))
def test_every_form_of_json_gives_the_same_values(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.jsonl", "b.jsonl", "c.jsonl.gz", "a.json", "b.json.gz", "c.json"):
            WRITERS[name](Path(folder) / name, rows)
            assert [row.fields for row in rows_of(Path(folder) / name)] == rows, name
            with (Path(folder) / name).open("rb") as stream:
                if name != "c.json":
                    assert [row.fields for row in rows_of(stream)] == rows, name


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=80) | st.lists(values, max_size=4).map(lambda some: json.dumps(some).encode()),
    name=st.sampled_from(sorted(WRITERS)),
    packed=st.booleans(),
)
def test_arbitrary_bytes_give_rows_or_one_error(content: bytes, name: str, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(BenchmarkError):
        path = Path(folder) / name
        path.write_bytes(gzip.compress(content) if packed else content)
        for row in rows_of(path):
            assert (row.fields is None) == bool(row.code) == bool(row.problem)


# Where a row is.


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.jsonl", "\n \n{}\n\n{}", [(3, "line 3"), (5, "line 5")]),
        ("a.json", " [{},\n{}]\n", [(1, "record 1"), (2, "record 2")]),
        ("a.csv", 'a,b\n\n"x\ny",1\nz,2\n', [(4, "line 4"), (5, "line 5")]),
        ("a.json", '{\n"x": {}}\n', [(1, "record 1")]),
        ("a.json", '{"x": 1}', [(1, "line 1")]),
    ],
)
def test_a_row_knows_its_place(
    tmp_path: Path, name: str, content: str, places: list[tuple[int, str]]
) -> None:
    assert [(row.number, row.place) for row in rows_in(tmp_path, content, name)] == places


def test_an_object_of_objects_is_rows_by_key_only_in_a_json_file(tmp_path: Path) -> None:
    content = '{"a": {"x": 1}, "b": {"x": 2}}\n\n'
    found = rows_in(tmp_path, content, "rows.json")
    assert [(row.key, row.fields) for row in found] == [("a", {"x": 1}), ("b", {"x": 2})]
    assert [row.fields for row in rows_in(tmp_path, content)] == [json.loads(content)]
    assert [row.fields for row in rows_in(tmp_path, content * 2, "rows.json")] == [json.loads(content)] * 2


@pytest.mark.parametrize("name", ["request.json", "request.jsonl"])
def test_one_object_over_many_lines_is_one_row(tmp_path: Path, name: str) -> None:
    request = {"messages": [{"role": "user", "content": "hello"}], "options": {}}
    assert [row.fields for row in rows_in(tmp_path, json.dumps(request, indent=2), name)] == [request]


def test_a_pipe_gives_each_row_as_it_comes() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        rows = read_rows(stream, error=BenchmarkError)
        pipe.write(b'{"n": 1}\n')
        assert next(rows).fields == {"n": 1}
        pipe.write(b'{"n": 2}\n')
        assert next(rows).fields == {"n": 2}


def test_an_array_in_a_pipe_gives_each_record_as_it_comes() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        rows = read_rows(stream, error=BenchmarkError)
        pipe.write(b'[{"n": 1}, {"n": ')
        assert next(rows).fields == {"n": 1}
        pipe.write(b"2}]")
        assert next(rows).fields == {"n": 2}


# Rows that are broken.


@pytest.mark.parametrize(
    ("line", "code", "where"),
    [
        (b'{"a": ', "not_json", "at column 6"),
        (b'{"a" 1}', "not_json", "at column 6"),
        (b'{"a": NaN}', "not_json", "at column 7"),
        (b'{"a": "\\ud800"}', "not_json", "column"),
        (b'{"a": "\xc3\xa9\xff"}', "not_utf8", "at column 9"),
        (b"\0", "not_json", "at column 1"),
        (b"[1]", "not_an_object", ""),
        (b"7", "not_an_object", ""),
        (b"null", "not_an_object", ""),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "too_deep", "100 levels"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json", ""),
        (b'{"a": "' + b"x" * 2000 + b'"}', "too_long", ""),
    ],
)
def test_a_broken_line_says_what_is_wrong_and_the_next_ones_are_read(
    tmp_path: Path, line: bytes, code: str, where: str
) -> None:
    limits = Limits(row=12_000 if code == "not_json" else 1000)
    content = b'{"n": 1}\n' + line + b'\n{"n": 2}\n'
    for name, packed in (("a.jsonl", content), ("a.jsonl.gz", gzip.compress(content))):
        first, broken, last = rows_in(tmp_path, packed, name, limits=limits)
        assert (first.fields, last.fields) == ({"n": 1}, {"n": 2})
        assert (broken.code, broken.place, broken.fields) == (code, "line 2", None)
        assert where in broken.problem


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b"[1]", "not_an_object"),
        (b'"{"', "not_an_object"),
        (b'{"a": "\\ud800"}', "not_json"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "too_deep"),
        (b'{"a": "' + b"x" * 2000 + b'"}', "too_long"),
        (b'{"a": NaN}', "not_json"),
    ],
)
def test_a_broken_record_with_an_end_does_not_keep_the_next_ones_back(
    tmp_path: Path, record: bytes, code: str
) -> None:
    content = b'[{"n": 1},\n' + record + b', {"n": 2}]'
    for name, packed in (("a.json", content), ("a.json.gz", gzip.compress(content))):
        first, broken, last = rows_in(tmp_path, packed, name, limits=Limits(row=1000))
        assert (first.fields, broken.code, last.fields) == ({"n": 1}, code, {"n": 2})


def test_an_array_that_is_not_utf_8_has_a_broken_record(tmp_path: Path) -> None:
    content = b'[{"n": 1}, {"a": "\xff"}, {"n": 2}]'
    whole = rows_in(tmp_path, content, "a.json")
    assert [row.code for row in whole] == ["", "not_utf8", ""]
    in_steps = rows_in(tmp_path, gzip.compress(content), "a.json.gz")
    assert [row.code for row in in_steps] == ["", "broken_array"]


@pytest.mark.parametrize(
    ("rest", "line"),
    [
        (b"{'a': 1}, {}]", 2),
        (b"\n{]", 3),
        (b"{} {}]", 2),
        (b"{}", 2),
        (b"{},]", 2),
        (b"{}]\n\n[{}]", 4),
        (b"[" * 100_000, 2),
        (b'{"a": "' + b"x" * 200_000 + b'"}]', 2),
    ],
)
def test_behind_a_record_without_an_end_nothing_is_read(tmp_path: Path, rest: bytes, line: int) -> None:
    first, *_, broken = rows_in(tmp_path, b'[{"n": 1},\n' + rest, limits=Limits(row=1000))
    assert first.fields == {"n": 1}
    assert broken.code == "broken_array"
    assert broken.fields is None
    assert f"at line {line} " in broken.problem or "longer than" in broken.problem


def test_half_a_surrogate_pair_passes_where_that_is_wanted(tmp_path: Path) -> None:
    for content in (b'{"a": "\\ud800"}', b'[{"a": "\\ud800"}]', b'{"a": "\\ud83e\\udd9c"}'):
        [row] = rows_in(tmp_path, content, lone_surrogates=True)
        assert row.fields == {"a": "🦜" if b"udd9c" in content else "\ud800"}
    [row] = rows_in(tmp_path, b'[{"a": "\\ud83e\\udd9c"}]')
    assert row.fields == {"a": "🦜"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_an_integer_of_many_digits_is_read_as_a_float(tmp_path: Path, name: str) -> None:
    text = f'{{"a": {10**30}, "b": {2**64 - 1}, "c": {-(2**63)}, "d": {2**64}}}'
    [row] = rows_in(tmp_path, f"[{text}]" if name == "a.json" else text, name)
    assert row.fields == {"a": 1e30, "b": 2**64 - 1, "c": -(2**63), "d": 2.0**64}
    assert [type(value) for value in row.fields.values()] == [float, int, int, float]


@pytest.mark.parametrize("number", ["9" * 400, "1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_that_is_not_finite_breaks_its_row(tmp_path: Path, number: str) -> None:
    [line] = rows_in(tmp_path, f'{{"a": {number}}}')
    [record] = rows_in(tmp_path, f'[{{"a": {number}}}]')
    assert (line.code, record.code) == ("not_json", "not_json")
    assert rows_in(tmp_path, f'[{{"a": {number}}}, {{}}]')[1].fields == {}


def test_a_strict_reader_stops_at_the_first_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"n": 1}\n{broken\n')
    rows = require_rows(path, error=LabelsError)
    assert next(rows) == ({"n": 1}, f"{path}, line 1")
    with pytest.raises(LabelsError) as caught:
        next(rows)
    assert caught.value.code == "not_json"
    assert caught.value.fields == {"path": path, "place": "line 2"}
    assert str(caught.value).startswith(f"{path}, line 2: it is not valid JSON: ")


# Sources that cannot be read.


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xef\xbb\xbf", b"[ ]"])
def test_a_source_without_a_row_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    packed = gzip.compress(content) if name.endswith(".gz") else content
    assert refusal_in(tmp_path, packed, name).code == "no_rows"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    content = '\ufeff{"a": 1}'.encode(encoding)
    for name, packed in (("a.jsonl", content), ("a.csv", content), ("a.jsonl.gz", gzip.compress(content))):
        error = refusal_in(tmp_path, packed, name)
        assert error.code == "utf16"
        assert "UTF-16" in str(error)


@pytest.mark.parametrize("name", ["absent", "a\0b", "x" * 300, "folder"])
def test_what_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    error = refusal(tmp_path / name)
    assert (error.code, error.fields["path"]) == ("unreadable_file", str(tmp_path / name))


def test_a_device_is_refused() -> None:
    assert refusal(Path("/dev/zero")).code == "not_a_file"


@pytest.mark.parametrize("cut", [11, 40, -4])
def test_a_truncated_gzip_file_says_how_far_it_was_read(tmp_path: Path, cut: int) -> None:
    lines = b"".join(b'{"n": %d, "x": "%x"}\n' % (n, n * 7**40) for n in range(20_000))
    error = refusal_in(tmp_path, gzip.compress(lines)[:cut], "a.jsonl.gz")
    assert error.code == "unreadable_file"
    assert cut != -4 or "after line 20000" in str(error)


@pytest.mark.parametrize("damage", [b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff", b"\x1f\x8b\x07"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    assert refusal_in(tmp_path, damage, "a.jsonl.gz").code == "unreadable_file"


def test_a_gzip_name_without_gzip_content_is_refused(tmp_path: Path) -> None:
    assert refusal_in(tmp_path, b'{"a": 1}', "a.jsonl.gz").code == "not_gzip"


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"a,b\n1,2\n\xff,3\n", "not_utf8", 3),
        (b'a,b\n1,"2\n' + b"x" * 2000 + b'"\n', "too_large", 3),
        (b'a,b\n1,"' + b"x\n" * 2000 + b'"\n', "not_csv", 0),
        (b"a\rb\n", "not_csv", 1),
    ],
)
def test_a_csv_file_that_cannot_be_read_on_says_where(
    tmp_path: Path, content: bytes, code: str, line: int
) -> None:
    before = csv.field_size_limit()
    error = refusal_in(tmp_path, content, "a.csv", limits=Limits(row=1000))
    assert error.code == code
    assert f"line {line}" in str(error) or not line
    assert csv.field_size_limit() == before


def test_columns_of_csv_are_in_lower_case_and_short_rows_are_filled_up(tmp_path: Path) -> None:
    [row] = rows_in(tmp_path, "\ufeff Query ,Label,,Source\nx,y,z\n", "a.csv")
    assert row.fields == {"query": "x", "label": "y", "source": ""}
    assert column_names(tmp_path / "a.csv", error=BenchmarkError) == ("query", "label", "", "source")


def test_the_columns_of_parquet_are_named(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"A": ["x"], "b": [1]}), tmp_path / "a.parquet")
    assert column_names(tmp_path / "a.parquet", error=BenchmarkError) == ("A", "b")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(BenchmarkError) as caught:
        column_names(tmp_path / "b.parquet", error=BenchmarkError)
    assert caught.value.code == "not_parquet"


# Limits.


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.json", "a.parquet"])
def test_too_many_rows_are_refused(tmp_path: Path, name: str) -> None:
    write = WRITERS.get(name, WRITERS["c.jsonl.gz"])
    write(tmp_path / name, [{"a": "x"}] * 11)
    assert refusal(tmp_path / name, limits=Limits(rows=10)).code == "too_many_rows"
    assert len(rows_of(tmp_path / name, limits=Limits(rows=11))) == 11


def test_a_file_is_held_to_its_size_packed_or_not(tmp_path: Path) -> None:
    content = b'{"a": 1}\n' + b" " * 2**20
    limits = Limits(content=2**20, row=2**21)
    assert refusal_in(tmp_path, content, "a.jsonl", limits=limits).code == "too_large"
    assert refusal_in(tmp_path, gzip.compress(content), "a.jsonl.gz", limits=limits).code == "too_large"
    assert len(rows_in(tmp_path, gzip.compress(content[: 2**20]), "a.jsonl.gz", limits=limits)) == 1


def test_a_line_that_would_fill_the_memory_is_one_broken_row(tmp_path: Path) -> None:
    press = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = b"".join(press.compress(b"x" * 2**20) for _ in range(80)) + press.compress(b'\n{"a": 1}')
    long, good = rows_in(tmp_path, packed + press.flush(), "a.jsonl.gz")
    assert (long.code, good.fields, good.place) == ("too_long", {"a": 1}, "line 2")


@hostile
def test_a_million_rows_in_three_kilobytes_are_streamed() -> None:
    count = 0
    for row in read_rows(HOSTILE / "gz_1M_rows.jsonl.gz", error=BenchmarkError):
        count += row.fields == {}
    assert count == 1_000_000


def test_the_usual_file_of_a_folder_is_the_first_that_is_there(tmp_path: Path) -> None:
    assert usual_file(tmp_path, ("a.jsonl", "b.jsonl")) is None
    (tmp_path / "b.jsonl.gz").touch()
    assert usual_file(tmp_path, ("a.jsonl", "b.jsonl")) == tmp_path / "b.jsonl.gz"
    (tmp_path / "a.jsonl").touch()
    assert usual_file(tmp_path, ("a.jsonl", "b.jsonl")) == tmp_path / "a.jsonl"


def test_parquet_without_its_reader_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = refusal_in(tmp_path, b"PAR1", "a.parquet")
    assert error.code == "needs_pyarrow"
    assert "pip install 'safemt[hub]'" in str(error)
