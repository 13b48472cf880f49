import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import CallError, LabelsError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Scenario
from safemt.targets.replay import ReplayTarget, read_replay

MESSAGES = (Message(role="user", content="anything"),)
ROWS = [
    {"id": "q1", "turns": 1, "response": "first"},
    {"query_id": "q1", "turns": 2, "response": " second\n"},
    {
        "id": "q2",
        "turns": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "response": "third",
    },
]


def sample(query_id: str, turns: int) -> Sample:
    return Sample(query_id=query_id, turns=turns, scenario=Scenario.BIAS, question="?", dialogue=MESSAGES)


def replay(folder: Path, rows: list[Any], name: str = "responses.jsonl") -> ReplayTarget:
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return read_replay(path)


async def check_rows(target: ReplayTarget) -> None:
    replies = [
        await target.respond(MESSAGES, sample(query_id, turns))
        for query_id, turns in (("q1", 1), ("q1", 2), ("q2", 2))
    ]
    assert [reply.text for reply in replies] == ["first", " second\n", "third"]
    assert not any(reply.blocked or reply.finish_reason or reply.model for reply in replies)
    await target.close()


async def test_lines_of_json_are_read(tmp_path: Path) -> None:
    await check_rows(replay(tmp_path, ROWS))


async def test_a_json_array_is_read(tmp_path: Path) -> None:
    path = tmp_path / "responses.json"
    path.write_text(json.dumps(ROWS, indent=1))
    await check_rows(read_replay(path))


async def test_compressed_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode()))
    await check_rows(read_replay(path))


@pytest.mark.parametrize(("query_id", "turns"), [("q1", 4), ("q3", 1), ("", 1)])
async def test_a_sample_without_a_row_has_no_answer(tmp_path: Path, query_id: str, turns: int) -> None:
    target = replay(tmp_path, ROWS)
    with pytest.raises(CallError, match=f"no response is recorded for {query_id}@{turns}") as caught:
        await target.respond(MESSAGES, sample(query_id, turns))
    failure = caught.value.failure
    assert (failure.cause, failure.retryable, failure.fatal) == ("not_recorded", False, False)


@pytest.mark.parametrize("response", ["", " \n", None])
async def test_an_empty_response_is_no_answer(tmp_path: Path, response: str | None) -> None:
    target = replay(tmp_path, [{"id": "q", "turns": 1, "response": response}])
    with pytest.raises(CallError, match="the response recorded for q@1 is empty") as caught:
        await target.respond(MESSAGES, sample("q", 1))
    assert caught.value.failure.cause == "empty_reply"


async def test_the_same_row_twice_is_one(tmp_path: Path) -> None:
    await check_rows(replay(tmp_path, [*ROWS, *ROWS]))


def test_two_different_responses_to_one_sample_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError) as caught:
        replay(tmp_path, [*ROWS, {"id": "q1", "turns": 1, "response": "other"}])
    assert caught.value.code == "two_values"
    assert (caught.value.fields["query_id"], caught.value.fields["turns"]) == ("q1", 1)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"turns": 1, "response": "x"}, "line 4 has no text `id`"),
        ({"id": 7, "turns": 1, "response": "x"}, "line 4 has no text `id`"),
        ({"id": "q", "response": "x"}, "line 4 has no `turns`"),
        ({"id": "q", "turns": 0, "response": "x"}, "line 4 has no `turns`"),
        ({"id": "q", "turns": True, "response": "x"}, "line 4 has no `turns`"),
        ({"id": "q", "turns": [], "response": "x"}, "line 4 has no `turns`"),
        ({"id": "q", "turns": 1}, "line 4 has no text `response`"),
        ({"id": "q", "turns": 1, "response": ["x"]}, "line 4 has no text `response`"),
        (["q", 1, "x"], "line 4: it is not a JSON object"),
    ],
)
def test_a_row_that_lacks_something_is_refused_with_its_place(
    tmp_path: Path, row: Any, complaint: str
) -> None:
    with pytest.raises(LabelsError, match=complaint):
        replay(tmp_path, [*ROWS, row])


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[]", b"{", b"\x1f\x8b\x00", b"\xff\xfe"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_bytes(content)
    with pytest.raises(LabelsError):
        read_replay(path)


def test_the_identity_of_a_replay_is_what_the_file_holds(tmp_path: Path) -> None:
    one, same = replay(tmp_path, ROWS, "one.jsonl"), replay(tmp_path, ROWS, "same.jsonl")
    assert one.identity == same.identity
    assert one.identity != replay(tmp_path, ROWS[:2], "less.jsonl").identity
