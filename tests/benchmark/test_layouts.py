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
from safemt.benchmark.findings import Level
from safemt.benchmark.layouts import Layout, find_source, parse_dialogue_text, read_records
from safemt.benchmark.read import Benchmark, read_benchmark
from safemt.core.errors import BenchmarkError
from safemt.core.schema import Sample

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def samples() -> list[Sample]:
    return make_samples()


def refusal(path: Path) -> BenchmarkError:
    """The error for a benchmark that cannot be read at all."""
    with pytest.raises(BenchmarkError) as caught:
        read_benchmark(path, text_only=True)
    return caught.value


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
    assert (finding.code, finding.place) == ("broken_record", "mine.jsonl, line 1")
    assert finding.message.startswith("it is not valid JSON: ")
    assert finding.message.endswith(" at column 2; fix or remove it")


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
    records = [(record.row.number, record.row.fields is None) for record in read_records(source)]
    assert records == [(3, False), (5, True)]


@pytest.mark.parametrize("name", ["samples.jsonl", "1_turn.json", "data/x.jsonl", "benchmark.json"])
def test_files_that_are_links_out_of_the_benchmark_are_refused(tmp_path: Path, name: str) -> None:
    put_ours(tmp_path / "set", make_samples(2))
    if name != "benchmark.json":
        (tmp_path / "set/samples.jsonl").unlink()
    put(tmp_path / "other/file", (put_ours(tmp_path / "x", make_samples(2)) / "samples.jsonl").read_text())
    (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / name).symlink_to(tmp_path / "other/file")
    assert refusal(tmp_path / "set").code == "link_outside"


def test_a_file_that_is_named_itself_may_be_a_link(tmp_path: Path) -> None:
    folder = put_ours(tmp_path / "set", make_samples(2))
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine.jsonl").symlink_to(folder / "samples.jsonl")
    named, whole = (read_benchmark(path, text_only=True) for path in (tmp_path / "here/mine.jsonl", folder))
    assert named.samples == whole.samples


def test_hidden_folders_are_not_searched(tmp_path: Path) -> None:
    put(tmp_path / ".cache/old.jsonl", lines([hub_row(make_sample())]))
    assert refusal(tmp_path).code == "no_benchmark_files"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[{"id": "a"},\n {"id" "b"}]', "at line 2"),
        ('[{"id": "a"}', "the closing ] is missing"),
        ("[" * 5000, "nested too deeply"),
        ('[{"id": "\\ud800"}]', "not valid JSON"),
        ('[{"id": NaN}]', "not valid JSON"),
        (b'[{"id": "a"},\n {"id": "\xc3\xa9\xff"}]', "it is not UTF-8 text at column"),
    ],
)
def test_broken_json_is_a_finding_with_its_place(tmp_path: Path, text: str | bytes, where: str) -> None:
    benchmark = read_benchmark(put(tmp_path / "1_turn.json", text).parent, text_only=True)
    [finding] = [finding for finding in benchmark.findings if finding.code == "broken_record"]
    assert finding.level is Level.ERROR
    assert where in finding.message


def test_utf_16_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "1_turn.json", '[{"id": "a"}]'.encode("utf-16"))
    assert refusal(tmp_path).code == "utf16"


@pytest.mark.parametrize("text", ["", " \n", "[]", "\ufeff"])
def test_a_file_without_a_record_is_refused(tmp_path: Path, text: str) -> None:
    error = refusal(put(tmp_path / "1_turn.json", text))
    assert (error.code, error.fields["path"]) == ("no_rows", str(tmp_path / "1_turn.json"))


@pytest.mark.parametrize("name", ["samples.jsonl", "samples.jsonl.gz", "x.jsonl"])
def test_a_jsonl_file_without_a_line_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, gzip.compress(b"\n") if name.endswith("gz") else "\n \n")
    assert refusal(tmp_path / name).code == "no_rows"
    assert refusal(tmp_path).code == "no_rows"


def test_a_parquet_file_without_a_row_is_refused(tmp_path: Path) -> None:
    row = hub_row(make_sample())
    put_parquet(tmp_path, [row])
    file = tmp_path / "data/train.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, 0), file)
    assert refusal(tmp_path).code == "no_rows"


