"""Samples and the fixed vocabulary."""

from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import PUBLISHED_TURNS, SCENARIO_BY_SLUG, Label, Method, Outcome, Scenario


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
