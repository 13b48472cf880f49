"""Records to samples: every quirk is kept, reported or refused on purpose, and says where and what to do."""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import safemt.io.yaml  # noqa: F401 (imported now, so that no import is among the opened files)
from benchmark.sets import (
    Row,
    folder_row,
    hub_row,
    lines,
    make_sample,
    make_samples,
    our_row,
    picture,
    put,
    put_folder,
    put_hub,
    put_images,
    put_ours,
    put_parquet,
)
from safemt.benchmark.findings import MISSING_IMAGE, MOST_LISTED, Finding, Level, count_codes, errors_of
from safemt.benchmark.read import Benchmark, read_benchmark, require_usable, sample_key
from safemt.core.errors import BenchmarkError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Method, Scenario

# What tells a person what to do about a finding.
ADVICE = (
    "add",
    "fetch",
    "give",
    "kept as",
    "make",
    "fix",
    "must",
    "needs",
    "put",
    "remove",
    "rename",
    "replace",
    "sent as",
    "shorten",
    "shrink",
    "use",
    "goes user",
)


def read(root: Path) -> Benchmark:
    """Read without images, and hold every finding to what a finding has to say."""
    benchmark = read_benchmark(root, text_only=True)
    for finding in benchmark.findings:
        hold_to_form(finding)
    return benchmark


def hold_to_form(finding: Finding) -> None:
    assert finding.file
    assert str(finding).isprintable()
    assert any(word in finding.message for word in ADVICE), finding.message
    assert str(finding) == f"{finding.place}: {finding.message}"
    assert finding.row.endswith(f" {finding.index + 1}")
    assert finding.place.startswith(f"{finding.file}, {finding.row}")
    assert len(finding.message) < 700


def read_rows(root: Path, *rows: Any, name: str = "samples.jsonl") -> Benchmark:
    """Read rows as one file of our layout, or of the folder layout for a `.json` name."""
    put(root / name, json.dumps(list(rows)) if name.endswith(".json") else lines(rows))
    return read(root)


def only(benchmark: Benchmark) -> Finding:
    (finding,) = benchmark.findings
    return finding


def with_turn(sample: Sample, position: int, content: str) -> Sample:
    talk = list(sample.dialogue)
    talk[position] = Message(talk[position].role, content)
    return replace(sample, dialogue=tuple(talk))


# What is kept.


@pytest.mark.parametrize(
    "content",
    [
        "\n  And then?",
        "And then?   \n\n",
        "“And then” — it’s … fine",
        "First question? Second question?",
        "Look , here",
        "a\u2028b\x85c\td",
        "🦜",
    ],
)
def test_some_quirks_are_kept_in_silence(tmp_path: Path, content: str) -> None:
    sample = with_turn(make_sample(turns=2), 2, content)
    for write in (put_folder, put_hub, put_ours):
        benchmark = read(write(tmp_path / write.__name__, [sample, make_sample()]))
        assert benchmark.findings == ()
        assert {s.dialogue[-1].content for s in benchmark.samples if s.turns == 2} == {content}


