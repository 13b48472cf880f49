"""Dialogues in, from files in every shape that people have them in."""

import base64
import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from e2e.command import png, row, write
from safemt.core.errors import DialogueError
from safemt.core.schema import ImageRef, UnknownPart
from safemt.core.taxonomy import Scenario
from safemt.moderation.reading.dialogues import BadRow, Dialogue, read_dialogues

DATA = Path(__file__).parents[4] / "shared" / "data"
HELLO = {"role": "user", "content": "hello"}


def plain(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "turns": [HELLO], **fields}


def jsonl(rows: Iterable[object]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


def read(tmp_path: Path, content: bytes, name: str = "rows.jsonl") -> list[Dialogue | BadRow]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_dialogues(path))


def one(tmp_path: Path, fields: dict[str, Any]) -> Dialogue:
    [dialogue] = read(tmp_path, jsonl([fields]))
    assert isinstance(dialogue, Dialogue), dialogue
    return dialogue


def problem(tmp_path: Path, fields: object) -> str:
    [bad] = read(tmp_path, jsonl([fields]))
    assert isinstance(bad, BadRow)
    return bad.problem


def test_a_plain_row_gives_its_messages_and_what_it_says_besides(tmp_path: Path) -> None:
    dialogue = one(
        tmp_path,
        plain("a", label="benign", source="s", method="m", language="en", scenario="Fraud"),
    )
    assert dialogue.id == "a"
    assert [(message.role, message.content) for message in dialogue.messages] == [("user", "hello")]
    assert (dialogue.label, dialogue.source) == ("benign", "s")
    assert (dialogue.method, dialogue.language, dialogue.scenario) == ("m", "en", Scenario.FRAUD)


def test_a_row_without_an_id_goes_by_its_line(tmp_path: Path) -> None:
    rows = read(tmp_path, b"\n\n" + jsonl([{"turns": [HELLO]}, {"turns": [HELLO], "id": 7}]))
    assert [each.id for each in rows] == ["line 3", "7"]


