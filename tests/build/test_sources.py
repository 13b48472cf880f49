"""Every layout that queries come in, and everything that can be wrong with their files."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from safemt.build.queries import Ledger, RawQuery
from safemt.build.scenario import assign_scenario
from safemt.build.screening import screen
from safemt.build.sources.read import QueryFormat, read_queries
from safemt.core.errors import BenchmarkError, UsageError
from safemt.core.taxonomy import Scenario


def read(
    path: Path, layout: QueryFormat = QueryFormat.AUTO, images: Path | None = None
) -> tuple[list[RawQuery], Ledger]:
    ledger = Ledger()
    rows = read_queries(path, layout=layout, images=images, ledger=ledger)
    return list(screen(rows, language="en", ledger=ledger)), ledger


def table(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    content = buffer.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def reasons(ledger: Ledger) -> list[str]:
    return [reject.reason for reject in ledger.rejects]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_jsonl_rows_keep_what_the_source_says(tmp_path: Path, suffix: str) -> None:
    row = {"query": "How do I hide the last cookie?", "scenario": "fraud", "licence": "CC0", "id": "x1"}
    content = json.dumps(row).encode() + b"\n\n"
    path = tmp_path / f"mine.jsonl{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else b"\xef\xbb\xbf" + content)
    (found,), _ = read(path)
    assert (found.text, found.source, found.licence, found.source_id) == (
        "How do I hide the last cookie?",
        "mine",
        "CC0",
        "x1",
    )
    assert assign_scenario(found).scenario is Scenario.FRAUD


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff")
    with pytest.raises(BenchmarkError):
        read(path)


def test_a_label_that_is_no_text_is_no_label(tmp_path: Path) -> None:
    nested = "[" * 1_000 + "]" * 1_000
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{{"turns": [{{"role": "user", "content": "Hello?"}}], "label": {nested}}}')
    _, ledger = read(path)
    assert reasons(ledger) == ["not_harmful"]


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz"])
def test_csv_columns_may_have_several_names(tmp_path: Path, name: str) -> None:
    path = table(tmp_path / name, [["Prompt", "Category"], ["Write a rude poem, with commas", "Satire"]])
    (found,), _ = read(path)
    assert found.text == "Write a rude poem, with commas"
    assert assign_scenario(found).scenario is Scenario.SATIRE


def test_the_research_schema_gives_harmful_rows_and_policy_topics_only(tmp_path: Path) -> None:
    def row(label: str, category: str, text: str) -> str:
        return json.dumps(
            {"id": text[:3], "source": "figstep", "label": label, "category": category, "language": "en",
             "turns": [{"role": "user", "content": "the same for all"}], "question": text}
        )  # fmt: skip

    path = tmp_path / "dialogues.jsonl"
    path.write_text(
        "\n".join(
            [
                row("harmful", "Fraud", "How do I return a worn umbrella as new?"),
                row("borderline", "Legal Opinion", "May I keep a ball from my garden?"),
                row("borderline", "human_chatbox", "Do you like being a chat program?"),
                row("benign", "chat", "What a lovely day it is for a walk"),
            ]
        )
    )
    found, ledger = read(tmp_path)
    assert [query.text[:5] for query in found] == ["How d", "May I"]
    assert reasons(ledger) == ["not_harmful", "not_harmful"]


def test_a_context_becomes_the_pictures_text(tmp_path: Path) -> None:
    said = "The fair opens at nine. The gate is green.\n\n---\n\nGiven the context, how do I get in early?"
    row = {
        "id": "a", "source": "harm_prompts", "label": "harmful", "method": "harmbench contextual",
        "category": "illegal", "question": "Given the context, how do I get in early?",
        "turns": [{"role": "user", "content": said}], "meta": {"has_context": True},
    }  # fmt: skip
    path = tmp_path / "dialogues.jsonl"
    path.write_text(json.dumps(row))
    (found,), _ = read(path)
    assert found.picture_text == "The fair opens at nine. The gate is green."
    assert (found.family, found.source) == ("harmbench", "harm_prompts/harmbench contextual")


def test_harmbench_jailbreakv_and_figstep_are_told_by_their_columns(tmp_path: Path) -> None:
    harmbench = table(
        tmp_path / "behaviors.csv",
        [
            ["Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID"],
            ["Write the whole text of an invented song", "copyright", "copyright", "", "", "song"],
        ],
    )
    (found,), _ = read(harmbench)
    assert (found.source, found.licence, found.source_id) == ("harmbench", "MIT", "song")
    jailbreakv = table(
        tmp_path / "jb.csv",
        [
            ["id", "jailbreak_query", "redteam_query", "format", "policy", "image_path"],
            [
                "1",
                "wrapped",
                "How do I skip the queue at the fair?",
                "x",
                "Economic Harm",
                "llm_transfer_attack/a.png",
            ],
            [
                "2",
                "wrapped",
                "How do I skip the queue at the fair?",
                "x",
                "Economic Harm",
                "query_related/b.png",
            ],
        ],
    )
    for name in ("llm_transfer_attack/a.png", "query_related/b.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    (found,), _ = read(jailbreakv)
    assert found.text == "How do I skip the queue at the fair?"
    assert found.picture is not None
    assert found.picture.name == "query_related/b.png"
    assert assign_scenario(found).scenario is Scenario.ECONOMIC_HARM
    (tmp_path / "images/SafeBench").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "images/SafeBench/query_ForbidQI_3_7_6.png")
    (tmp_path / "question").mkdir()
    figstep = table(
        tmp_path / "question/safebench.csv",
        [
            ["dataset", "category_id", "task_id", "category_name", "question", "instruction"],
            ["s", "3", "7", "Malware Generation", "How do I keep a screen awake?", "Steps to keep it awake."],
        ],
    )
    (found,), _ = read(figstep)
    assert found.picture is not None
    assert found.key_phrase == "Steps to keep it awake."
    assert assign_scenario(found).scenario is Scenario.MALWARE


def test_mm_safetybench_is_read_with_its_images(tmp_path: Path) -> None:
    folder = tmp_path / "processed_questions"
    folder.mkdir()
    question = {"Question": "How do I win every raffle?", "Key Phrase": "raffle"}
    (folder / "06-Fraud.json").write_text(json.dumps({"0": question, "1": question}))
    images = tmp_path / "imgs/06-Fraud/SD"
    images.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(images / "0.jpg")
    found, _ = read(tmp_path)
    assert [query.picture is not None for query in found] == [True, False]
    assert assign_scenario(found[0]).scenario is Scenario.FRAUD


def test_beavertails_v_brings_its_images_as_bytes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    rows = [
        {"question": "How do I tease a pony?", "category": "animal_abuse",
         "image": {"bytes": buffer.getvalue(), "path": None}, "response": "x"}
    ]  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "evaluation.parquet")
    (found,), _ = read(tmp_path)
    assert found.picture is not None
    assert found.picture.read is not None
    assert found.picture.read() == buffer.getvalue()
    assert assign_scenario(found).scenario is Scenario.ANIMAL_ABUSE


def test_mm_safetybench_of_the_hub_takes_the_question_from_text_only(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "data/Fraud"
    folder.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    plain = [{"id": n, "question": f"How do I win raffle {n}?", "image": None} for n in ("0", "1")]
    shown = [
        {
            "id": "1",
            "question": "How do I win what is shown?",
            "image": {"bytes": buffer.getvalue(), "path": None},
        }
    ]
    parquet.write_table(pyarrow.Table.from_pylist(plain), folder / "Text_only.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(shown), folder / "SD_TYPO.parquet")
    found, _ = read(tmp_path)
    assert [query.text for query in found] == ["How do I win raffle 0?", "How do I win raffle 1?"]
    assert [query.picture is not None for query in found] == [False, True]
    assert found[1].source_id == "Fraud-1"
    assert assign_scenario(found[0]).scenario is Scenario.FRAUD


def test_mllmguard_is_read_by_its_header_and_without_its_harmless_dimensions(tmp_path: Path) -> None:
    for dimension in ("privacy", "hallucination"):
        (tmp_path / dimension / "imgs").mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / dimension / "imgs/1.png")
        table(
            tmp_path / dimension / "prompt.csv",
            [
                ["Image", "Prompt", "Answer", "Lan"],
                ["1.png", "Who wrote this postcard to my neighbor?", "", "en"],
            ],
        )
    (found,), ledger = read(tmp_path)
    assert found.picture is not None
    assert found.picture.name == "imgs/1.png"
    assert assign_scenario(found).scenario is Scenario.PRIVACY_VIOLATION
    assert reasons(ledger) == ["not_harmful"]


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/secret.png", "a/../../b.png", "C:/x.png", "a\\..\\..\\b"]
)
def test_an_image_path_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"query": "How do I hide the last cookie?", "image": name}))
    with pytest.raises(BenchmarkError) as error:
        read(path)
    assert error.value.code == "image_outside"


def test_a_table_without_the_column_names_those_that_it_has(tmp_path: Path) -> None:
    path = table(tmp_path / "mine.csv", [["title", "body"], ["a", "b"]])
    with pytest.raises(BenchmarkError) as error:
        read(path)
    assert error.value.code == "no_column"


def test_a_table_in_mixed_encodings_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes("query\nHow do I hide it, señor?\n".encode() + "Où est le gâteau?\n".encode("latin-1"))
    with pytest.raises(BenchmarkError) as error:
        read(path)
    assert error.value.code == "not_utf8"


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes('{"query": "x"}'.encode("utf-16"))
    with pytest.raises(BenchmarkError) as error:
        read(path)
    assert error.value.code == "utf16"


def test_bad_rows_are_left_out_with_their_reason_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    lines = [
        json.dumps({"query": "How do I hide the last cookie?"}).encode(),
        b'{"query": "caf\xe9 au lait"}',
        b"{broken",
        b"[1]",
        json.dumps({"query": "a\x00b how do I"}).encode(),
        json.dumps({"query": "word " * 10_000}).encode(),
        json.dumps({"query": " "}).encode(),
        json.dumps({"other": "no query here"}).encode(),
        json.dumps({"query": "Wie kann ich die Kekse vor der Familie und den Gästen verstecken?"}).encode(),
        json.dumps({"query": "どうやってクッキーを隠しますか"}, ensure_ascii=False).encode(),
    ]
    path.write_bytes(b"\n".join(lines))
    found, ledger = read(path)
    assert len(found) == 1
    assert sorted(reasons(ledger)) == sorted(
        ["broken_row"] * 3
        + ["control_characters", "too_long", "empty", "empty", "other_language", "other_language"]
    )
    assert all("cookie" not in reject.detail for reject in ledger.rejects)


def test_an_unknown_scenario_lists_the_17(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"query": "How do I hide the last cookie?", "scenario": "Cookies"}))
    (found,), _ = read(path)
    with pytest.raises(BenchmarkError) as error:
        assign_scenario(found)
    assert error.value.code == "unknown_scenario"


@pytest.mark.parametrize("name", ["gone.jsonl", "notes.txt"])
def test_what_is_no_source_is_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError) as error:
        read(tmp_path / name)
    assert error.value.code in ("no_such_file", "unknown_layout")


def test_an_empty_file_and_a_broken_archive_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n")
    with pytest.raises(BenchmarkError) as error:
        read(tmp_path / "a.jsonl")
    assert error.value.code == "no_rows"
    (tmp_path / "b.jsonl.gz").write_bytes(b"no archive")
    with pytest.raises(BenchmarkError) as error:
        read(tmp_path / "b.jsonl.gz")
    assert error.value.code == "unreadable_file"
