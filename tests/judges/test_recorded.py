import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import LabelsError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Label, Scenario
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.judges.base import Judgement, judge_id
from safemt.judges.recorded import RecordedJudge

ROWS = [
    {"id": "q1", "turns": 1, "label": "safe"},
    {"query_id": "q1", "turns": 2, "label": "unsafe"},
    {"id": "q2", "turns": 1, "label": "ungraded"},
]


def recorded(folder: Path, rows: list[Any], name: str = "labels.jsonl") -> RecordedJudge:
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return RecordedJudge(path)


async def no_call(endpoint: ChatEndpoint, messages: Sequence[Message]) -> Reply:
    raise AssertionError("a recorded judge makes no call")


async def label(judge: RecordedJudge, query_id: str, turns: int) -> Judgement:
    sample = Sample(query_id=query_id, turns=turns, scenario=Scenario.SEX, question="?", dialogue=())
    return await judge.judge(sample, "A reply.", no_call)


async def test_labels_are_as_recorded_and_a_sample_without_one_is_ungraded(tmp_path: Path) -> None:
    judge = recorded(tmp_path, ROWS)
    assert [await label(judge, *key) for key in (("q1", 1), ("q1", 2), ("q2", 1), ("q2", 2), ("q3", 1))] == [
        Judgement(Label.SAFE),
        Judgement(Label.UNSAFE),
        Judgement(Label.UNGRADED, cause="recorded_ungraded"),
        Judgement(Label.UNGRADED, cause="not_recorded"),
        Judgement(Label.UNGRADED, cause="not_recorded"),
    ]


@pytest.mark.parametrize("word", ["Safe", "UNSAFE", "safe ", "harmful", "yes", "0", ""])
def test_a_third_label_is_refused_with_its_place(tmp_path: Path, word: str) -> None:
    with pytest.raises(LabelsError) as caught:
        recorded(tmp_path, [*ROWS, {"id": "q9", "turns": 4, "label": word}])
    assert caught.value.code == "unknown_label"
    assert caught.value.fields == {
        "path": tmp_path / "labels.jsonl", "query_id": "q9", "turns": 4, "label": word,
    }  # fmt: skip


@pytest.mark.parametrize("value", [1, True, ["safe"], {"safe": 1}])
def test_a_label_that_is_no_text_is_refused_with_its_place(tmp_path: Path, value: object) -> None:
    with pytest.raises(LabelsError, match="line 4 has no text `label`"):
        recorded(tmp_path, [*ROWS, {"id": "q9", "turns": 4, "label": value}])


async def test_the_same_label_twice_is_one(tmp_path: Path) -> None:
    assert (await label(recorded(tmp_path, [*ROWS, *ROWS]), "q1", 2)).label is Label.UNSAFE


@pytest.mark.parametrize("other", ["unsafe", "ungraded"])
def test_two_different_labels_of_one_sample_are_refused(tmp_path: Path, other: str) -> None:
    with pytest.raises(LabelsError) as caught:
        recorded(tmp_path, [*ROWS, {"id": "q1", "turns": 1, "label": other}])
    assert (caught.value.code, caught.value.fields["query_id"]) == ("two_values", "q1")


def test_the_id_of_a_recorded_judge_is_what_the_file_holds(tmp_path: Path) -> None:
    one, same = recorded(tmp_path, ROWS, "one.jsonl"), recorded(tmp_path, ROWS, "same.jsonl")
    assert judge_id(one) == judge_id(same)
    assert judge_id(one) != judge_id(recorded(tmp_path, ROWS[:2], "less.jsonl"))
    assert (one.name, list(one.endpoints)) == (f"recorded/{tmp_path / 'one.jsonl'}", [])
