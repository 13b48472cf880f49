"""Recorded responses and labels: any of their shapes, and where exactly one is wrong."""

import gzip
import hashlib
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.sets import lines, put
from safemt.benchmark.recorded import (
    RecordedValue,
    read_by_sample,
    read_published_labels,
    read_recorded,
)
from safemt.core.errors import LabelsError

ROW = {"query_id": "boat", "turns": 2, "response": "Fold it in half."}
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user"}]


def refusal(path: Path, field: str = "response") -> LabelsError:
    with pytest.raises(LabelsError) as caught:
        read_recorded(path, field=field)
    return caught.value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines([ROW]).encode()),
        ("a.json", json.dumps([ROW]).encode()),
        ("a.txt", json.dumps([ROW], indent=2).encode()),
        ("a.jsonl", b"\xef\xbb\xbf" + lines([ROW]).replace("\n", "\r\n\r\n").encode()),
        ("a.json", b"\xef\xbb\xbf \n" + json.dumps([ROW]).encode()),
        ("a.jsonl.gz", gzip.compress(lines([ROW]).encode(), mtime=0)),
        ("a.json.gz", gzip.compress(json.dumps([ROW]).encode(), mtime=0)),
        ("a.jsonl", lines([{**ROW, "query_id": None} | {"query_id": "boat", "id": "other"}]).encode()),
        ("a.jsonl", lines([{"id": "boat", "turns": TALK, "response": ROW["response"]}]).encode()),
        ("a.json", json.dumps(ROW, indent=2).encode()),
        ("a.csv", b"Query_ID,turns,response\nboat,2,Fold it in half.\n"),
        ("a.tsv", b"id\tturns\tresponse\nboat\t2\tFold it in half.\n"),
    ],
)
def test_every_shape_gives_the_same(tmp_path: Path, name: str, content: bytes) -> None:
    read = read_recorded(put(tmp_path / name, content), field="response")
    assert read == [RecordedValue("boat", 2, "Fold it in half.")]


def test_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    texts = ["", " \n", "a\u2028b\x85c", "<image>", "🦜\0", "[1]"]
    path = put(tmp_path / "a.jsonl", lines({**ROW, "response": text} for text in texts))
    assert [row.value for row in read_recorded(path, field="response")] == texts


