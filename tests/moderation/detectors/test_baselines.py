"""What a moderator has to beat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.dialogues import Scripted, picture_from, turns, user
from safemt.core.taxonomy import Action, Scenario
from safemt.moderation.detectors.baselines.always import AlwaysDetector
from safemt.moderation.detectors.baselines.keyword import KeywordDetector, find_phrases
from safemt.moderation.detectors.baselines.turns import (
    COMBINATIONS,
    RHO,
    TurnsDetector,
    last_turn,
    max_turn,
    peak_accumulation,
)
from safemt.moderation.detectors.detector import Assessment
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.policy import read_policies

RISKS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def combined(name: str, *says: Assessment, every_turn: bool = True) -> Moderator:
    detector = TurnsDetector(name=name, turns=Scripted(says))
    return Moderator(detector=detector, policies=read_policies())


def test_each_puts_the_turns_together_in_its_own_way() -> None:
    risks = [0.2, 0.8, 0.6, 0.1]
    assert last_turn(risks) == 0.1
    assert max_turn(risks) == 0.8
    assert peak_accumulation(risks) == pytest.approx(1 - 0.2 * (1 - RHO) ** 0.6)


def test_one_suspicious_turn_among_quiet_ones_gives_its_own_risk() -> None:
    assert peak_accumulation([0.05, 0.7, 0.1]) == pytest.approx(0.7)


@given(RISKS)
def test_accumulation_never_falls_below_the_peak_nor_above_certainty(risks: list[float]) -> None:
    assert max(risks) <= peak_accumulation(risks) + 1e-9
    assert peak_accumulation(risks) <= 1


@given(st.floats(0.01, 0.99), st.integers(1, 10))
def test_persistence_raises_the_risk(risk: float, count: int) -> None:
    assert peak_accumulation([risk] * (count + 1)) > peak_accumulation([risk] * count)


@pytest.mark.parametrize("every_turn", [True, False])
@pytest.mark.parametrize("name", list(COMBINATIONS))
def test_the_trajectory_is_the_combination_of_the_turns_so_far(name: str, *, every_turn: bool) -> None:
    alone = [0.3, 0.9, 0.2]
    moderator = combined(name, *(Assessment(risk=0.5, turn_risk=risk) for risk in alone))
    verdict = moderator.moderate(turns("a", "b", "c"), every_turn=every_turn)
    combine = COMBINATIONS[name]
    assert verdict.trajectory == tuple(combine(alone[:n]) for n in (1, 2, 3))
    assert verdict.turns[-1].turn_risk == 0.2


def test_the_policy_is_that_of_the_turn_that_counts() -> None:
    says = (
        Assessment(risk=0.9, turn_risk=0.9, scenarios={Scenario.FRAUD: 0.9}),
        Assessment(risk=0.9, turn_risk=0.6, scenarios={Scenario.THREAT: 0.9}),
    )
    worst = combined("max-turn", *says).moderate(turns("a", "b"))
    newest = combined("last-turn", *says).moderate(turns("a", "b"))
    assert [policy.id for policy in worst.policies] == ["fraud"]
    assert [policy.id for policy in newest.policies] == ["threat"]


def test_where_no_turn_could_be_scored_there_is_no_risk() -> None:
    verdict = combined("max-turn", Assessment(risk=None)).moderate(turns("a"))
    assert verdict.risk is None


def test_words_are_found_whole_in_any_case_and_with_an_ending() -> None:
    assert find_phrases("They POISONED  the well") == {Scenario.PHYSICAL_HARM: {"poisoned"}}
    assert find_phrases("a skillet and a wrist watch") == {}
    assert find_phrases("pick\na   lock") == {Scenario.ILLEGAL_ACTIVITY: {"pick a lock"}}


def test_keywords_flag_from_the_first_phrase_on_and_do_not_forget() -> None:
    moderator = Moderator(detector=KeywordDetector(), policies=read_policies())
    verdict = moderator.moderate(turns("hello", "a phishing mail, please", "thank you"))
    assert verdict.trajectory == (0.0, 0.6, 0.6)
    assert verdict.turns[-1].turn_risk == 0.0
    assert verdict.scenario is Scenario.FRAUD
    assert moderator.moderate(turns("phishing and ransomware")).risk == pytest.approx(0.8)


def test_keywords_do_not_look_at_pictures_and_say_so() -> None:
    moderator = Moderator(detector=KeywordDetector(), policies=read_policies())
    verdict = moderator.moderate([user(picture_from(b"x"), "hello")])
    assert [each.why for each in verdict.coverage.unscanned] == ["pixels_not_scored"]


@pytest.mark.parametrize("action", [Action.INJECT, Action.BLOCK])
def test_the_policy_is_always_handed_over_and_nothing_is_blocked(action: Action) -> None:
    moderator = Moderator(detector=AlwaysDetector(), policies=read_policies(), action=action)
    verdict = moderator.moderate(turns("hello", "bye"))
    assert verdict.action is Action.INJECT
    assert [policy.id for policy in verdict.policies] == ["baseline"]
    assert verdict.first_alert_turn == 1
