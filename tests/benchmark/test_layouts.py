"""Which files make a benchmark, and what a file as a whole may be."""

import gzip
import json
import os
import sys
import zlib
from pathlib import Path

import pytest
from pyarrow import parquet

from benchmark.sets import (
    folder_row,
    hub_row,
    lines,
    make_sample,
    make_samples,
    our_row,
    put,
    put_folder,
    put_hub,
    put_images,
    put_ours,
    put_parquet,
)
from safemt.benchmark.layouts import Layout, find_source, parse_dialogue_text, read_records
from safemt.benchmark.read import Benchmark, read_benchmark
from safemt.core.errors import BenchmarkError
from safemt.core.schema import Sample

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def samples() -> list[Sample]:
    return make_samples()


def refusal(path: Path) -> str:
    """What the reader says of a benchmark that it cannot read at all."""
    with pytest.raises(BenchmarkError) as caught:
        read_benchmark(path, text_only=True)
    return str(caught.value)


def content(benchmark: Benchmark) -> set[tuple[object, ...]]:
    return {(s.id, s.scenario, s.question, s.dialogue, s.image and s.image.sha256) for s in benchmark.samples}


def test_every_layout_gives_the_same_samples_and_the_same_hash(tmp_path: Path, samples: list[Sample]) -> None:
    roots = {
        "folder": put_folder(tmp_path / "folder", samples),
        "json": put_hub(tmp_path / "json", samples),
        "literal": put_hub(tmp_path / "literal", samples, literal=True),
        "parquet": put_parquet(tmp_path / "parquet", [hub_row(s, literal=True) for s in samples]),
        "ours": put_ours(tmp_path / "ours", samples),
    }
    read = {}
    for name, root in roots.items():
        put_images(root, samples)
        read[name] = read_benchmark(root)
        assert read[name].findings == ()
    assert {name: benchmark.layout for name, benchmark in read.items()} == {
        "folder": Layout.FOLDER,
        "json": Layout.HUB,
        "literal": Layout.HUB,
        "parquet": Layout.HUB,
        "ours": Layout.JSONL,
    }
    assert all(content(benchmark) == content(read["folder"]) for benchmark in read.values())
    assert {benchmark.sha256 for benchmark in read.values()} == {read["folder"].sha256}
    assert len(read["folder"].samples) == len(samples)


def test_rounds_are_read_in_ascending_order(tmp_path: Path) -> None:
    root = put_folder(tmp_path, make_samples(1, (8, 1, 4, 10, 2)))
    assert [file.name for file in find_source(root).files] == [f"{k}_turn.json" for k in (1, 2, 4, 8, 10)]
    assert read_benchmark(root, text_only=True).rounds == (1, 2, 4, 8, 10)


@pytest.mark.parametrize("inner", ["Data", "data"])
def test_the_published_files_may_lie_in_a_data_folder(
    tmp_path: Path, inner: str, samples: list[Sample]
) -> None:
    put_folder(tmp_path / inner, samples)
    put_images(tmp_path, samples)
    benchmark = read_benchmark(tmp_path)
    assert benchmark.findings == ()
    assert benchmark.path == tmp_path


@pytest.mark.parametrize(
    "name", ["1_turn.parquet", "1_turn-00000-of-00001.parquet", "1_turn/train-00000-of-00001.parquet"]
)
def test_parquet_files_may_have_the_names_the_hub_gives_them(tmp_path: Path, name: str) -> None:
    put_parquet(tmp_path, [hub_row(make_sample())], name)
    assert [s.id for s in read_benchmark(tmp_path, text_only=True).samples] == ["mllm_fraud_1@1"]


def test_parquet_dialogues_may_be_lists_and_other_columns_are_left_alone(tmp_path: Path) -> None:
    sample = make_sample(turns=2)
    row = folder_row(sample) | {"image": {"bytes": b"\xff\xfe", "path": "x"}, "extra": 1}
    put_parquet(tmp_path, [row, row | {"id": "mllm_fraud_2", "image_path": "images/fraud_2.png"}])
    read = read_benchmark(tmp_path, text_only=True)
    assert read.samples[0].dialogue == sample.dialogue
    assert [s.query_id for s in read.samples] == ["mllm_fraud_1", "mllm_fraud_2"]


