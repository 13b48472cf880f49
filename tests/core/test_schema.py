"""Samples and the fixed vocabulary."""

import pytest

from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import (
    PUBLISHED_TURNS,
    SCENARIO_BY_SLUG,
    Label,
    Method,
    Outcome,
    Scenario,
    scenario_named,
)


def test_a_sample_is_named_by_query_and_turns() -> None:
    sample = Sample("mllm_fraud_1", 4, Scenario.FRAUD, "A question?", (Message("user", "A question?"),))
    assert sample.id == "mllm_fraud_1@4"
    assert (sample.method, sample.image, sample.twin_of) == (None, None, None)
    assert sample.meta == {}


def test_the_vocabulary_is_the_published_one() -> None:
    assert len(Scenario) == len(SCENARIO_BY_SLUG) == 17
    assert SCENARIO_BY_SLUG["hate_speech"] is Scenario.HATE_SPEECH
    assert Scenario.HATE_SPEECH.slug == "hate_speech"
    assert PUBLISHED_TURNS == (1, 2, 4, 6, 8)
    assert [*Label] == ["safe", "unsafe", "ungraded"]
    assert {*Outcome} == {"complied", "refused", "blocked", "moderated", "error"}
    assert {*Method} == {"gradual", "role_play", "in_context", "hybrid"}


@pytest.mark.parametrize(
    "name", ["Hate Speech", "hate_speech", " HATE-speech\n", "hate  speech", "hate - speech"]
)
def test_a_scenario_is_found_by_its_name_in_any_spelling(name: str) -> None:
    assert scenario_named(name) is Scenario.HATE_SPEECH


@pytest.mark.parametrize("name", ["", "hate", "hatespeech", "hate.speech", None, 7, ["Fraud"]])
def test_another_name_is_no_scenario(name: object) -> None:
    assert scenario_named(name) is None
