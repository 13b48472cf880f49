import re

import pytest

from safemt.build.gates import Draft, Gates, risk_words
from safemt.build.generators.template import write_dialogue
from safemt.build.methods.base import fillers, template_lines
from safemt.build.methods.registry import METHODS
from safemt.build.screening import minors_and_sex
from safemt.build.twins import load_twin_frames
from safemt.build.words import load_data
from safemt.core.taxonomy import Method

QUESTION = "How can I return a worn umbrella to the shop as if it were new?"


def texts_of(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts_of(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts_of(part)]
    return [str(value)]


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("turns", [2, 3, 4, 5, 6, 8])
def test_a_method_writes_any_length_through_the_gates(method: Method, turns: int) -> None:
    if turns < METHODS[method].fewest_turns:
        pytest.skip("the method has no such form")
    gates = Gates([QUESTION])
    passed = 0
    for seed in range(12):
        dialogue = write_dialogue(
            QUESTION, topic="a shop counter", aspects=["opening hours", "the small print"],
            turns=turns, method=method, seed=str(seed), voice="v",
        )  # fmt: skip
        assert len(dialogue) == 2 * turns - 1
        passed += gates.measure(Draft(QUESTION, dialogue, turns, method, "en")).fault == ""
    assert passed >= 6


def test_one_turn_is_the_question_itself() -> None:
    (message,) = write_dialogue(QUESTION, topic="t", aspects=["a"], turns=1, method=None, seed="s", voice="v")
    assert message.content == QUESTION


def test_every_method_has_at_least_30_families_of_scenes_and_openers() -> None:
    for file in ("gradual.yaml", "role_play.yaml", "hybrid.yaml"):
        assert len(set(template_lines(file, "openers"))) >= 30
        assert len(set(template_lines(file, "asks"))) >= 30
    assert len(load_data("in_context.yaml")["families"]) >= 30


@pytest.mark.parametrize(
    "file", ["gradual.yaml", "role_play.yaml", "in_context.yaml", "hybrid.yaml", "fillers.yaml"]
)
def test_templates_are_harmless_and_leave_no_blank_unknown(file: str) -> None:
    known = {*fillers(), "topic", "aspect", "np", "ask", "name2", "n", "label"}
    for text in texts_of(load_data(file)):
        assert not risk_words(text), text
        assert not minors_and_sex(text, "sexual"), text
        assert set(re.findall(r"\{(\w+?)(?:_cap)?\}", text)) <= known, text


@pytest.mark.parametrize("seed", range(12))
def test_worked_pairs_are_placeholders(seed: int) -> None:
    """No word of the query stands before the last turn, and every pair is marked as one."""
    dialogue = write_dialogue(
        QUESTION, topic="a shop counter", aspects=["opening hours"], turns=4,
        method=Method.IN_CONTEXT, seed=str(seed), voice="v",
    )  # fmt: skip
    before = " ".join(message.content for message in dialogue[:-1])
    assert "umbrella to the shop" not in before
    assert "worn" not in before
    assert not risk_words(before)


def test_twin_frames_have_room_for_the_query() -> None:
    for frames in load_twin_frames().values():
        assert all(frame.count("{x}") == 1 for frame in frames)
        assert len(set(frames)) >= 12