def test_a_single_file_is_a_benchmark(tmp_path: Path, samples: list[Sample]) -> None:
    put_folder(tmp_path / "folder", samples)
    put_hub(tmp_path / "hub", samples)
    put_ours(tmp_path / "ours", samples)
    put_parquet(tmp_path / "parquet", [hub_row(s) for s in samples])
    for file, layout in (
        ("folder/4_turn.json", Layout.FOLDER),
        ("hub/data/4_turn.jsonl", Layout.HUB),
        ("ours/samples.jsonl", Layout.JSONL),
        ("parquet/data/train.parquet", Layout.HUB),
    ):
        benchmark = read_benchmark(tmp_path / file, text_only=True)
        assert (benchmark.layout, benchmark.path) == (layout, (tmp_path / file).parent)
        assert len(benchmark.samples) == (3 if "4_turn" in file else 9)


@pytest.mark.parametrize("name", ["samples.jsonl.gz", "some.jsonl.gz"])
def test_jsonl_may_be_gzipped(tmp_path: Path, name: str, samples: list[Sample]) -> None:
    put(tmp_path / name, gzip.compress(lines(our_row(s) for s in samples).encode()))
    alone = read_benchmark(tmp_path / name, text_only=True)
    assert (alone.layout, len(alone.samples)) == (Layout.JSONL, 9)
    if name.startswith("samples"):
        assert read_benchmark(tmp_path, text_only=True).sha256 == alone.sha256


def test_a_broken_first_line_does_not_hide_the_layout(tmp_path: Path) -> None:
    put(tmp_path / "mine.jsonl", "{broken\n" + lines([our_row(make_sample())]))
    benchmark = read_benchmark(tmp_path / "mine.jsonl", text_only=True)
    assert [s.id for s in benchmark.samples] == ["mllm_fraud_1@1"]
    (finding,) = benchmark.findings
    assert (finding.code, finding.place) == ("broken_record", "mine.jsonl, record 0")
    assert finding.message.startswith("the line is not valid JSON: ")
    assert finding.message.endswith(" at column 2; mend or remove it")


def test_byte_order_marks_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    bom = "\ufeff"
    put(tmp_path / "a/1_turn.json", bom + json.dumps([folder_row(make_sample())], indent=1))
    put(tmp_path / "b/samples.jsonl", bom + lines([our_row(make_sample())]).replace("\n", "\r\n\r\n"))
    put(tmp_path / "b/benchmark.json", bom + '{"format": "safemt/1", "name": "boats"}')
    read = [read_benchmark(tmp_path / name, text_only=True) for name in "ab"]
    assert read[0].sha256 == read[1].sha256
    assert [benchmark.findings for benchmark in read] == [(), ()]
    assert read[1].name == "boats"


def test_blank_lines_keep_the_line_numbers_right(tmp_path: Path) -> None:
    put(tmp_path / "samples.jsonl", "\n\n" + lines([our_row(make_sample())]) + "\n[1]\n")
    source = find_source(tmp_path)
    assert [(raw.index, raw.fields is None) for raw in read_records(source)] == [(2, False), (4, True)]


@pytest.mark.parametrize("name", ["samples.jsonl", "1_turn.json", "data/x.jsonl", "benchmark.json"])
def test_files_that_are_links_out_of_the_benchmark_are_refused(tmp_path: Path, name: str) -> None:
    put_ours(tmp_path / "set", make_samples(2))
    if name != "benchmark.json":
        (tmp_path / "set/samples.jsonl").unlink()
    put(tmp_path / "other/file", (put_ours(tmp_path / "x", make_samples(2)) / "samples.jsonl").read_text())
    (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / name).symlink_to(tmp_path / "other/file")
    with pytest.raises(BenchmarkError, match="is a link out of the benchmark"):
        read_benchmark(tmp_path / "set")


def test_a_file_that_is_named_itself_may_be_a_link(tmp_path: Path) -> None:
    folder = put_ours(tmp_path / "set", make_samples(2))
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine.jsonl").symlink_to(folder / "samples.jsonl")
    named, whole = (read_benchmark(path, text_only=True) for path in (tmp_path / "here/mine.jsonl", folder))
    assert named.samples == whole.samples


