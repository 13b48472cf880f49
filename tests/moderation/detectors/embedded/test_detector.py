"""The detector behind a real moderator's session, with the model that ships."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderation.dialogues import picture_from
from safemt.core.errors import DialogueError
from safemt.core.identity import content_key
from safemt.core.schema import Message, Part, Role, UnknownPart
from safemt.core.taxonomy import Action, OnError, Scenario
from safemt.core.verdict import Unscanned, Verdict, verdict_json
from safemt.moderation.detectors.embedded.detector import EmbeddedDetector
from safemt.moderation.detectors.embedded.reading import read_turn
from safemt.moderation.detectors.embedded.windows import turn_windows
from safemt.moderation.moderator import Moderator

NewModerator = Callable[..., Moderator]
GARDEN = "How should one water the garden in a hot summer?"
SNAILS = "And what is there to do about snails in the lettuce?"


def user(*parts: Part) -> Message:
    return Message("user", parts)


def said(role: Role, text: str) -> Message:
    return Message(role, (text,))


def risks(verdict: Verdict) -> list[tuple[float | None, float | None, float | None]]:
    return [(turn.risk, turn.turn_risk, turn.linkage) for turn in verdict.turns]


def test_a_verdict_says_everything_and_all_of_it_is_in_range(new_moderator: NewModerator) -> None:
    verdict = new_moderator().moderate([user(GARDEN), said("assistant", "In the evening."), user(SNAILS)])
    assert verdict.moderator == "embedded"
    assert len(verdict.turns) == 2
    assert all(value is not None and 0 <= value <= 1 for turn in risks(verdict) for value in turn)
    assert set(verdict.scenarios) == set(Scenario)
    assert all(0 <= score <= 1 for score in verdict.scenarios.values())
    assert verdict.coverage.turns_scored == verdict.coverage.turns_total == 2
    assert verdict.degraded is None
    assert verdict_json(verdict)["trajectory"] == [round(risk or 0, 6) for risk in verdict.trajectory]


def test_a_session_and_a_whole_dialogue_agree(new_moderator: NewModerator) -> None:
    dialogue = [user(GARDEN), said("assistant", "In the evening."), user(SNAILS), user("Thank you!")]
    session = new_moderator().open()
    step_by_step = [session.append(message) for message in dialogue][-1]
    assert risks(step_by_step) == risks(new_moderator().moderate(dialogue))


def test_what_was_read_before_in_other_conversations_changes_nothing(
    new_moderator: NewModerator, detector: EmbeddedDetector
) -> None:
    detector.model.encoder.forget()
    fresh = new_moderator().moderate([user(GARDEN), user(SNAILS)])
    new_moderator().moderate([user(SNAILS), user("Something else."), user(GARDEN * 40)])
    assert risks(new_moderator().moderate([user(GARDEN), user(SNAILS)])) == risks(fresh)


@given(role=st.sampled_from(["assistant", "system", "tool"]), text=st.text(max_size=50))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_only_the_users_messages_count(new_moderator: NewModerator, role: Role, text: str) -> None:
    forged = [said(role, text), user(GARDEN), said(role, text), user(SNAILS), said(role, text)]
    assert risks(new_moderator().moderate(forged)) == risks(
        new_moderator().moderate([user(GARDEN), user(SNAILS)])
    )


def test_the_order_of_turns_matters(new_moderator: NewModerator) -> None:
    one = new_moderator().moderate([user(GARDEN), user(SNAILS)])
    other = new_moderator().moderate([user(SNAILS), user(GARDEN)])
    assert one.risk != other.risk


@pytest.mark.parametrize(
    "dialogue", [[], [said("assistant", "Hello!")], [said("system", "Be kind."), said("assistant", "Hello!")]]
)
def test_a_dialogue_without_a_user_is_refused(new_moderator: NewModerator, dialogue: list[Message]) -> None:
    with pytest.raises(DialogueError, match="no user message"):
        new_moderator().moderate(dialogue)


def test_each_of_two_user_turns_in_a_row_is_scored(new_moderator: NewModerator) -> None:
    verdict = new_moderator().moderate([user(GARDEN), user(SNAILS)])
    assert verdict.coverage.turns_scored == 2
    assert None not in verdict.trajectory


def test_a_turn_costs_the_same_at_any_place(new_moderator: NewModerator, detector: EmbeddedDetector) -> None:
    encoder = detector.model.encoder
    session = new_moderator().open()
    encoded = []
    for turn in range(50):
        before = encoder.encoded
        session.append(user(f"Bed number {turn} of the garden: what should grow there next year?"))
        encoded.append(encoder.encoded - before)
    assert encoded[0] <= 2
    assert set(encoded[1:]) == {2}


def test_a_thousand_turns_are_all_scored(new_moderator: NewModerator) -> None:
    verdict = new_moderator().moderate([user(GARDEN), user(SNAILS)] * 500)
    assert len(verdict.turns) == verdict.coverage.turns_scored == 1000
    assert None not in verdict.trajectory


def test_the_worst_view_of_a_turn_counts(detector: EmbeddedDetector) -> None:
    def worst(text: str) -> float:
        return float(read_turn(detector.model, [text], []).features[0])

    hidden = base64.b64encode(SNAILS.encode()).decode()
    assert worst(f"{hidden}") >= worst(SNAILS)
    assert worst("Wh\u200bat \u0430b\u043eut the s-n-a-i-l-s?") >= worst("What about the snails?")


def test_a_long_turn_is_read_in_windows_and_not_cut(detector: EmbeddedDetector) -> None:
    text = " ".join(f"Bed number {number} lies behind the house." for number in range(200))
    tokens = detector.model.tokenizer.tokens(text)
    encoder = detector.model.encoder
    encoder.forget()
    before = encoder.encoded
    reading = read_turn(detector.model, [text], [])
    assert reading.whole
    assert encoder.encoded - before == len(turn_windows(tokens)) + 1 > 10
    assert {token for window in turn_windows(tokens) for token in window} >= set(tokens)


@pytest.mark.parametrize(
    "text",
    [GARDEN * 110_000, "x" * 5_000_000, "今天天气怎么样" * 30_000, "a\u0336" * 1_000_000, "%61" * 300_000],
    ids=["words", "one word", "ideographs", "marks", "escapes"],
)
def test_a_turn_that_is_too_long_says_so_and_is_not_allowed_in_silence(
    new_moderator: NewModerator, detector: EmbeddedDetector, text: str
) -> None:
    before = detector.model.encoder.encoded
    verdict = new_moderator().moderate([user(text)])
    assert detector.model.encoder.encoded - before <= 64 + 21
    assert verdict.risk is not None
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "turn_too_long"
    assert verdict.coverage.unscanned == (Unscanned(message=0, part=0, why="turn_too_long"),)
    assert verdict.action is Action.INJECT
    assert new_moderator(on_error=OnError.CLOSED).moderate([user(text)]).action is Action.BLOCK


def test_a_message_of_unknown_parts_is_not_allowed_in_silence(new_moderator: NewModerator) -> None:
    verdict = new_moderator().moderate([user(UnknownPart("audio"))])
    assert verdict.risk is None
    assert not verdict.flagged
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "unknown_part"
    assert verdict.action is Action.INJECT
    assert verdict.coverage.unscanned == (Unscanned(message=0, part=0, why="audio"),)


def test_a_message_of_which_nothing_is_read_is_not_allowed_in_silence(new_moderator: NewModerator) -> None:
    verdict = new_moderator().moderate([user(picture_from(b"whatever"))])
    assert verdict.risk is None
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "nothing_read"
    assert verdict.action is Action.INJECT


def test_what_is_not_read_beside_text_is_reported(new_moderator: NewModerator) -> None:
    verdict = new_moderator().moderate(
        [
            user(GARDEN, UnknownPart("file")),
            Message("assistant", ("Look!", picture_from(b""))),
            Message("tool", (UnknownPart("audio"), "A page of the net", picture_from(b""))),
        ]
    )
    assert verdict.risk == new_moderator().moderate([user(GARDEN)]).risk
    assert [(each.message, each.part, each.why) for each in verdict.coverage.unscanned] == [
        (0, 1, "file"),
        (1, 1, "not_from_user"),
        (2, 0, "audio"),
        (2, 1, "not_from_user"),
        (2, 2, "not_from_user"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "夏天应该怎样给花园浇水 请告诉我最好的办法",
        "\u041a\u0430\u043a \u043f\u043e\u043b\u0438\u0432\u0430\u0442\u044c \u0441\u0430\u0434?",
    ],
)
def test_a_script_that_is_not_read_is_not_allowed_in_silence(new_moderator: NewModerator, text: str) -> None:
    verdict = new_moderator().moderate([user(text)])
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "script_not_read"
    assert verdict.coverage.turns_scored == 0
    assert verdict.coverage.unscanned == (Unscanned(message=0, part=0, why="script_not_read"),)
    assert verdict.action is Action.INJECT


@pytest.mark.parametrize(
    "text", ["Où est le jardin, s'il vous plaît ?", "Đây là khu vườn của tôi.", "2 + 2 = 4 ✓", "好"]
)
def test_latin_letters_and_next_to_none_are_no_reason_to_doubt(
    new_moderator: NewModerator, text: str
) -> None:
    assert new_moderator().moderate([user(text)]).degraded is None


def test_letters_of_another_script_in_the_place_of_latin_ones_are_read(new_moderator: NewModerator) -> None:
    disguised = GARDEN.replace("o", "\u043e").replace("a", "\u0430").replace("e", "\u0435")
    assert new_moderator().moderate([user(disguised)]).degraded is None


def test_an_empty_message_leaves_the_conversation_as_it_stands(new_moderator: NewModerator) -> None:
    session = new_moderator().open()
    before = session.append(user(GARDEN))
    after = session.append(user(" \n"))
    assert after.risk == before.risk
    assert after.turns[1].turn_risk is None
    assert risks(new_moderator().moderate([user(""), user(GARDEN)]))[1] == risks(before)[0]


def test_a_picture_without_a_reader_is_reported_and_not_counted(new_moderator: NewModerator) -> None:
    verdict = new_moderator().moderate([user(picture_from(b"whatever"), GARDEN)])
    assert verdict.coverage.images_total == 1
    assert verdict.coverage.images_scored == 0
    assert verdict.coverage.unscanned == (Unscanned(message=0, part=0, why="no_ocr"),)
    assert verdict.degraded is None


def test_the_identity_is_that_of_the_files(detector: EmbeddedDetector) -> None:
    assert content_key(detector.identity) == content_key(EmbeddedDetector.load(pictures=False).identity)
    assert set(detector.model.sha256) == {"encoder.onnx", "tokenizer.json", "head.npz", "model.json"}
    assert detector.endpoints == ()
    assert 0 < detector.threshold < 1