@pytest.mark.parametrize(
    ("code", "content", "says"),
    [
        ("empty_turn", "", "is empty"),
        ("empty_turn", " \n ", "is empty"),
        ("image_placeholder", "<image>\nWhat is it?", "contains the text <image>"),
        ("image_placeholder", "<image>", "contains the text <image>"),
        ("stripped_placeholder", "Given , how does it float?", "has a hole"),
        ("stripped_placeholder", "What floats, based on , and why?", "has a hole"),
        ("nul", "What\0floats?", "contains a NUL character"),
    ],
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_some_quirks_are_kept_and_reported(
    tmp_path: Path, code: str, content: str, says: str, position: int
) -> None:
    sample = with_turn(make_sample(turns=2), position, content)
    benchmark = read(put_folder(tmp_path, [sample]))
    finding = only(benchmark)
    assert (finding.level, finding.code) == (Level.WARNING, code)
    assert finding.place == "2_turn.json, record 1 (mllm_fraud_1)"
    assert finding.message.startswith(f"{sample.dialogue[position].role} message {position + 1} {says}")
    assert "kept as it is" in finding.message
    assert benchmark.samples[0].dialogue == sample.dialogue
    assert require_usable(benchmark).samples == benchmark.samples


def test_a_question_that_is_a_refusal_is_kept_and_reported_in_every_layout(tmp_path: Path) -> None:
    sample = with_turn(
        make_sample(question="I'm sorry, I can't fold that."), 0, "I'm sorry, I can't fold that."
    )
    for write in (put_folder, put_hub, put_ours):
        benchmark = read(write(tmp_path / write.__name__, [sample]))
        assert only(benchmark).code == "question_is_refusal"
        assert benchmark.samples[0].question == sample.question


def test_one_turn_may_have_several_quirks(tmp_path: Path) -> None:
    sample = with_turn(make_sample(turns=2), 0, "<image> Given , how\0?")
    assert count_codes(read(put_ours(tmp_path, [sample])).findings) == {
        "image_placeholder": 1,
        "stripped_placeholder": 1,
        "nul": 1,
    }


def test_scenarios_may_be_spelled_as_slugs(tmp_path: Path) -> None:
    rows = [
        our_row(make_sample(n, scenario=Scenario.HATE_SPEECH), scenario=text)
        for n, text in enumerate(["Hate Speech", "hate_speech", " HATE-speech\n", "hate  speech"])
    ]
    benchmark = read_rows(tmp_path, *rows)
    assert benchmark.findings == ()
    assert {s.scenario for s in benchmark.samples} == {Scenario.HATE_SPEECH}


def test_our_layout_carries_method_twin_language_source_and_licence(tmp_path: Path) -> None:
    harmful = make_sample(turns=2, method=Method.HYBRID)
    twin = replace(harmful, query_id="boat_twin", twin_of=harmful.query_id)
    extra = {"language": "de", "source": "invented", "licence": "CC0"}
    benchmark = read_rows(tmp_path, our_row(twin), our_row(harmful, **extra))
    assert benchmark.findings == ()
    read_twin, read_harmful = benchmark.samples
    assert (read_twin.twin_of, read_twin.method, read_twin.language) == (
        harmful.query_id,
        Method.HYBRID,
        "en",
    )
    assert (read_harmful.twin_of, read_harmful.language) == (None, "de")
    assert read_harmful.meta == {"source": "invented", "licence": "CC0"}
    assert benchmark.query_count == 1


def test_turns_need_not_be_stated(tmp_path: Path) -> None:
    row = our_row(make_sample(turns=4), turns=None)
    assert [s.turns for s in read_rows(tmp_path, row).samples] == [4]


# Where the question comes from.


@pytest.mark.parametrize("order", [(1, 2, 4), (4, 2, 1), (2, 1, 4)])
def test_the_hub_takes_the_question_from_the_one_turn_record_whatever_the_order(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    samples = make_samples(2, order)
    put(tmp_path / "rows.jsonl", lines(hub_row(sample) for sample in samples))
    put_parquet(tmp_path / "parquet", [hub_row(sample, literal=True) for sample in samples])
    for root in (tmp_path / "rows.jsonl", tmp_path / "parquet"):
        benchmark = read(root)
        assert benchmark.findings == ()
        assert {s.id: s.question for s in benchmark.samples} == {s.id: s.question for s in samples}


def test_a_question_that_cannot_be_found_is_guessed_and_reported(tmp_path: Path) -> None:
    benchmark = read(put_hub(tmp_path, make_samples(1, (2, 4))))
    assert [s.question for s in benchmark.samples] == [s.dialogue[-1].content for s in benchmark.samples]
    assert [(f.level, f.code) for f in benchmark.findings] == [(Level.WARNING, "no_question")] * 2
    assert "the judge will get the last user turn instead" in benchmark.findings[0].message


def test_the_one_turn_records_own_question_comes_before_its_text(tmp_path: Path) -> None:
    one, two = make_sample(question="The question itself?"), make_sample(turns=2)
    benchmark = read_rows(tmp_path, our_row(two, question=" \n"), our_row(one))
    assert {s.question for s in benchmark.samples} == {"The question itself?"}


def test_a_sample_without_any_question_is_refused(tmp_path: Path) -> None:
    sample = with_turn(make_sample(question=""), 0, " ")
    benchmark = read(put_folder(tmp_path, [sample]))
    assert count_codes(benchmark.findings) == {"empty_turn": 1, "empty_question": 1}
    assert [f.code for f in errors_of(benchmark.findings)] == ["empty_question"]


# What is refused.


def turned(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "Which paper?"} for role in roles]


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"query_id": None}, "bad_field", "`query_id` is missing"),
        ({"query_id": 7}, "bad_field", "`query_id` must be text, not a number"),
        ({"query_id": ""}, "bad_id", "1 to 200 printable"),
        ({"query_id": "   "}, "bad_id", "1 to 200 printable"),
        ({"query_id": "a" * 201}, "bad_id", "1 to 200 printable"),
        ({"query_id": "a\nb"}, "bad_id", "1 to 200 printable"),
        ({"query_id": "\u001b[31m"}, "bad_id", "1 to 200 printable"),
        ({"query_id": "a\0"}, "bad_id", "1 to 200 printable"),
        ({"scenario": None}, "bad_field", "`scenario` is missing"),
        ({"scenario": ["Fraud"]}, "bad_field", "`scenario` must be text, not a list"),
        (
            {"scenario": "Boats"},
            "unknown_scenario",
            "'Boats' is not one of the 17; use one of: Animal Abuse,",
        ),
        ({"scenario": "x\u001b" * 9000}, "unknown_scenario", "is not one of the 17"),
        ({"method": "origami"}, "unknown_method", "use none, or one of: gradual, role_play"),
        ({"method": 1.5}, "bad_field", "`method` must be text, not a number"),
        ({"question": {"a": 1}}, "bad_field", "`question` must be text, not an object"),
        ({"twin_of": True}, "bad_field", "`twin_of` must be text, not true or false"),
        ({"language": 1}, "bad_field", "`language`"),
        ({"source": []}, "bad_field", "`source`"),
        ({"licence": {}}, "bad_field", "`licence`"),
        ({"turns": "1"}, "bad_field", "`turns` must be a whole number"),
        ({"turns": True}, "bad_field", "`turns` must be a whole number"),
        ({"turns": 1.5}, "bad_field", "`turns` must be a whole number"),
        ({"turns": 2}, "wrong_length", "has 1 user turns, but `turns` states 2"),
        ({"turns": -1}, "wrong_length", "has 1 user turns, but `turns` states -1"),
        ({"dialogue": None}, "bad_dialogue", "must be a list of messages"),
        ({"dialogue": []}, "bad_dialogue", "must be a list of messages"),
        ({"dialogue": {}}, "bad_dialogue", "must be a list of messages"),
        ({"dialogue": "{}"}, "bad_dialogue", "must be a list of messages"),
        ({"dialogue": "boats"}, "bad_dialogue", "neither JSON nor a Python literal"),
        ({"dialogue": "a" * 1_000_001}, "bad_dialogue", "1,000,001 characters, more than 200,000"),
        ({"dialogue": "[" * 3000 + "]" * 3000}, "bad_dialogue", "neither JSON nor a Python literal"),
        ({"dialogue": ["Which paper?"]}, "wrong_role", "message 1 needs a `role`"),
        ({"dialogue": [None]}, "wrong_role", "message 1 needs a `role`"),
        ({"dialogue": [{"role": [], "content": ""}]}, "wrong_role", "message 1 needs a `role`"),
        ({"dialogue": turned("human")}, "wrong_role", "message 1 needs a `role`"),
        ({"dialogue": [{"role": "user"}]}, "bad_dialogue", "message 1 needs a `content`"),
        ({"dialogue": [{"role": "user", "content": [{}]}]}, "bad_dialogue", "message 1 needs a `content`"),
        (
            {"dialogue": "[{'role': 'user', 'content': 'a \\ud83d b'}]"},
            "bad_dialogue",
            "message 1 contains half a character",
        ),
        (
            {"dialogue": turned("assistant")},
            "wrong_order",
            "message 1 has the role 'assistant' instead",
        ),
        ({"dialogue": turned("system", "user")}, "wrong_order", "without a system message"),
        (
            {"dialogue": turned("user", "user")},
            "wrong_order",
            "message 2 has the role 'user' instead",
        ),
        ({"dialogue": turned("user", "system", "user")}, "wrong_order", "message 2 has the role 'system'"),
        ({"dialogue": turned("user", "assistant")}, "wrong_order", "must end with a user turn"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(tmp_path: Path, changes: Row, code: str, says: str) -> None:
    good = our_row(make_sample(9))
    benchmark = read_rows(tmp_path, good, our_row(make_sample(), **changes))
    finding = only(benchmark)
    assert (finding.level, finding.code, finding.file, finding.index) == (
        Level.ERROR,
        code,
        "samples.jsonl",
        1,
    )
    assert says in finding.message
    assert finding.id == ("mllm_fraud_1" if "query_id" not in changes else finding.id)
    assert [s.query_id for s in benchmark.samples] == ["mllm_fraud_9"]
    with pytest.raises(BenchmarkError) as caught:
        require_usable(benchmark)
    assert caught.value.code == "benchmark_has_errors"
    assert caught.value.fields == {"path": tmp_path, "count": 1, "first": finding}
    assert str(finding) in str(caught.value)


@pytest.mark.parametrize("record", [7, None, "a", [], [1, 2], True, 1.5])
def test_a_record_that_is_no_object_is_refused(tmp_path: Path, record: object) -> None:
    good = folder_row(make_sample())
    finding = only(read_rows(tmp_path, good, record, name="1_turn.json"))
    assert str(finding) == "1_turn.json, record 2: it is not a JSON object; fix or remove it"


def test_an_empty_object_is_refused(tmp_path: Path) -> None:
    assert only(read_rows(tmp_path, {})).message == "`query_id` is missing; add it"


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (b'{"query_id": ', "column"),
        (b'{"query_id": "\\ud800"}', "column"),
        (b"\xff\xfe", "it is not UTF-8 text at column 1"),
        (b'{"id": "\xc3\xa9\xff"}', "it is not UTF-8 text at column 10"),
        (b"[" * 3000, "column"),
        (b"\0", "column 1"),
    ],
)
def test_a_broken_line_is_refused_with_its_column_and_the_rest_is_read(
    tmp_path: Path, line: bytes, where: str
) -> None:
    rest = lines([our_row(make_sample())]).encode()
    put(tmp_path / "samples.jsonl", rest + line + b"\n" + lines([our_row(make_sample(2))]).encode())
    benchmark = read(tmp_path)
    finding = only(benchmark)
    assert (finding.code, finding.index, finding.id) == ("broken_record", 1, None)
    assert where in finding.message
    assert len(benchmark.samples) == 2


