"""The moderations endpoint, against a real server that speaks its form."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.command import png
from moderation.dialogues import assistant, opened, picture_from, turns, user
from moderation.model_server import Answer, Body, serve
from safemt.core.errors import ModeratorError
from safemt.core.schema import Message
from safemt.core.taxonomy import Action, Scenario
from safemt.core.verdict import Verdict
from safemt.moderation.detectors.guards.moderation_service import OVERLAP, WINDOW, windows
from safemt.moderation.detectors.guards.template import UNSAFE_TEXTS

MARK = "[marked as bad]"
NAME = "guard/openai-moderation"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def score(text: str) -> float:
    return 0.9 if any(part in text for part in (*UNSAFE_TEXTS, MARK)) else 0.02


def service(body: Body) -> tuple[int, object]:
    """One result for a list of parts, one each for a list of texts."""
    given = body["input"]
    if isinstance(given[0], dict):
        given = [" ".join(part.get("text", "") for part in given)]
    results = [
        {"category_scores": {"illicit": score(text), "hate": 0.01, "sexual/minors": None}} for text in given
    ]
    return 200, {"id": "x", "model": "m", "results": results}


def moderate(
    answer: Answer, dialogue: Sequence[Message], **options: Any
) -> tuple[Verdict, list[Body], list[str]]:
    with serve(answer) as server:
        with opened(NAME, server.base_url) as moderator:
            moderator.moderate([user("hello")])
            server.requests.clear()
            verdict = moderator.moderate(dialogue, **options)
        return verdict, server.bodies, [path for path, _ in server.requests]


def test_the_worst_turn_counts_and_each_is_scored_once() -> None:
    verdict, bodies, paths = moderate(service, turns("a", MARK, "c"))
    assert verdict.trajectory == (0.02, 0.9, 0.9)
    assert verdict.turns[-1].turn_risk == 0.02
    assert verdict.scenario is Scenario.ILLEGAL_ACTIVITY
    assert [body["input"] for body in bodies] == [["a"], [MARK], ["c"]]
    assert set(paths) == {"/v1/moderations"}
    assert bodies[0]["model"] == "omni-moderation-latest"


def test_at_the_end_all_turns_go_in_one_request() -> None:
    verdict, bodies, _ = moderate(service, turns("a", MARK, "c"), every_turn=False)
    assert [body["input"] for body in bodies] == [["a", MARK, "c"]]
    assert verdict.trajectory == (0.02, 0.9, 0.9)


def test_a_picture_goes_with_its_turn() -> None:
    dialogue = [user("a"), assistant("ok"), user(picture_from(png(1)), MARK), user(picture_from(png(2)))]
    verdict, bodies, _ = moderate(service, dialogue, every_turn=False)
    kinds = [[part if isinstance(part, str) else part["type"] for part in body["input"]] for body in bodies]
    assert kinds == [["image_url", "text"], ["a", ""]]
    assert verdict.coverage.images_scored == 1
    assert [each.why for each in verdict.coverage.unscanned] == ["one_picture_per_turn"]
    assert verdict.risk == 0.9


def test_what_a_tool_brought_in_is_scored_with_its_turn() -> None:
    dialogue = [user("a"), Message("tool", (MARK,)), assistant("ok"), user("c")]
    verdict, _, _ = moderate(service, dialogue, every_turn=False)
    assert verdict.trajectory == (0.9, 0.9)
    assert verdict.turns[-1].turn_risk == 0.02


def test_the_end_of_a_long_turn_is_scored_too() -> None:
    verdict, bodies, _ = moderate(service, [user("a " * 200_000 + MARK)])
    assert verdict.risk == 0.9
    assert len(bodies) > 1


@given(st.integers(0, 5 * WINDOW))
def test_windows_cover_a_text_and_overlap(length: int) -> None:
    text = "".join(chr(97 + n % 26) for n in range(length))
    pieces = windows(text)
    assert all(len(piece) <= WINDOW for piece in pieces)
    assert pieces[0] + "".join(piece[OVERLAP:] for piece in pieces[1:]) == text


@pytest.mark.parametrize(
    "results",
    [
        *(None, [], "all fine", [{"flagged": False}], [{"category_scores": {}}]),
        *([{"category_scores": {"hate": score}}] for score in ("0", 7, -0.1, True)),
        [{"category_scores": {"hate": 0.1}}] * 2,
    ],
)
def test_an_answer_in_another_form_is_degraded_and_never_a_silent_allow(results: object) -> None:
    def sick(body: Body) -> tuple[int, object]:
        return (200, {"results": results}) if body["input"] == ["sick"] else service(body)

    verdict, _, _ = moderate(sick, turns("sick"))
    assert (verdict.risk, verdict.action) == (None, Action.INJECT)
    assert verdict.degraded is not None
    assert verdict.degraded.cause in ("unreadable_verdict", "bad_reply")


def test_a_failed_turn_is_asked_about_again_and_the_others_stand() -> None:
    failures = [0]

    def flaky(body: Body) -> tuple[int, object]:
        if "b" in body["input"] and not failures[0]:
            failures[0] = 1
            return 500, {"error": {"message": "broken"}}
        return service(body)

    with serve(flaky) as server, opened(NAME, server.base_url) as moderator:
        session = moderator.open()
        session.append(user(MARK))
        second = session.append(user("b"))
        third = session.append(user("c"))
    assert second.degraded is not None
    assert (second.degraded.cause, second.risk) == ("http_500", 0.9)
    assert third.degraded is None
    assert third.turns[-1].turn_risk == 0.02


def test_a_service_that_scores_everything_alike_is_stopped() -> None:
    def dead(body: Body) -> tuple[int, object]:
        return 200, {"results": [{"category_scores": {"hate": 0.0}} for _ in body["input"]]}

    with (
        serve(dead) as server,
        opened(NAME, server.base_url) as moderator,
        pytest.raises(ModeratorError) as caught,
    ):
        moderator.moderate(turns("hello"))
    assert caught.value.code == "canary_failed"
