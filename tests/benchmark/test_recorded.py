"""Recorded responses and labels: any of their shapes, and where exactly one is wrong."""

import gzip
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.sets import lines, put
from safemt.benchmark.recorded import RecordedValue, read_published_labels, read_recorded
from safemt.core.errors import LabelsError

ROW = {"query_id": "boat", "turns": 2, "response": "Fold it in half."}
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user"}]


def refusal(path: Path, field: str = "response") -> str:
    with pytest.raises(LabelsError) as caught:
        read_recorded(path, field=field)
    return str(caught.value)


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
    ("row", "says"),
    [
        (7, "is not a JSON object. Mend or remove it."),
        ([], "is not a JSON object. Mend or remove it."),
        ({}, "has no text `id` or `query_id`. Add it."),
        ({**ROW, "query_id": 7}, "has no text `id` or `query_id`. Add it."),
        ({**ROW, "query_id": ""}, "has no text `id` or `query_id`. Add it."),
        ({**ROW, "turns": None}, "has no `turns`. Add the number of user turns, or the list of messages."),
        ({**ROW, "turns": "2"}, "has no `turns`."),
        ({**ROW, "turns": True}, "has no `turns`."),
        ({**ROW, "turns": 0}, "has no `turns`."),
        ({**ROW, "turns": 2.0}, "has no `turns`."),
        ({**ROW, "turns": []}, "has no `turns`."),
        ({**ROW, "turns": [7, {"role": []}]}, "has no `turns`."),
        ({"id": "boat", "turns": 1}, "has no text `response`. Add it."),
        ({**ROW, "response": 7}, "has no text `response`. Add it."),
        ({**ROW, "response": ["a"]}, "has no text `response`. Add it."),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(tmp_path: Path, row: Any, says: str) -> None:
    path = put(tmp_path / "a.jsonl", "\n" + lines([ROW, row]))
    assert f"{path}, line 3 {says}" in refusal(path)
    path = put(tmp_path / "a.json", json.dumps([ROW, row]))
    assert f"{path}, record 1 {says}" in refusal(path)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (lines([ROW]) + '\n{"id": }\n', "at line 3, column 8"),
        ("[\n{},\n{]", "at line 3, column 2"),
        ('{\n  "id": 7\n}', "at line 1, column 2"),
        ("[" * 5000, "at line 1"),
        (lines([ROW]) + '{"id": "\\ud800"}', "at line 2"),
        ("query_id,turns\nboat,2", "at line 1, column 1"),
    ],
)
def test_broken_json_is_refused_with_its_place(tmp_path: Path, content: str, where: str) -> None:
    message = refusal(put(tmp_path / "a.jsonl", content))
    assert "a.jsonl is neither a JSON array nor JSONL: " in message
    assert where in message
    assert message.endswith("Mend the file or fetch it again.")


@pytest.mark.parametrize("content", ["", "\n \n", "[]", " [ ]\n", "\ufeff"])
def test_a_file_without_a_row_is_refused(tmp_path: Path, content: str) -> None:
    assert "is empty: there is no row in it" in refusal(put(tmp_path / "a.json", content))


@pytest.mark.parametrize("cut", [3, 30, -4])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(lines([ROW] * 50).encode())
    assert "a.jsonl.gz cannot be read: " in refusal(put(tmp_path / "a.jsonl.gz", packed[:cut]))


@pytest.mark.parametrize("content", [b"plain", b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    message = refusal(put(tmp_path / "a.jsonl.gz", content))
    assert "a.jsonl.gz cannot be read: " in message
    assert message.endswith("Fetch it again or make it readable.")


@pytest.mark.parametrize("name", [".", "nowhere.jsonl", "nowhere.gz"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be read: " in refusal(tmp_path / name)


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
    with pytest.raises(LabelsError, match=r"expected run.sqlite, or files <k>/label/<model>.json"):
        read_published_labels(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"id": "boat"}]', "record 0 has no text `safety_label`. Add it."),
        ('[{"safety_label": "safe"}]', "record 0 has no text `id` or `query_id`."),
        ('[{"id": "boat", "safety_label": 1}]', "record 0 has no text `safety_label`."),
        ("{", "is neither a JSON array nor JSONL"),
    ],
)
def test_a_wrong_label_file_is_refused_with_its_place(tmp_path: Path, content: str, says: str) -> None:
    path = put(tmp_path / "4/label/m.json", content)
    with pytest.raises(LabelsError) as caught:
        read_published_labels(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)


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