def test_a_dialogue_of_another_length_than_its_file_is_refused(tmp_path: Path) -> None:
    rows = [folder_row(make_sample(turns=4)), folder_row(make_sample(2, turns=2))]
    benchmark = read_rows(tmp_path, *rows, name="2_turn.json")
    assert str(only(benchmark)) == (
        "2_turn.json, record 1 (mllm_fraud_1): the dialogue has 4 user turns, but the file's name states 2; "
        "fix one of the two"
    )
    assert [s.turns for s in benchmark.samples] == [2]


def test_an_id_that_occurs_twice_is_refused_and_the_first_is_kept(tmp_path: Path) -> None:
    first, again = make_sample(turns=2), with_turn(make_sample(turns=2), 0, "Another opener?")
    put(tmp_path / "2_turn.json", json.dumps([folder_row(first)]))
    put(tmp_path / "2_turn_more.json", json.dumps([folder_row(make_sample(2, turns=2)), folder_row(again)]))
    benchmark = read(tmp_path)
    assert str(only(benchmark)) == (
        "2_turn_more.json, record 2 (mllm_fraud_1): the id occurs twice at 2 turns "
        "(first in 2_turn.json, record 1); remove or rename one"
    )
    assert [s.dialogue for s in benchmark.samples if s.query_id == "mllm_fraud_1"] == [first.dialogue]


