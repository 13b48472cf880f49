"""Whatever comes in or back: a dialogue, a bad row or the defined error, never anything else."""

import io
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.dialogues import user
from safemt.core.errors import DialogueError
from safemt.core.schema import Message
from safemt.endpoints.base import Reply
from safemt.moderation.detectors.guards.guard import read_guard_answer
from safemt.moderation.detectors.guards.moderation_service import read_scores
from safemt.moderation.detectors.guards.template import packaged_templates, read_template
from safemt.moderation.detectors.llm import moderation_request, read_answer
from safemt.moderation.reading.chat import message_of
from safemt.moderation.reading.dialogues import BadRow, Dialogue, read_dialogues

LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
)
NAMES = ("id", "query_id", "turns", "messages", "dialogue", "image", "role", "content", "type", "text")
ROWS = st.dictionaries(
    st.sampled_from((*NAMES, "image_url", "url", "tool_calls", "twin_of")), JSON, max_size=5
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "wizard"]) | JSON},
    optional={"content": st.lists(ROWS | st.text(max_size=4), max_size=3) | JSON, "tool_calls": JSON},
)
REQUEST = moderation_request([(user("hello"), None)])


def read(content: bytes) -> list[Dialogue | BadRow]:
    return list(read_dialogues(io.BufferedReader(io.BytesIO(content))))


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_the_defined_error(content: bytes) -> None:
    try:
        found = read(content)
    except DialogueError:
        return
    assert all(isinstance(each, Dialogue | BadRow) for each in found)


@given(
    st.lists(
        ROWS | st.fixed_dictionaries({"messages": st.lists(MESSAGES, max_size=3)}), min_size=1, max_size=4
    )
)
def test_any_rows_give_one_outcome_each(rows: list[Any]) -> None:
    lines = "".join(json.dumps(each) + "\n" for each in rows).encode()
    array = json.dumps(rows).encode()
    kinds = [type(each) for each in read(lines)]
    assert len(kinds) == len(rows)
    assert [type(each) for each in read(array)] == kinds


@given(MESSAGES | JSON)
def test_any_message_is_one_or_the_defined_error(fields: object) -> None:
    with suppress(DialogueError):
        assert isinstance(message_of(fields), Message)


@given(st.text(max_size=80) | JSON.map(json.dumps))
def test_no_answer_of_a_model_breaks_its_reader_or_passes_by_chance(text: str) -> None:
    assert read_answer(text, REQUEST) is None
    for name in packaged_templates():
        template = read_template(name)
        answer = read_guard_answer(Reply(text=text), template, template.requests[0])
        if name != "shieldgemma":  # whose form is a word that begins a text
            assert answer is None


@given(JSON, st.sampled_from(["risk", "turn_risk", "linkage", "after_each_turn", "scenario"]))
def test_an_answer_is_whole_or_none(value: object, field: str) -> None:
    fields = {"code": REQUEST.code, "risk": 50, "turn_risk": 20, field: value}
    found = read_answer(f"Here it is: {json.dumps(fields)}", REQUEST)
    if found is not None:
        for number in (found.risk, found.turn_risk, found.linkage, *found.earlier):
            assert number is None or 0 <= number <= 1


@given(st.lists(JSON | st.fixed_dictionaries({"category_scores": JSON}), max_size=3))
def test_scores_are_whole_or_none(results: list[Any]) -> None:
    scores = read_scores(json.dumps(results), 1)
    assert scores is None or all(0 <= each <= 1 for each in scores[0].values())


@pytest.mark.parametrize("depth", [10_000, 200_000])
@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_a_bad_row(opening: str, depth: int) -> None:
    [bad] = read(opening.encode() * depth)
    assert isinstance(bad, BadRow)
