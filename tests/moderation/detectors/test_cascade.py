"""A cheap detector, and an expensive one for what it is unsure about."""

import pytest

from moderation.dialogues import TIMEOUT, Scripted, scripted, turns
from safemt.core.taxonomy import Action, OnError, Scenario
from safemt.core.verdict import Verdict
from safemt.moderation.detectors.cascade import Band, CascadeDetector
from safemt.moderation.detectors.detector import Assessment
from safemt.moderation.moderator import Moderator
from safemt.moderation.policies.policy import read_policies

BAND = Band(0.3, 0.7)
Said = Assessment | Exception


def cascade(first: Said, *second: Said, at: float = 0.5, second_at: float = 0.5) -> CascadeDetector:
    return CascadeDetector(
        Scripted([first], threshold=at), Scripted(second or [TIMEOUT], threshold=second_at, name="dear"), BAND
    )


def moderate(detector: CascadeDetector, on_error: OnError = OnError.INJECT) -> Verdict:
    moderator = Moderator(detector=detector, policies=read_policies(), on_error=on_error)
    return moderator.moderate(turns("a"))


@pytest.mark.parametrize(("risk", "asked"), [(0.0, 0), (0.29, 0), (0.3, 1), (0.69, 1), (0.7, 0), (1.0, 0)])
def test_only_what_is_uncertain_is_sent_on(risk: float, asked: int) -> None:
    detector = cascade(Assessment(risk=risk), Assessment(risk=0.9))
    verdict = moderate(detector)
    assert detector.shares.sent_on == asked
    assert verdict.risk == (pytest.approx(0.9) if asked else risk)
    assert verdict.degraded is None


def test_what_the_first_could_not_score_is_sent_on() -> None:
    verdict = moderate(cascade(Assessment(risk=None), Assessment(risk=0.2)))
    assert verdict.risk == pytest.approx(0.2)


def test_the_seconds_word_counts_where_it_has_one() -> None:
    first = Assessment(risk=0.4, linkage=0.9, turn_risk=0.1, scenarios={Scenario.BIAS: 0.8})
    second = Assessment(risk=0.9, linkage=0.2, scenarios={Scenario.FRAUD: 1.0}, prompt_tokens=7)
    verdict = moderate(cascade(first, second))
    assert (verdict.scenario, verdict.prompt_tokens) == (Scenario.FRAUD, 7)
    assert (verdict.turns[0].linkage, verdict.turns[0].turn_risk) == (0.2, 0.1)


@pytest.mark.parametrize("second", [TIMEOUT, Assessment(risk=None, degraded=None)])
def test_where_the_second_fails_the_firsts_word_stands(second: Said) -> None:
    detector = cascade(Assessment(risk=0.6), second)
    verdict = moderate(detector)
    assert (verdict.risk, verdict.flagged) == (0.6, True)
    assert detector.shares.failed == 1
    if second is TIMEOUT:
        assert verdict.degraded is not None
        assert verdict.degraded.cause == "timeout"
        assert moderate(detector, OnError.CLOSED).action is Action.BLOCK


def test_where_the_first_fails_the_second_is_asked_and_the_verdict_is_degraded() -> None:
    for second, risk in ((Assessment(risk=0.9), 0.9), (Assessment(risk=None), None), (KeyError(), None)):
        verdict = moderate(cascade(KeyError("a"), second))
        assert verdict.risk == (risk if risk is None else pytest.approx(risk))
        assert verdict.degraded is not None
        assert verdict.degraded.cause == "unreadable_verdict"


def test_one_threshold_holds_for_both() -> None:
    for second_risk, flagged in ((0.79, False), (0.8, True), (1.0, True)):
        detector = cascade(Assessment(risk=0.4), Assessment(risk=second_risk), at=0.2, second_at=0.8)
        verdict = moderate(detector)
        assert verdict.threshold == 0.2
        assert verdict.flagged is flagged


def test_its_share_and_what_it_cost_are_counted() -> None:
    says = [Assessment(risk=risk) for risk in (0.1, 0.5, 0.9, 0.4)]
    second = Scripted([Assessment(risk=0.1, prompt_tokens=10, completion_tokens=1)])
    detector = CascadeDetector(Scripted(says), second, BAND)
    moderator = Moderator(detector=detector, policies=scripted(0.1).policies)
    moderator.moderate(turns("a", "b", "c", "d"))
    shares = detector.shares
    assert (shares.assessed, shares.sent_on, shares.share) == (4, 2, 0.5)
    assert (shares.prompt_tokens, shares.completion_tokens) == (20, 2)


def test_the_identity_holds_both_and_the_band() -> None:
    one, other = cascade(Assessment(risk=0.1)), cascade(Assessment(risk=0.1))
    assert one.identity == other.identity
    assert one.identity != CascadeDetector(one.first, one.second, Band(0.3, 0.8)).identity
    assert one.name == "cascade:scripted,dear"