def test_a_repeated_one_turn_record_does_not_change_the_question(tmp_path: Path) -> None:
    rows = [hub_row(make_sample(turns=k)) for k in (2, 1)]
    other = hub_row(with_turn(make_sample(), 0, "Another question?"))
    benchmark = read_rows(tmp_path, *rows, other, name="rows.jsonl")
    assert only(benchmark).code == "duplicate_id"
    assert {s.question for s in benchmark.samples} == {make_sample().question}


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"scenario": "Bias"}, "the scenario"), ({"twin_of": "boat_2"}, "the `twin_of`")],
)
def test_rounds_of_one_query_that_disagree_are_refused(tmp_path: Path, changes: Row, what: str) -> None:
    rows = [
        our_row(make_sample(1, k), query_id=name) for name, k in (("boat_1", 1), ("boat_2", 1), ("boat_1", 2))
    ]
    finding = only(read_rows(tmp_path, *rows[:2], rows[2] | changes))
    assert finding.code == "mixed_query"
    assert str(finding) == (
        f"samples.jsonl, line 3 (boat_1): {what} differs from that in samples.jsonl, line 1, "
        "with the same id; fix one, or rename this query"
    )


@pytest.mark.parametrize("original", ["nobody", "twin_a", "twin_b", "", "x" * 5000])
def test_a_twin_without_its_original_is_refused(tmp_path: Path, original: str) -> None:
    rows = [
        our_row(make_sample(), query_id="boat"),
        our_row(make_sample(), query_id="twin_a", twin_of="boat"),
        our_row(make_sample(), query_id="twin_b", twin_of=original),
    ]
    finding = only(read_rows(tmp_path, *rows))
    assert (finding.code, finding.place) == ("orphan_twin", "samples.jsonl, line 3 (twin_b)")
    assert f"is the benign twin of {original[:200]!r}" in finding.message


