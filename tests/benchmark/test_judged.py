import gzip
import json
from pathlib import Path

import pytest

from safemt.benchmark.judged import read_judged
from safemt.core.errors import LabelsError
from safemt.core.taxonomy import Label, Scenario

ROW = {"id": "a", "prompt": "How do kites fly?", "response": "On the wind.", "label": "safe"}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_prompt_is_a_dialogue_of_one_turn_and_its_own_question(tmp_path: Path) -> None:
    [row] = read_judged(write(tmp_path / "labels.jsonl", ROW)).rows

    assert row.sample.turns == 1
    assert row.sample.question == "How do kites fly?"
    assert (row.response, row.label, row.category, row.refused) == ("On the wind.", Label.SAFE, "", None)


def test_turns_keep_their_roles_and_neighbours_of_one_role_become_one_message(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Hello."},
        {"role": "user", "content": "Are you there?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Good."},
    ]

    [row] = read_judged(write(tmp_path / "labels.jsonl", {**ROW, "turns": turns})).rows

    assert [(m.role, m.content) for m in row.sample.dialogue] == [
        ("user", "Hello.\n\nAre you there?"),
        ("assistant", "Yes."),
        ("user", "Good."),
    ]
    assert row.sample.turns == 2


def test_a_scenario_is_taken_from_the_row_where_it_names_one(tmp_path: Path) -> None:
    named = read_judged(write(tmp_path / "a.jsonl", {**ROW, "category": "Hate speech"})).rows[0]
    other = read_judged(write(tmp_path / "b.jsonl", {**ROW, "category": "homonyms"})).rows[0]

    assert named.sample.scenario is Scenario.HATE_SPEECH
    assert other.sample.scenario is Scenario.ILLEGAL_ACTIVITY  # judged by the general rubric


@pytest.mark.parametrize(
    ("final", "refused"),
    [("1_full_compliance", False), ("2_full_refusal", True), ("3_partial_refusal", True), ("other", None)],
)
def test_refusal_is_read_from_the_annotators(tmp_path: Path, final: str, refused: bool | None) -> None:
    row = {**ROW, "annotators": {"type": "human", "final_label": final}}

    assert read_judged(write(tmp_path / "labels.jsonl", row)).rows[0].refused is refused


def test_a_file_that_a_model_labelled_says_so(tmp_path: Path) -> None:
    assert read_judged(write(tmp_path / "a.jsonl", ROW)).labelled_by_people
    assert not read_judged(
        write(tmp_path / "b.jsonl", {**ROW, "annotators": {"type": "llm"}})
    ).labelled_by_people


def test_a_language_can_be_chosen_and_gzip_is_read(tmp_path: Path) -> None:
    lines = [json.dumps({**ROW, "id": str(n), "language": lang}) for n, lang in enumerate(["en", "de", "en"])]
    path = tmp_path / "labels.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))

    assert len(read_judged(path, language="en").rows) == 2
    with pytest.raises(LabelsError, match=r"no row in language 'fr'; it has: de, en"):
        read_judged(path, language="fr")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**ROW, "label": "maybe"}, "line 1 has the label 'maybe'"),
        ({**ROW, "label": None}, "line 1 has the label None"),
        ({**ROW, "label": ["safe"]}, "line 1 has the label of another kind"),
        ({**ROW, "response": 3}, "no text `response`"),
        ({"id": "a", "response": "x", "label": "safe"}, "neither `turns`"),
        ({**ROW, "turns": [{"role": "user"}]}, "neither `turns`"),
        ({**ROW, "turns": []}, "must begin and end on a user message"),
        ({**ROW, "turns": [{"role": "assistant", "content": "x"}]}, "must begin and end on a user message"),
        ([1], "not a JSON object"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: object, words: str) -> None:
    with pytest.raises(LabelsError, match=words):
        read_judged(write(tmp_path / "labels.jsonl", row))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read"):
        read_judged(tmp_path / "absent.jsonl")
    with pytest.raises(LabelsError, match="is empty"):
        read_judged(write(tmp_path / "empty.jsonl"))
    with pytest.raises(LabelsError, match="second time"):
        read_judged(write(tmp_path / "twice.jsonl", ROW, ROW))
    (tmp_path / "broken.jsonl").write_text("{\n")
    with pytest.raises(LabelsError, match="line 1 is not valid JSON"):
        read_judged(tmp_path / "broken.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-5])
    with pytest.raises(LabelsError, match="cannot be read"):
        read_judged(tmp_path / "cut.jsonl.gz")


@pytest.mark.parametrize(
    "content", [b"plain", gzip.compress(b"{}", mtime=0)[:12], b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff"]
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(LabelsError, match=r"labels.jsonl.gz cannot be read: "):
        read_judged(path)
