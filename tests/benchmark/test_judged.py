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
    with pytest.raises(LabelsError) as caught:
        read_judged(path, language="fr")
    assert (caught.value.code, caught.value.fields["language"]) == ("no_such_language", "fr")
    assert "it has de, en" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({**ROW, "label": "maybe"}, "unknown_label"),
        ({**ROW, "label": None}, "unknown_label"),
        ({**ROW, "label": ["safe"]}, "unknown_label"),
        ({**ROW, "response": 3}, "missing_field"),
        ({"id": "a", "response": "x", "label": "safe"}, "bad_turns"),
        ({**ROW, "turns": [{"role": "user"}]}, "bad_turns"),
        ({**ROW, "turns": []}, "bad_turns"),
        ({**ROW, "turns": [{"role": "assistant", "content": "x"}]}, "bad_turns"),
        ([1], "not_an_object"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: object, code: str) -> None:
    path = write(tmp_path / "labels.jsonl", ROW | {"id": "b"}, row)
    with pytest.raises(LabelsError) as caught:
        read_judged(path)
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{path}, line 2")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-5])
    for path, code in (
        (tmp_path / "absent.jsonl", "unreadable_file"),
        (write(tmp_path / "empty.jsonl"), "no_rows"),
        (write(tmp_path / "twice.jsonl", ROW, ROW), "id_twice"),
        (tmp_path / "broken.jsonl", "not_json"),
        (tmp_path / "cut.jsonl.gz", "unreadable_file"),
    ):
        with pytest.raises(LabelsError) as caught:
            read_judged(path)
        assert caught.value.code == code


def test_labels_may_be_a_table(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("Prompt,Response,Label,Category\nHow?,Like this.,unsafe,fraud\n")
    [row] = read_judged(tmp_path / "labels.csv").rows
    assert (row.sample.query_id, row.sample.question, row.label) == ("2", "How?", Label.UNSAFE)
    assert row.sample.scenario is Scenario.FRAUD