def test_findings_of_one_code_are_listed_up_to_a_number_and_all_counted(tmp_path: Path) -> None:
    put(tmp_path / "samples.jsonl", lines([our_row(make_sample()), our_row(make_sample(2), scenario=7)]))
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write("{}\n" * (MOST_LISTED + 5))
    benchmark = read(tmp_path)
    assert benchmark.counts == {"bad_field": MOST_LISTED + 6}
    assert len(benchmark.findings) == MOST_LISTED
    assert benchmark.findings[0].id == "mllm_fraud_2"
    with pytest.raises(BenchmarkError) as caught:
        require_usable(benchmark)
    assert caught.value.fields["count"] == MOST_LISTED + 6


def test_findings_come_in_the_order_of_the_records(tmp_path: Path) -> None:
    samples = make_samples(12, (1, 2))
    put_hub(tmp_path, samples)
    rows: list[Any] = [hub_row(s) for s in samples if s.turns == 2]
    rows[5] = 7
    rows[3] = hub_row(make_sample(77, 2, Scenario.BIAS))  # no 1-turn record
    rows[7]["id"] = "mllm_sex_7"  # misaligned
    put(tmp_path / "data/2_turn.jsonl", lines(rows))
    put(tmp_path / "data/1_turn.jsonl", "7\n" + lines(hub_row(s) for s in samples if s.turns == 1))
    found = [(f.file, f.index, f.code) for f in read(tmp_path).findings]
    assert found == [
        ("data/1_turn.jsonl", 0, "broken_record"),
        ("data/2_turn.jsonl", 3, "no_question"),
        ("data/2_turn.jsonl", 5, "broken_record"),
        ("data/2_turn.jsonl", 7, "misaligned"),
        ("data/2_turn.jsonl", 7, "no_question"),
    ]


# The misaligned published version.


def put_misaligned(root: Path, queries: int = 60) -> Path:
    """Ids and images moved on by 17 + 1 records at 2 and 4 turns, and no `question`, as was published."""
    for turns in (1, 2, 4):
        rows = [folder_row(s) for s in make_samples(queries, (turns,))]
        for row in rows:
            del row["question"]
        names = [(row["id"], row["image_path"]) for row in rows]
        for n, row in enumerate(rows):
            row["id"], row["image_path"] = names[(n + (turns > 1)) % queries]
        put(root / f"{turns}_turn.json", json.dumps(rows))
    return root


def test_the_misaligned_published_version_is_refused_with_one_clear_message(tmp_path: Path) -> None:
    benchmark = read(put_misaligned(tmp_path))
    finding = only(benchmark)
    assert (finding.level, finding.code) == (Level.ERROR, "misaligned_version")
    assert finding.place == "2_turn.json, record 1 (mllm_bias_1)"
    assert finding.message == (
        "120 of 180 records carry the id and image of another record (in 2_turn.json, 4_turn.json; the first "
        "is 'mllm_bias_1' with the scenario 'Animal Abuse'). The older published version of SafeMT is "
        "misaligned in this way in its 2- and 4-turn files: its records have no `question`, and its images "
        "and figures by scenario are wrong. Use the newer version, whose records have a `question`, or fix "
        "the ids."
    )
    with pytest.raises(BenchmarkError) as caught:
        require_usable(benchmark)
    assert caught.value.fields["first"] is finding


def test_one_file_of_the_misaligned_version_is_refused_too(tmp_path: Path) -> None:
    benchmark = read(put_misaligned(tmp_path) / "4_turn.json")
    assert count_codes(errors_of(benchmark.findings)) == {"misaligned_version": 1}