def test_hidden_folders_are_not_searched(tmp_path: Path) -> None:
    put(tmp_path / ".cache/old.jsonl", lines([hub_row(make_sample())]))
    assert "holds no benchmark" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[{"id": "a"},\n {"id" "b"}]', "line 2, column 8"),
        ('[{"id": "a"}', "line 1, column 13"),
        ("[" * 5000, "depth limit exceeded"),
        ('["\\ud800"]', "surrogate"),
        ("[NaN]", "line 1, column 2"),
        (b'[{"id": "a"},\n {"id": "\xc3\xa9\xff"}]', "it is not UTF-8 text at line 2, column 11"),
        ('[{"id": "a"}]'.encode("utf-16"), "it is not UTF-8 text at line 1, column 1"),
    ],
)
def test_broken_json_is_refused_with_its_place(tmp_path: Path, text: str | bytes, where: str) -> None:
    message = refusal(put(tmp_path / "1_turn.json", text).parent)
    assert "1_turn.json is not valid JSON" in message
    assert where in message
    assert message.endswith("Mend the file or fetch it again.")


@pytest.mark.parametrize("text", ["", " \n", "[]", "\ufeff"])
def test_a_file_without_a_record_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(put(tmp_path / "1_turn.json", text)).endswith(
        "1_turn.json is empty: there is no record in it. Fetch it again, or remove it."
    )


@pytest.mark.parametrize("name", ["samples.jsonl", "samples.jsonl.gz", "x.jsonl"])
def test_a_jsonl_file_without_a_line_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, gzip.compress(b"\n") if name.endswith("gz") else "\n \n")
    assert "is empty: there is no record in it" in refusal(tmp_path / name)
    assert "is empty: there is no record in it" in refusal(tmp_path)


def test_a_parquet_file_without_a_row_is_refused(tmp_path: Path) -> None:
    row = hub_row(make_sample())
    put_parquet(tmp_path, [row])
    file = tmp_path / "data/train.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, 0), file)
    assert "is empty" in refusal(tmp_path)


@pytest.mark.parametrize("text", ['{"id": "a"}', '"a"', "7", "null", "true"])
def test_json_that_is_no_array_is_refused(tmp_path: Path, text: str) -> None:
    message = refusal(put(tmp_path / "1_turn.json", text))
    assert "1_turn.json is not a JSON array of records" in message
    assert "name it .jsonl" in message


def test_a_folder_without_a_benchmark_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "notes.txt", "nothing")
    put(tmp_path / "turn.json", "[]")
    put(tmp_path / "0_turn.json", "[]")
    assert refusal(tmp_path) == (
        f"{tmp_path} holds no benchmark: expected samples.jsonl, the published 1_turn.json, 2_turn.json, …, "
        "or parquet or JSONL files as on the hub. Give the folder that holds them."
    )


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "x" * 5000, "a\0b"])
def test_a_path_where_nothing_is_is_refused(tmp_path: Path, name: str) -> None:
    assert any(text in refusal(tmp_path / name) for text in ("There is no benchmark at", "cannot be read"))


