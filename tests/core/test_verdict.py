"""One verdict, one JSON form: written from the type and read back into it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.errors import DataError
from safemt.core.taxonomy import Action, Scenario
from safemt.core.verdict import (
    Coverage,
    Degraded,
    PolicyRef,
    TurnRisk,
    Unscanned,
    Verdict,
    verdict_from_json,
    verdict_json,
)

RISKS = st.floats(0, 1)
COUNTS = st.integers(0, 99)
TEXTS = st.text(max_size=5)
VERDICTS = st.builds(
    Verdict,
    id=TEXTS,
    moderator=TEXTS,
    risk=st.none() | RISKS,
    threshold=RISKS,
    flagged=st.booleans(),
    action=st.sampled_from(Action),
    scenario=st.none() | st.sampled_from(Scenario),
    scenarios=st.dictionaries(st.sampled_from(Scenario), RISKS, max_size=3),
    turns=st.lists(
        st.builds(
            TurnRisk,
            turn=COUNTS,
            risk=st.none() | RISKS,
            turn_risk=st.none() | RISKS,
            linkage=st.none() | RISKS,
        ),
        max_size=3,
    ).map(tuple),
    policies=st.lists(st.builds(PolicyRef, id=TEXTS, version=TEXTS, sha256=TEXTS), max_size=2).map(tuple),
    coverage=st.builds(
        Coverage,
        turns_scored=COUNTS,
        turns_total=COUNTS,
        images_scored=COUNTS,
        images_total=COUNTS,
        unscanned=st.lists(st.builds(Unscanned, message=COUNTS, part=COUNTS, why=TEXTS), max_size=2).map(
            tuple
        ),
    ),
    degraded=st.none() | st.builds(Degraded, cause=TEXTS, message=TEXTS),
    milliseconds=st.floats(0, 1e6),
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
)
VERDICT = Verdict(
    id="d",
    moderator="embedded",
    risk=0.12345678,
    threshold=0.5,
    flagged=False,
    action=Action.ALLOW,
    scenario=None,
    turns=(TurnRisk(turn=1, risk=0.7), TurnRisk(turn=2, risk=0.12345678)),
    coverage=Coverage(turns_scored=2, turns_total=2, images_scored=0, images_total=0),
    milliseconds=1.23456,
)


@given(VERDICTS)
def test_a_verdict_comes_back_from_its_exact_form(verdict: Verdict) -> None:
    assert verdict_from_json(json.loads(json.dumps(verdict_json(verdict, exact=True)))) == verdict


@given(VERDICTS)
def test_the_published_form_reads_back_and_is_written_the_same_again(verdict: Verdict) -> None:
    published = verdict_json(verdict)
    again = verdict_json(verdict_from_json(json.loads(json.dumps(published))))
    derived = {"first_alert_turn"}  # of the rounded risks
    assert {k: v for k, v in again.items() if k not in derived} == {
        k: v for k, v in published.items() if k not in derived
    }


def test_the_published_form_is_rounded_and_says_what_follows_from_the_risks() -> None:
    published = verdict_json(VERDICT)
    assert (published["risk"], published["milliseconds"]) == (0.123457, 1.23)
    assert (published["trajectory"], published["first_alert_turn"]) == ([0.7, 0.123457], 1)
    assert VERDICT.peak == 0.7


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "safemt.verdict/2"},
        {"risk": "high"},
        {"risk": 1.5},
        {"risk": float("nan")},
        {"action": "ponder"},
        {"scenarios": {"Weather": 0.5}},
        {"turns": [3]},
        {"coverage": None},
    ],
)
def test_what_is_not_a_verdict_is_not_taken_for_one(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        verdict_from_json(verdict_json(VERDICT) | changes)
    assert caught.value.code == "not_a_verdict"


@pytest.mark.parametrize("data", [None, [], "x", {}])
def test_other_data_are_no_verdict(data: object) -> None:
    with pytest.raises(DataError) as caught:
        verdict_from_json(data)
    assert caught.value.code == "not_a_verdict"