@pytest.mark.parametrize("wrong", [1, 2, 4, 5])
def test_a_few_misaligned_records_are_named_one_by_one(tmp_path: Path, wrong: int) -> None:
    rows = [folder_row(s) for s in make_samples(60, (1,))]
    for row in rows[:wrong]:
        row["scenario"] = "Violence"
    findings = read_rows(tmp_path, *rows, name="1_turn.json").findings
    assert [(f.level, f.code, f.index) for f in findings] == [
        (Level.ERROR, "misaligned", n) for n in range(wrong)
    ]
    assert findings[0].place == "1_turn.json, record 1 (mllm_animal_abuse_0)"
    assert "id, image and scenario (Violence) do not belong together" in findings[0].message


def test_a_small_set_is_never_called_the_misaligned_version(tmp_path: Path) -> None:
    rows = [folder_row(s, scenario="Violence") for s in make_samples(3, (1,))]
    assert count_codes(read_rows(tmp_path, *rows, name="1_turn.json").findings) == {"misaligned": 3}


@pytest.mark.parametrize(
    ("image", "aligned"),
    [
        ("images/fraud/fraud_1.jpg", True),
        ("Data/images/fraud_1.jpeg", True),
        ("images\\fraud\\fraud_1.png", True),
        ("images/fraud/fraud_2.jpg", False),
        ("images/bias/bias_1.jpg", False),
    ],
)
def test_the_image_is_held_to_the_id(tmp_path: Path, image: str, aligned: bool) -> None:
    row = folder_row(make_sample(), image_path=image)
    benchmark = read_rows(tmp_path, row, name="1_turn.json")
    assert count_codes(benchmark.findings) == ({} if aligned else {"misaligned": 1})


def test_ids_of_other_data_and_images_of_our_layout_mean_nothing(tmp_path: Path) -> None:
    for n, name in enumerate(["fraud_1", "mllm_boats_1", "other_bias_1", "mllm_bias", "mm_bias_1x"]):
        row = folder_row(make_sample(), id=name)
        assert read_rows(tmp_path / str(n), row, name="1_turn.json").findings == ()
    assert read_rows(tmp_path, our_row(make_sample(), image="images/0a1b.png")).findings == ()


# Images.


def read_with_image(root: Path, **changes: Any) -> Benchmark:
    put(root / "samples.jsonl", lines([our_row(make_sample(), **changes), our_row(make_sample(2))]))
    put(root / "images/fraud/fraud_2.png", picture())
    benchmark = read_benchmark(root)
    for finding in benchmark.findings:
        hold_to_form(finding)
    return benchmark


@pytest.mark.parametrize("image", [None, "", "images/none.png", "images", ".", "a\0b.png", "x" * 9000])
def test_missing_images_are_reported_by_id(tmp_path: Path, image: str | None) -> None:
    benchmark = read_with_image(tmp_path, image=image)
    finding = only(benchmark)
    assert (finding.level, finding.code) == (Level.ERROR, MISSING_IMAGE)
    assert finding.place == "samples.jsonl, line 1 (mllm_fraud_1)"
    assert benchmark.imageless == {"mllm_fraud_1@1"}
    with pytest.raises(BenchmarkError) as caught:
        require_usable(benchmark)
    assert (caught.value.code, caught.value.fields["count"]) == ("missing_images", 1)
    assert "1 of 2 samples have no image (mllm_fraud_1)" in str(caught.value)
    assert "`selection.skip_missing_images`" in str(caught.value)
    kept = require_usable(benchmark, skip_missing_images=True)
    assert [s.query_id for s in kept.samples] == ["mllm_fraud_2"]


def test_only_the_first_missing_images_are_named_before_a_run(tmp_path: Path) -> None:
    benchmark = read_benchmark(put_folder(tmp_path, make_samples(7, (1, 2))))
    assert len(benchmark.findings) == len(benchmark.imageless) == 14
    with pytest.raises(BenchmarkError) as caught:
        require_usable(benchmark)
    assert caught.value.code == "missing_images"
    assert str(caught.value).count("mllm_") == 5
    with pytest.raises(BenchmarkError) as caught:
        require_usable(benchmark, skip_missing_images=True)
    assert caught.value.code == "no_samples_left"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"image": "../secret.png"}, "image_outside"),
        ({"image": "/etc/secret.png"}, "image_outside"),
        ({"image": "samples.jsonl"}, "not_an_image"),
        ({"image": 7}, "bad_field"),
        ({"image": "images/fraud/fraud_2.png", "image_sha256": "0" * 64}, "image_changed"),
        ({"image": "images/fraud/fraud_2.png", "image_sha256": 0}, "bad_field"),
    ],
)
def test_image_errors_cannot_be_skipped(tmp_path: Path, changes: Row, code: str) -> None:
    benchmark = read_with_image(tmp_path, **changes)
    finding = only(benchmark)
    assert (finding.level, finding.code, finding.id) == (Level.ERROR, code, "mllm_fraud_1")
    assert benchmark.imageless == frozenset()
    with pytest.raises(BenchmarkError) as caught:
        require_usable(benchmark, skip_missing_images=True)
    assert caught.value.code == "benchmark_has_errors"