@pytest.mark.parametrize("name", ["notes.txt", "run.sqlite", "samples.json.gz", "no_suffix"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    assert "expected .json, .jsonl, .jsonl.gz or .parquet" in refusal(put(tmp_path / name, "[]"))


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_turn.json").mkdir()
    assert "1_turn.json cannot be read: Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("cut", [5, 40, -4])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(lines(our_row(s) for s in make_samples(30)).encode())
    message = refusal(put(tmp_path / "samples.jsonl.gz", packed[:cut]))
    assert "samples.jsonl.gz cannot be read after line" in message
    assert message.endswith("Fetch it again.")


@pytest.mark.parametrize(
    "damage", [b"no gzip at all", b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff", b"\x1f\x8b\x07"]
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    assert "samples.jsonl.gz cannot be read after line 0" in refusal(
        put(tmp_path / "samples.jsonl.gz", damage)
    )


def test_a_line_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    press = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = b"".join(press.compress(b" " * 2**20) for _ in range(20)) + press.flush()
    message = refusal(put(tmp_path / "samples.jsonl.gz", packed))
    assert "line 1 has more than 16 MB" in message


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"[]"])
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    message = refusal(put(tmp_path / "train.parquet", damage))
    assert "train.parquet is not a readable parquet file" in message
    assert message.endswith("Fetch it again.")


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    put_parquet(tmp_path, [{"x": 1, "y": "z"}])
    assert "has no column of a benchmark" in refusal(tmp_path)


def test_parquet_without_its_reader_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_parquet(tmp_path, [hub_row(make_sample())])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(tmp_path).endswith("needs a parquet reader: pip install 'safemt[hub]'.")


@pytest.mark.skipif(AS_ROOT, reason="nothing is forbidden to root")
@pytest.mark.parametrize("barred", ["", "1_turn.json", "samples.jsonl"])
def test_what_may_not_be_read_is_refused(tmp_path: Path, barred: str) -> None:
    write = put_ours if "samples" in barred else put_folder
    root = write(tmp_path / "set", [make_sample()])
    (root / barred).chmod(0)
    try:
        assert "Permission denied" in refusal(root)
        assert "Permission denied" in refusal(root / (barred or "1_turn.json"))
    finally:
        (root / barred).chmod(0o700)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "format 'safemt/1'"),
        ('{"format": "safemt/9"}', "format 'safemt/1'"),
        ('{"name": 7}', "`name`"),
        ("", "is empty"),
    ],
)
def test_a_benchmark_json_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, says: str) -> None:
    put_ours(tmp_path, [make_sample()])
    message = refusal(put(tmp_path / "benchmark.json", text).parent)
    assert "benchmark.json" in message
    assert says in message


def test_a_benchmark_is_called_what_it_says_or_what_its_folder_says(tmp_path: Path) -> None:
    root = put_ours(tmp_path / "boats", [make_sample()])
    assert read_benchmark(root, text_only=True).name == "boats"
    assert read_benchmark(root, text_only=True, name="a/b").name == "a/b"
    put(root / "benchmark.json", '{"format": "safemt/1", "name": "fleet\\u001b[31m\\u0000"}')
    assert read_benchmark(root, text_only=True, name="a/b").name == "fleet\ufffd[31m\ufffd"


def test_file_names_that_are_no_text_can_be_shown(tmp_path: Path) -> None:
    name = os.fsdecode(b"x\xff\x1b.jsonl")
    try:
        put(tmp_path / name, "7\n")
    except OSError:
        pytest.skip("this file system takes no such name")
    (finding,) = read_benchmark(tmp_path, text_only=True).findings
    assert finding.file == "x\ufffd\ufffd.jsonl"


@pytest.mark.parametrize(
    "text",
    ['[{"role": "user", "content": "a \\"b\\""}]', "[{'role': 'user', 'content': 'a \"b\"'}]", "\n [1, ]\n"],
)
def test_a_dialogue_string_may_be_json_or_python(text: str) -> None:
    expected = [1] if "1" in text else [{"role": "user", "content": 'a "b"'}]
    assert parse_dialogue_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "__import__('os').getcwd()",
        "[x for x in ()]",
        "{[]: 1}",
        "9" * 400 + "+1j",
        "a\0b",
        "(" * 10_000,
        "[" * 5_000 + "]" * 5_000,
        "-" * 100_000 + "1",
        "1+" * 90_000 + "1",
        "'a'" + ".a" * 90_000,
        "not " * 40_000 + "1",
        "'\\ud800",
    ],
)
def test_a_string_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither JSON nor a Python literal; fetch the record again"):
        parse_dialogue_text(text)


def test_a_dialogue_string_of_a_megabyte_is_refused_unparsed() -> None:
    text = json.dumps([{"role": "user", "content": "a" * 1_000_000}])
    with pytest.raises(ValueError, match=r"1,000,\d+ characters, more than 200,000; shorten it"):
        parse_dialogue_text(text)


def test_stray_backslashes_in_a_literal_are_nobodys_business() -> None:
    assert parse_dialogue_text("['a \\d b']") == ["a \\d b"]
