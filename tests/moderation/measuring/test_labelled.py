"""Labelled dialogues: what is read, what is left out, and what hangs together."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from moderation.word_detector import row
from safemt.core.errors import DialogueError
from safemt.moderation.measuring.labelled import LabelledDialogue, Truth, read_labelled

DATA = Path(__file__).parents[4] / "shared" / "data"


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(each) + "\n" for each in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def sharing(dialogues: tuple[LabelledDialogue, ...]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for each in dialogues:
        groups.setdefault(each.cluster, []).append(each.dialogue.id)
    return list(groups.values())


def test_files_and_folders_are_read_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "set_a" / "dialogues.jsonl.gz",
        row("a", "harmful", "x", "y"),
        row("b", None, "x"),
        {"id": "c", "label": "benign", "turns": [{"role": "assistant", "content": "hello"}]},
        {"id": "d", "label": "benign", "turns": "nonsense"},
    ).parent
    file = write(tmp_path / "mine.jsonl", row("e", "borderline", "z", source="hard"), row("f", "benign", "w"))
    data = read_labelled([folder, file, folder])
    assert [(each.dialogue.id, each.truth, each.source) for each in data.dialogues] == [
        ("a", Truth.HARMFUL, "set_a"), ("e", Truth.BORDERLINE, "hard"), ("f", Truth.BENIGN, "mine"),
    ]  # fmt: skip
    assert data.dialogues[0].turns == 2
    assert (data.unlabelled, data.without_user, len(data.bad_rows)) == (1, 1, 1)
    assert [file.dialogues for file in data.files] == [1, 2]
    assert data.count(Truth.BENIGN) == 1


def test_rounds_and_twins_of_a_query_are_one_cluster(tmp_path: Path) -> None:
    def ours(query: str, turns: int, **more: str) -> dict[str, Any]:
        said = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"{query} {i}"}
                for i in range(2 * turns - 1)]  # fmt: skip
        return {"query_id": query, "turns": turns, "scenario": "Fraud", "dialogue": said, **more}

    file = write(
        tmp_path / "samples.jsonl", ours("q1", 1), ours("q1", 2), ours("t1", 2, twin_of="q1"), ours("q2", 1)
    )
    data = read_labelled([file])
    assert sharing(data.dialogues) == [["q1@1", "q1@2", "t1@2"], ["q2@1"]]
    assert [each.truth for each in data.dialogues] == [
        Truth.HARMFUL,
        Truth.HARMFUL,
        Truth.BENIGN,
        Truth.HARMFUL,
    ]


def test_equal_assistant_turns_are_a_template_and_equal_questions_a_cluster(tmp_path: Path) -> None:
    def canned(name: str, *said: str, **more: Any) -> dict[str, Any]:
        given = row(name, "harmful", *said, **more)
        for turn in given["turns"]:
            if turn["role"] == "assistant":
                turn["content"] = "Go on."
        return given

    file = write(
        tmp_path / "one.jsonl",
        canned("a", "x", "y"),
        canned("b", "v", "w"),
        canned("c", "v", "w", question="one"),
        row("d", "harmful", "p", question="one"),
        row("e", "harmful", "p"),
    )
    other = write(tmp_path / "two.jsonl", canned("f", "x", "y"))
    assert sharing(read_labelled([file, other]).dialogues) == [["a", "b"], ["c", "d"], ["e"], ["f"]]


def test_equal_messages_have_equal_keys_whatever_the_row_says(tmp_path: Path) -> None:
    file = write(
        tmp_path / "one.jsonl", row("a", "harmful", "x"), row("b", "benign", "x"), row("c", "benign", "y")
    )
    first, second, third = (each.key for each in read_labelled([file]).dialogues)
    assert first == second != third


def test_a_folder_without_dialogues_and_a_file_without_labels_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "set" / "one.jsonl", row("a", None, "x"), {"id": "b"})
    for path, code, said in (
        (tmp_path, "no_dialogues", ""),
        (tmp_path / "none.jsonl", "no_such_file", ""),
        (file, "no_labels", "line 2"),
    ):
        with pytest.raises(DialogueError) as caught:
            read_labelled([path])
        assert caught.value.code == code
        assert said in str(caught.value), "the first problem is named"


@pytest.mark.skipif(not DATA.is_dir(), reason="the published dialogues are not here")
def test_the_attack_and_the_direct_request_for_one_act_are_a_cluster() -> None:
    data = read_labelled([DATA / "red_queen"])
    sizes = [len(group) for group in sharing(data.dialogues)]
    assert (len(sizes), set(sizes)) == (1388, {2})
