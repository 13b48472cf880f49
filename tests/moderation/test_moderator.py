"""From what a detector says to a verdict: thresholds, actions, policies, coverage, failures."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.dialogues import TIMEOUT, Scripted, assistant, picture_from, scripted, turns, user
from safemt.core.errors import DialogueError, ModeratorError, RunStopped
from safemt.core.schema import Message, UnknownPart
from safemt.core.taxonomy import Action, OnError, Scenario
from safemt.core.verdict import Unscanned
from safemt.moderation.detectors.detector import Assessment, Scan

FRAUD = {Scenario.FRAUD: 0.9, Scenario.THREAT: 0.1}


def test_a_conversation_is_flagged_from_the_threshold_on() -> None:
    assert not scripted(0.49).moderate(turns("a")).flagged
    assert scripted(0.5).moderate(turns("a")).flagged
    assert not scripted(0.5, threshold=0.51).moderate(turns("a")).flagged


def test_a_flagged_conversation_gets_the_policies_of_its_scenarios() -> None:
    verdict = scripted(Assessment(risk=0.9, scenarios=FRAUD)).moderate(turns("a"), name="x")
    assert (verdict.id, verdict.action, verdict.scenario) == ("x", Action.INJECT, Scenario.FRAUD)
    assert [policy.id for policy in verdict.policies] == ["fraud"]


def test_without_a_scenario_the_baseline_policy_applies() -> None:
    assert [policy.id for policy in scripted(0.9).moderate(turns("a")).policies] == ["baseline"]


def test_what_is_not_flagged_is_let_through_without_policies() -> None:
    verdict = scripted(Assessment(risk=0.1, scenarios=FRAUD)).moderate(turns("a"))
    assert (verdict.action, verdict.policies, verdict.scenario) == (Action.ALLOW, (), None)


def test_a_turn_that_does_not_serve_the_suspected_intent_is_never_blocked() -> None:
    blocking = {"action": Action.BLOCK}
    for linkage, action in ((None, Action.BLOCK), (0.5, Action.BLOCK), (0.49, Action.INJECT)):
        moderator = scripted(Assessment(risk=0.9, linkage=linkage), **blocking)
        assert moderator.moderate(turns("a")).action is action


@pytest.mark.parametrize(
    ("on_error", "action", "policies"),
    [
        (OnError.INJECT, Action.INJECT, ["baseline"]),
        (OnError.OPEN, Action.ALLOW, []),
        (OnError.CLOSED, Action.BLOCK, []),
    ],
)
def test_a_failed_call_is_a_degraded_verdict_never_a_silent_allow(
    on_error: OnError, action: Action, policies: list[str]
) -> None:
    verdict = scripted(TIMEOUT, on_error=on_error).moderate(turns("a"))
    assert (verdict.risk, verdict.flagged, verdict.action) == (None, False, action)
    assert [policy.id for policy in verdict.policies] == policies
    assert verdict.degraded is not None
    assert (verdict.degraded.cause, verdict.degraded.message) == ("timeout", "no complete reply within 1 s")


ODD = [
    Assessment(risk=1.5),
    Assessment(risk=float("nan")),
    Assessment(risk=0.1, linkage=-1),
    Assessment(risk=0.1, scenarios={Scenario.FRAUD: 7}),
    Assessment(risk=0.1, earlier=[2.0]),
    Assessment(risk="high"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("said", [KeyError("nothing"), AttributeError(), RecursionError(), *ODD])
def test_whatever_goes_wrong_in_a_detector_is_a_degraded_verdict(said: Assessment | Exception) -> None:
    verdict = scripted(said, on_error=OnError.CLOSED).moderate(turns("a"))
    assert (verdict.risk, verdict.flagged, verdict.action) == (None, False, Action.BLOCK)
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "unreadable_verdict"


def test_a_message_that_a_detector_falls_over_degrades_the_rest_of_the_conversation() -> None:
    def scan(message: Message) -> Scan:
        if message.content == "trap":
            raise ZeroDivisionError
        return Scan(text=True)

    moderator = replace(scripted(0.1), detector=Scripted([Assessment(risk=0.1)], scan=scan))
    session = moderator.open()
    assert session.append(user("a")).degraded is None
    session.append(user("trap"))
    verdict = session.append(user("b"))
    assert verdict.degraded is not None
    assert (verdict.degraded.cause, verdict.action) == ("unreadable_verdict", Action.INJECT)
    assert verdict.coverage.unscanned == (Unscanned(message=1, part=0, why="unreadable_verdict"),)
    assert (verdict.coverage.turns_scored, verdict.coverage.turns_total) == (2, 3)


def test_an_error_that_is_not_about_one_conversation_is_raised() -> None:
    for error in (ModeratorError("model_damaged", "The model is damaged."), RunStopped("Stopped.")):
        with pytest.raises(type(error)):
            scripted(error).moderate(turns("a"))


def test_a_flag_outlives_a_fault_unless_faults_block() -> None:
    says = Assessment(risk=0.9, degraded=scripted(TIMEOUT).moderate(turns("a")).degraded)
    assert scripted(says, on_error=OnError.OPEN).moderate(turns("a")).action is Action.INJECT
    assert scripted(says, on_error=OnError.CLOSED).moderate(turns("a")).action is Action.BLOCK


def test_the_trajectory_holds_the_risk_after_each_user_turn() -> None:
    verdict = scripted(0.1, 0.8, TIMEOUT, 0.3).moderate(turns("a", "b", "c", "d"))
    assert verdict.trajectory == (0.1, 0.8, None, 0.3)
    assert verdict.first_alert_turn == 2
    assert not verdict.flagged
    assert verdict.degraded is None


def test_asked_at_the_end_alone_a_detector_may_say_what_it_thought_earlier() -> None:
    moderator = scripted(Assessment(risk=0.9, earlier=(0.2, 0.6)))
    verdict = moderator.moderate(turns("a", "b", "c"), every_turn=False)
    assert verdict.trajectory == (0.2, 0.6, 0.9)
    assert verdict.first_alert_turn == 2
    assert scripted(0.9).moderate(turns("a", "b"), every_turn=False).trajectory == (None, 0.9)


def test_a_second_look_at_the_same_turn_costs_nothing() -> None:
    detector = Scripted([Assessment(risk=0.4, prompt_tokens=7)])
    moderator = scripted(0.0)
    session = type(moderator)(detector=detector, policies=moderator.policies).open()
    first = session.append(user("a"))
    again = asyncio.run(session.averdict())
    assert detector.assessed == 1
    assert (first.prompt_tokens, again.prompt_tokens) == (7, 0)
    assert (first.risk, first.turns) == (again.risk, again.turns)


def test_the_tokens_of_a_dialogue_are_those_of_all_its_turns() -> None:
    moderator = scripted(Assessment(risk=0.4, prompt_tokens=7, completion_tokens=2))
    verdict = moderator.moderate(turns("a", "b", "c"))
    assert (verdict.prompt_tokens, verdict.completion_tokens) == (21, 6)
    assert verdict.milliseconds > 0


@pytest.mark.parametrize("messages", [[], [assistant("hello")], [Message("system", ("be kind",))]])
def test_without_a_user_message_there_is_nothing_to_moderate(messages: list[Message]) -> None:
    with pytest.raises(DialogueError) as caught:
        scripted(0.1).moderate(messages)
    assert caught.value.code == "no_user_message"


def test_a_session_says_so_too_until_the_user_speaks() -> None:
    session = scripted(0.1).open()
    with pytest.raises(DialogueError) as caught:
        session.append(assistant("hello"))
    assert caught.value.code == "no_user_message"
    assert session.append(user("hi")).coverage.turns_total == 1


def test_every_one_of_consecutive_user_turns_counts() -> None:
    verdict = scripted(0.1, 0.9, 0.2).moderate([user("a"), user("b"), user("c")])
    assert verdict.trajectory == (0.1, 0.9, 0.2)


def test_parts_that_nobody_can_look_at_are_in_coverage_and_degrade_the_verdict() -> None:
    messages = [user("hello", UnknownPart("input_audio"))]
    verdict = scripted(0.1).moderate(messages)
    assert verdict.coverage.unscanned == (Unscanned(message=0, part=1, why="input_audio"),)
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "unknown_part"
    assert verdict.action is Action.INJECT
    assert scripted(0.1, on_error=OnError.CLOSED).moderate(messages).action is Action.BLOCK


def test_what_a_tool_brings_in_counts_like_the_users_words_and_an_assistants_does_not() -> None:
    for role, degraded in (("tool", True), ("assistant", False), ("system", False)):
        carrier = Message(role, (UnknownPart("file"),))  # type: ignore[arg-type]
        verdict = scripted(0.1).moderate([carrier, user("a")])
        assert (verdict.degraded is not None) is degraded
        assert [each.why for each in verdict.coverage.unscanned] == ["file"]


def test_what_a_tool_brings_in_has_the_turn_before_it_assessed_again() -> None:
    session = scripted(0.1, 0.9).open()
    assert not session.append(user("look it up")).flagged
    verdict = session.append(Message("tool", ("[something bad]",)))
    assert verdict.trajectory == (0.9,)
    assert session.append(assistant("here it is")).trajectory == (0.9,)


def test_coverage_counts_what_the_detector_looked_at() -> None:
    moderator = scripted(0.1)
    detector = Scripted(
        [Assessment(risk=0.1)],
        scan=lambda m: Scan(
            text=m.content != "skipped", images=0, unscanned={0: "no_ocr"} if m.content == "" else {}
        ),
    )
    moderator = type(moderator)(detector=detector, policies=moderator.policies)
    verdict = moderator.moderate([user("a"), user("skipped"), user(picture_from(b"x"))])
    coverage = verdict.coverage
    assert (coverage.turns_scored, coverage.turns_total) == (2, 3)
    assert (coverage.images_scored, coverage.images_total) == (0, 1)
    assert coverage.unscanned == (Unscanned(message=2, part=0, why="no_ocr"),)


def test_a_thousand_turns_have_a_thousand_risks() -> None:
    verdict = scripted(0.1).moderate(turns(*["a"] * 1000))
    assert len(verdict.trajectory) == 1000


def test_everything_that_decides_a_verdict_is_in_the_identity() -> None:
    identities = [
        scripted(0.1).identity,
        scripted(0.1, threshold=0.4).identity,
        scripted(0.1, action=Action.BLOCK).identity,
        scripted(0.1, on_error=OnError.OPEN).identity,
    ]
    assert all(identities.count(each) == 1 for each in identities)


async def test_the_async_twins_work_inside_a_loop() -> None:
    moderator = scripted(0.7)
    session = moderator.open("x")
    assert (await session.aappend(user("a"))).flagged
    assert moderator.moderate(turns("a")).flagged


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 1))
def test_the_first_alert_is_the_first_turn_at_or_above_the_threshold(risks: list[float], at: float) -> None:
    verdict = scripted(*risks, threshold=at).moderate(turns(*["a"] * len(risks)))
    alerts = [turn for turn, risk in enumerate(risks, 1) if risk >= at]
    assert verdict.first_alert_turn == (alerts[0] if alerts else None)
    assert verdict.flagged == (len(risks) in alerts)
    assert (verdict.action is Action.ALLOW) == (not verdict.flagged)