@pytest.mark.parametrize("text", ['{"id": "a"}', '"a"', "7", "null", "true"])
def test_json_that_is_no_record_is_an_error(tmp_path: Path, text: str) -> None:
    benchmark = read_benchmark(put(tmp_path / "1_turn.json", text), text_only=True)
    assert benchmark.samples == ()
    assert [finding.level for finding in benchmark.findings] == [Level.ERROR]


def test_a_folder_without_a_benchmark_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "notes.txt", "nothing")
    put(tmp_path / "turn.json", "[]")
    put(tmp_path / "0_turn.json", "[]")
    error = refusal(tmp_path)
    assert (error.code, error.fields) == ("no_benchmark_files", {"path": tmp_path})


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "x" * 5000, "a\0b"])
def test_a_path_where_nothing_is_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name).code in {"no_such_benchmark", "unreadable_file"}


@pytest.mark.parametrize("name", ["notes.txt", "run.sqlite", "samples.json.gz", "no_suffix"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(put(tmp_path / name, "[]")).code == "not_a_benchmark_file"


def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_turn.json").mkdir()
    os.mkfifo(tmp_path / "2_turn.json")
    os.mkfifo(tmp_path / "samples.jsonl")
    assert refusal(tmp_path).code == "no_benchmark_files"
    assert refusal(tmp_path / "2_turn.json").code == "no_such_benchmark"


@pytest.mark.parametrize("cut", [5, 40, -4])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(lines(our_row(s) for s in make_samples(30)).encode())
    assert refusal(put(tmp_path / "samples.jsonl.gz", packed[:cut])).code == "unreadable_file"


@pytest.mark.parametrize(
    "damage", [b"no gzip at all", b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff", b"\x1f\x8b\x07"]
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    error = refusal(put(tmp_path / "samples.jsonl.gz", damage))
    assert error.code in {"unreadable_file", "not_gzip"}


def test_a_line_that_would_fill_the_memory_is_an_error(tmp_path: Path) -> None:
    press = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = b"".join(press.compress(b"x" * 2**20) for _ in range(65)) + press.flush()
    [finding] = read_benchmark(put(tmp_path / "samples.jsonl.gz", packed), text_only=True).findings
    assert (finding.code, finding.level) == ("broken_record", Level.ERROR)
    assert "longer than 64 MB" in finding.message


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"[]"])
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    assert refusal(put(tmp_path / "train.parquet", damage)).code == "not_parquet"


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    put_parquet(tmp_path, [{"x": 1, "y": "z"}])
    assert refusal(tmp_path).code == "not_a_benchmark_file"


def test_parquet_without_its_reader_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_parquet(tmp_path, [hub_row(make_sample())])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(tmp_path).code == "needs_pyarrow"


@pytest.mark.skipif(AS_ROOT, reason="nothing is forbidden to root")
@pytest.mark.parametrize("barred", ["", "1_turn.json", "samples.jsonl"])
def test_what_may_not_be_read_is_refused(tmp_path: Path, barred: str) -> None:
    write = put_ours if "samples" in barred else put_folder
    root = write(tmp_path / "set", [make_sample()])
    (root / barred).chmod(0)
    try:
        assert refusal(root).code == "unreadable_file"
        assert refusal(root / (barred or "1_turn.json")).code == "unreadable_file"
    finally:
        (root / barred).chmod(0o700)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "not_json"),
        ("[]", "wrong_form"),
        ('{"format": "safemt/9"}', "unknown_format"),
        ('{"name": 7}', "wrong_form"),
        ("", "not_json"),
    ],
)
def test_a_benchmark_json_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, code: str) -> None:
    put_ours(tmp_path, [make_sample()])
    error = refusal(put(tmp_path / "benchmark.json", text).parent)
    assert error.code == code
    assert "benchmark.json" in str(error)


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
    with pytest.raises(ValueError, match=r"neither JSON nor a Python literal"):
        parse_dialogue_text(text)


def test_a_dialogue_string_of_a_megabyte_is_refused_unparsed() -> None:
    text = json.dumps([{"role": "user", "content": "a" * 1_000_000}])
    with pytest.raises(ValueError, match=r"1,000,\d+ characters, more than 200,000; shorten it"):
        parse_dialogue_text(text)


def test_stray_backslashes_in_a_literal_are_nobodys_business() -> None:
    assert parse_dialogue_text("['a \\d b']") == ["a \\d b"]