def test_a_response_of_null_is_empty(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", lines([{**ROW, "response": None}]))
    assert read_recorded(path, field="response") == [RecordedValue("boat", 2, "")]


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        (7, "not_an_object", None),
        ([], "not_an_object", None),
        ({}, "missing_field", "query_id"),
        ({**ROW, "query_id": 7}, "missing_field", "query_id"),
        ({**ROW, "query_id": ""}, "missing_field", "query_id"),
        ({**ROW, "turns": None}, "missing_field", "turns"),
        ({**ROW, "turns": "two"}, "missing_field", "turns"),
        ({**ROW, "turns": "-2"}, "missing_field", "turns"),
        ({**ROW, "turns": "9" * 5000}, "missing_field", "turns"),
        ({**ROW, "turns": True}, "missing_field", "turns"),
        ({**ROW, "turns": 0}, "missing_field", "turns"),
        ({**ROW, "turns": 2.0}, "missing_field", "turns"),
        ({**ROW, "turns": []}, "missing_field", "turns"),
        ({**ROW, "turns": [7, {"role": []}]}, "missing_field", "turns"),
        ({"id": "boat", "turns": 1}, "missing_field", "response"),
        ({**ROW, "response": 7}, "missing_field", "response"),
        ({**ROW, "response": ["a"]}, "missing_field", "response"),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(
    tmp_path: Path, row: Any, code: str, field: str | None
) -> None:
    for path, place in (
        (put(tmp_path / "a.jsonl", "\n" + lines([ROW, row])), "line 3"),
        (put(tmp_path / "a.json", json.dumps([ROW, row])), "record 2"),
    ):
        error = refusal(path)
        assert (error.code, error.fields.get("field")) == (code, field)
        assert str(error).startswith(f"{path}, {place}")


@pytest.mark.parametrize(
    ("content", "code", "where"),
    [
        (lines([ROW]) + '\n{"id": }\n', "not_json", "line 3: it is not valid JSON"),
        (json.dumps([ROW])[:-1] + ",\n{},\n{]", "missing_field", "record 2"),
        (json.dumps([ROW])[:-1] + ",\n{]", "broken_array", "record 2: the array is broken at line 2"),
        ("[" * 5000, "broken_array", "at line 1"),
        (lines([ROW]) + '{"id": "\\ud800"}', "not_json", "line 2"),
        ("query_id,turns\nboat,2", "not_json", "line 1: it is not valid JSON"),
    ],
)
def test_broken_json_is_refused_with_its_place(tmp_path: Path, content: str, code: str, where: str) -> None:
    error = refusal(put(tmp_path / "a.jsonl", content))
    assert error.code == code
    assert where in str(error)


@pytest.mark.parametrize("content", ["", "\n \n", "[]", " [ ]\n", "\ufeff"])
def test_a_file_without_a_row_is_refused(tmp_path: Path, content: str) -> None:
    assert refusal(put(tmp_path / "a.json", content)).code == "no_rows"


@pytest.mark.parametrize("cut", [3, 30, -4])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(lines([ROW] * 50).encode())
    assert refusal(put(tmp_path / "a.jsonl.gz", packed[:cut])).code == "unreadable_file"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"plain", "not_gzip"), (b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff", "unreadable_file")],
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    assert refusal(put(tmp_path / "a.jsonl.gz", content)).code == code


@pytest.mark.parametrize("name", [".", "nowhere.jsonl", "nowhere.gz"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name).code == "unreadable_file"


def test_values_come_by_sample_with_the_hash_of_the_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", lines([ROW, ROW, {**ROW, "turns": 1, "response": "Open it."}]))
    values, sha256 = read_by_sample(path, field="response")
    assert values == {("boat", 2): "Fold it in half.", ("boat", 1): "Open it."}
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_different_values_of_one_sample_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", lines([ROW, {**ROW, "response": "Open it."}]))
    with pytest.raises(LabelsError) as caught:
        read_by_sample(path, field="response")
    assert caught.value.code == "two_values"
    assert (caught.value.fields["query_id"], caught.value.fields["turns"]) == ("boat", 2)


def test_published_labels_come_by_model_with_the_rounds_in_order(tmp_path: Path) -> None:
    for turns, model, label in [("10", "m", "safe"), ("2", "m", "unsafe"), ("1", "n", "odd"), ("1", "m", "")]:
        put(tmp_path / turns / "label" / f"{model}.json", json.dumps([{"id": "boat", "safety_label": label}]))
    put(tmp_path / "notes/label/m.json", "no labels")
    put(tmp_path / "²/label/m.json", "no labels")
    put(tmp_path / "1/other/m.json", "no labels")
    labels = read_published_labels(tmp_path)
    assert {model: [(v.turns, v.value) for v in values] for model, values in labels.items()} == {
        "m": [(1, ""), (2, "unsafe"), (10, "safe")],
        "n": [(1, "odd")],
    }


@pytest.mark.parametrize("name", [".", "nowhere", "1", "1/label/m.json"])
def test_a_folder_without_labels_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "1/label/m.json", "[{}]")
    folder = tmp_path / name
    if name == ".":
        folder = tmp_path / "empty"
        folder.mkdir()
    with pytest.raises(LabelsError) as caught:
        read_published_labels(folder)
    assert (caught.value.code, caught.value.fields) == ("no_labels", {"path": folder})


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('[{"id": "boat"}]', "missing_field"),
        ('[{"safety_label": "safe"}]', "missing_field"),
        ('[{"id": "boat", "safety_label": 1}]', "missing_field"),
        ("{", "not_json"),
    ],
)
def test_a_wrong_label_file_is_refused_with_its_place(tmp_path: Path, content: str, code: str) -> None:
    path = put(tmp_path / "4/label/m.json", content)
    with pytest.raises(LabelsError) as caught:
        read_published_labels(tmp_path)
    assert caught.value.code == code
    assert str(caught.value).startswith(str(path))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
rows = values | st.fixed_dictionaries(
    {"id": st.just("boat") | values, "turns": st.integers(0, 3) | values, "response": st.text() | values}
)


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=80)
    | st.lists(rows, max_size=4).map(lambda some: json.dumps(some).encode())
    | st.lists(rows, max_size=4).map(lambda some: "\n".join(map(json.dumps, some)).encode()),
    name=st.sampled_from(["a.json", "a.jsonl.gz"]),
    packed=st.booleans(),
)
def test_arbitrary_files_give_rows_or_an_error(content: bytes, name: str, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder) / name, gzip.compress(content) if packed else content)
        with suppress(LabelsError):
            read = read_recorded(path, field="response")
            assert read
            assert all(row.query_id and row.turns >= 1 for row in read)