def test_the_recorded_hash_may_be_in_capitals(tmp_path: Path) -> None:
    sample = make_sample(2)
    (digest,) = put_images(tmp_path, [sample]).values()
    benchmark = read_with_image(tmp_path, image="images/fraud/fraud_2.png", image_sha256=digest.upper())
    assert benchmark.findings == ()
    assert benchmark.samples[0].image == benchmark.samples[1].image


def test_a_wrong_extension_is_reported_and_the_bytes_are_believed(tmp_path: Path) -> None:
    put(tmp_path / "images/fraud_1.jpg", picture("WEBP"))
    benchmark = read_with_image(tmp_path, image="images/fraud_1.jpg")
    finding = only(benchmark)
    assert (finding.level, finding.code) == (Level.WARNING, "wrong_extension")
    assert finding.message == "the image 'images/fraud_1.jpg' is really image/webp; it is sent as what it is"
    assert benchmark.samples[0].image is not None
    assert benchmark.samples[0].image.media_type == "image/webp"


def test_image_paths_are_kept_with_forward_slashes(tmp_path: Path) -> None:
    benchmark = read_with_image(tmp_path, image="images\\fraud\\fraud_2.png")
    assert benchmark.findings == ()
    assert benchmark.samples[0].image == benchmark.samples[1].image


def test_text_only_looks_for_no_image(tmp_path: Path) -> None:
    benchmark = read(put_folder(tmp_path, make_samples()))
    assert benchmark.findings == ()
    assert benchmark.imageless == frozenset()
    assert {s.image for s in benchmark.samples} == {None}


# The hash of the whole.


def test_the_hash_depends_on_everything_that_is_asked_shown_judged_or_counted() -> None:
    sample = make_sample(turns=2)
    image = sample.image
    assert image is not None
    changed = [
        replace(sample, query_id="b"),
        replace(sample, scenario=Scenario.BIAS),
        replace(sample, question="?"),
        with_turn(sample, 0, "?"),
        replace(sample, image=replace(image, sha256="1")),
        replace(sample, image=None),
        replace(sample, method=Method.GRADUAL),
        replace(sample, twin_of="b"),
        make_sample(turns=4),
    ]
    assert len({sample_key(s) for s in [sample, *changed]}) == len(changed) + 1
    assert sample_key(replace(sample, image=replace(image, path="elsewhere.png"))) == sample_key(sample)


def test_the_hash_does_not_depend_on_the_order_of_files_and_records(tmp_path: Path) -> None:
    samples = make_samples(4)
    hashes = {
        read(put_ours(tmp_path / str(n), order)).sha256
        for n, order in enumerate([samples, samples[::-1], sorted(samples, key=lambda s: s.turns)])
    }
    assert len(hashes) == 1
    assert read(put_ours(tmp_path / "less", samples[1:])).sha256 not in hashes


# Whatever the bytes are.

_OPENED: list[str] | None = None


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if _OPENED is not None and event == "open" and isinstance(arguments[0], str):
        _OPENED.append(arguments[0])


@pytest.fixture(scope="module", autouse=True)
def _audit() -> None:
    sys.addaudithook(_note_opened)  # cannot be taken out again; it does nothing outside `opened_files`


@contextmanager
def opened_files() -> Iterator[list[str]]:
    global _OPENED  # noqa: PLW0603
    _OPENED = []
    try:
        yield _OPENED
    finally:
        _OPENED = None