def test_rows_of_a_benchmark_go_by_query_and_turns_and_show_their_picture_first(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", [row(1, 2), row(2, 1, twin=True)])
    harmful, twin = list(read_dialogues(folder / "samples.jsonl"))
    assert isinstance(harmful, Dialogue)
    assert isinstance(twin, Dialogue)
    assert (harmful.id, harmful.label, harmful.query) == ("q1@2", "harmful", "q1")
    assert (twin.id, twin.label) == ("q2-twin@1", "benign")
    picture, text = harmful.messages[0].parts
    assert isinstance(picture, ImageRef)
    assert picture.read() == png(1)
    assert text == "q1 at 2: message 1, grüße"
    assert not any(isinstance(part, ImageRef) for part in harmful.messages[2].parts)


def test_chat_requests_may_hold_lists_of_parts(tmp_path: Path) -> None:
    uri = "data:image/png;base64," + base64.b64encode(png(3)).decode()
    messages = [
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": uri}},
                {"type": "image_url", "image_url": {"url": "https://127.0.0.1:9/secret.png"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "hologram", "hologram": 1},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "x"},
    ]
    dialogue = one(tmp_path, {"id": "r", "model": "m", "messages": messages})
    assert [message.role for message in dialogue.messages] == ["system", "user", "assistant", "tool"]
    text, picture, *others = dialogue.messages[1].parts
    assert text == "what is this?"
    assert isinstance(picture, ImageRef)
    assert picture.read() == png(3)
    assert others == [UnknownPart("image_url"), UnknownPart("input_audio"), UnknownPart("unknown_part")]
    assert dialogue.messages[2].content == "f({})"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_read_record_by_record(tmp_path: Path, pack: Any, indent: int | None) -> None:
    rows = [plain(f"d{n}", source="é" * 50_000) for n in range(9)]
    found = read(tmp_path, pack(json.dumps(rows, indent=indent, ensure_ascii=False).encode()))
    assert [each.id for each in found] == [f"d{n}" for n in range(9)]
    assert all(isinstance(each, Dialogue) for each in found)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_broken_line_does_not_keep_the_others_back(tmp_path: Path, pack: Any) -> None:
    content = b"\xef\xbb\xbf" + jsonl([plain("a")]) + b"{broken\n\n[1]\n" + jsonl([plain("b")])
    a, broken, array, b = read(tmp_path, pack(content))
    assert (a.id, b.id) == ("a", "b")
    assert isinstance(broken, BadRow)
    assert broken.id == "line 2"
    assert broken.problem.startswith(f"{tmp_path / 'rows.jsonl'}, line 2: it is not valid JSON")
    assert isinstance(array, BadRow)
    assert array.problem.endswith("line 4: it is not a JSON object.")


def test_what_stands_behind_a_broken_record_of_an_array_is_said_to_be_unread(tmp_path: Path) -> None:
    good, bad = read(tmp_path, b"[" + jsonl([plain("a")]) + b", {'id': 3}, {}]")
    assert good.id == "a"
    assert isinstance(bad, BadRow)
    assert "record 2: the array is broken at line 2" in bad.problem


def test_one_object_over_many_lines_is_one_row(tmp_path: Path) -> None:
    [found] = read(tmp_path, json.dumps({"messages": [HELLO]}, indent=2).encode(), "request.json")
    assert isinstance(found, Dialogue)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    [found] = read(tmp_path, b'{"turns": [{"role": "user", "content": "a\\ud83d"}]}')
    assert isinstance(found, Dialogue)
    assert found.messages[0].content == "a?"


def test_a_pipe_gives_each_row_as_it_comes() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        dialogues = read_dialogues(stream)
        pipe.write(jsonl([plain("a")]))
        a = next(dialogues)
        pipe.write(b"3\n")
        bad = next(dialogues)
    assert a.id == "a"
    assert isinstance(bad, BadRow)
    assert bad.problem == "the standard input, line 2: it is not a JSON object."


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "a"}, "there is no list of messages"),
        ({"turns": []}, "`turns` is empty, so there is nothing to moderate."),
        ({"turns": 3}, "there is no list of messages"),
        ({"turns": ["hello"]}, "message 1 is not an object with `role` and `content`."),
        (
            {"turns": [{"role": "wizard", "content": "x"}]},
            "message 1 has the role 'wizard'; it must be one of",
        ),
        (
            {"turns": [{"role": ["user"], "content": "x"}]},
            "message 1 has the role ['user']; it must be one of",
        ),
        ({"turns": [{"role": "user"}]}, "message 1 has a `content` that is neither a text nor a list"),
        ({"turns": [HELLO, {"role": "user", "content": [3]}]}, "message 2, part 1 is neither a text nor an"),
        ({"turns": [{"role": "user", "content": [{"text": "x"}]}]}, "message 1, part 1 has no `type`."),
        (
            {"turns": [{"role": "user", "content": [{"type": "text"}]}]},
            "message 1, part 1 has no text in `text`.",
        ),
        (
            {"turns": [{"role": "user", "content": [{"type": "image_url", "image_url": 3}]}]},
            "message 1, part 1 is an image without a `url`.",
        ),
        (
            {"turns": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:;base64,?"}]}]},
            "message 1, part 1 is an image whose data is not valid base64.",
        ),
        ({"dialogue": "[{'role': 'user'"}, "`dialogue`: the dialogue string is neither JSON nor a Python"),
        (plain("a", image="../../etc/passwd"), "leads out of the benchmark"),
        (plain("a", image="/etc/passwd"), "leads out of the benchmark"),
    ],
)
def test_a_row_without_a_dialogue_says_what_is_wrong(tmp_path: Path, fields: object, said: str) -> None:
    assert said in problem(tmp_path, fields)


def test_a_picture_that_nobody_can_look_at_stays_in_the_dialogue(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    uri = "data:image/png;base64," + base64.b64encode(b"no picture").decode()
    part = {"type": "image_url", "image_url": {"url": uri}}
    assert one(tmp_path, plain("a", image="gone.png")).messages[0].parts[0] == UnknownPart("image_missing")
    assert one(tmp_path, plain("a", image="text.png")).messages[0].parts[0] == UnknownPart("not_an_image")
    sent = {"messages": [{"role": "user", "content": [part]}]}
    assert one(tmp_path, sent).messages[0].parts == (UnknownPart("not_an_image"),)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DialogueError) as caught:
        read(tmp_path, content)
    assert caught.value.code == "no_rows"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl").write_bytes(gzip.compress(jsonl([plain("a")]))[:-9])
    for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / "cut.jsonl"):
        with pytest.raises(DialogueError) as caught:
            list(read_dialogues(path))
        assert caught.value.code == "unreadable_file"


@pytest.mark.skipif(not DATA.is_dir(), reason="the research data are not here")
@pytest.mark.parametrize("name", ["figstep/dialogues.jsonl", "safemt_sample/4_turn.json"])
def test_published_data_are_read_whole(name: str) -> None:
    found = list(read_dialogues(DATA / name))
    assert found
    assert all(isinstance(each, Dialogue) for each in found)