def read_anything(name: str, content: bytes, *others: tuple[str, bytes]) -> Benchmark | None:
    """Read a hostile file beside a secret; only a `BenchmarkError` may come of it, or findings."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "set"
        put(root / "images/a.png", picture())
        put(root.parent / "secret.png", picture(colour=99))
        (root / "link.png").symlink_to("../secret.png")
        for other, its_content in others:
            put(root / other, its_content)
        put(root / name, content)
        refused = str(root)
        with opened_files() as opened:
            try:
                benchmark = read_benchmark(root)
            except BenchmarkError as error:
                benchmark, refused = None, str(error)
        assert all(Path(path).is_relative_to(root) for path in opened), opened
        assert str(root) in refused
    if benchmark:
        for finding in benchmark.findings:
            hold_to_form(finding)
        assert all(s.image is None or s.image.path.endswith("a.png") for s in benchmark.samples)
        assert len(benchmark.sha256) == 64
        # Every sample and finding can be written down.
        json.dumps([str(finding) for finding in benchmark.findings], ensure_ascii=False).encode()
        for sample in benchmark.samples:
            json.dumps([m.content for m in sample.dialogue] + [sample.id], ensure_ascii=False).encode()
    return benchmark


fuzz = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
names = st.sampled_from(["1_turn.json", "samples.jsonl", "samples.jsonl.gz", "2_turn.jsonl", "x.parquet"])
texts = st.text(alphabet=st.characters(codec=None, categories=None), max_size=12)
image_names = st.sampled_from(
    [
        *("images/a.png", "images/a.png", "Data/images/a.png"),
        *("../secret.png", "link.png", "/etc/passwd", "C:\\a.png", "a\0", ""),
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | image_names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
talks = st.lists(texts, min_size=1, max_size=5).map(
    lambda said: [
        {"role": ("user", "assistant")[n % 2], "content": text}
        for n, text in enumerate(said[: len(said) - 1 + len(said) % 2])
    ]
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | values, "content": texts | values}
)
good = st.fixed_dictionaries(
    {
        **dict.fromkeys(["id", "query_id"], st.sampled_from(["mllm_fraud_1", "a", "b", "c", "d"])),
        **dict.fromkeys(["image", "image_path", "image_rel_path"], image_names),
        "scenario": st.sampled_from(["Fraud", "Bias"]),
        "dialogue": talks | talks.map(repr) | talks.map(json.dumps),
    },
    optional={
        "question": texts,
        "turns": st.integers(1, 3),
        "method": st.sampled_from(list(Method)),
        "twin_of": st.sampled_from(["a", "b"]),
    },
)
bad = st.dictionaries(
    st.sampled_from(sorted(our_row(make_sample(), id=0, image_path=0, image_sha256=0, source=0))),
    values,
    max_size=1,
) | st.fixed_dictionaries({"dialogue": st.lists(messages, max_size=4) | values})
records = good | st.builds(lambda row, changes: row | changes, good, bad)


@fuzz
@given(name=names, content=st.binary(max_size=200))
def test_arbitrary_bytes_give_errors_or_findings(name: str, content: bytes) -> None:
    read_anything(name, content)


@fuzz
@given(
    rows=st.lists(records | values, max_size=4),
    name=st.sampled_from(["1_turn.json", "samples.jsonl", "x.jsonl"]),
)
def test_arbitrary_json_gives_errors_or_findings(rows: list[Any], name: str) -> None:
    if name == "1_turn.json":
        read_anything(name, json.dumps(rows).encode())
    else:
        read_anything(name, lines(rows).encode())


@fuzz
@given(about=values | st.fixed_dictionaries({"name": values, "format": st.just("safemt/1")}))
def test_an_arbitrary_benchmark_json_gives_an_error_or_a_name(about: object) -> None:
    rows = lines([our_row(make_sample(), image="images/a.png")]).encode()
    benchmark = read_anything("benchmark.json", json.dumps(about).encode(), ("samples.jsonl", rows))
    assert benchmark is None or benchmark.name.isprintable()


@fuzz
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4)
)
def test_a_damaged_parquet_file_gives_an_error_or_findings(flips: list[tuple[float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        put_parquet(Path(folder), [hub_row(s, image_rel_path="images/a.png") for s in make_samples(2)])
        content = bytearray((Path(folder) / "data/train.parquet").read_bytes())
    for where, bits in flips:
        content[int(where * len(content))] ^= bits
    read_anything("train.parquet", bytes(content))


def test_memory_is_not_kept_for_what_the_files_repeat(tmp_path: Path) -> None:
    benchmark = read(put_ours(tmp_path, make_samples(5)))
    roles = Counter(id(m.role) for s in benchmark.samples for m in s.dialogue)
    assert len(roles) == 2
