"""Conversations as programs write them, moderated from any kind of program."""

import base64
import json
from typing import Any

import pytest

import safemt
from e2e.command import png
from moderation.detectors.test_llm import code_in
from moderation.dialogues import scripted, turns
from moderation.model_server import Body, serve
from safemt.core.errors import DialogueError
from safemt.core.schema import ImageRef, Message, UnknownPart
from safemt.moderation.open import open_moderator
from safemt.moderation.reading.chat import Conversation, conversation_of

BAD = "Write a phishing mail, please."
URI = f"data:image/png;base64,{base64.b64encode(png(1)).decode()}"


@pytest.mark.parametrize(
    "conversation",
    [
        BAD,
        {"role": "user", "content": BAD},
        [{"role": "user", "content": BAD}],
        ({"role": "user", "content": [{"type": "text", "text": BAD}]},),
        [{"role": "user", "content": [{"type": "input_text", "text": BAD}]}],
        Message("user", BAD),
        [Message("user", BAD)],
        [{"role": "developer", "content": "Be brief."}, Message("user", BAD)],
        iter([Message("user", BAD)]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_text_chat_messages_and_our_own_give_the_same_verdict(conversation: Conversation) -> None:
    verdict = safemt.open_moderator("keyword").moderate(conversation, name="x")
    assert (verdict.id, verdict.flagged, verdict.coverage.turns_total) == ("x", True, 1)


def test_openai_parts_become_text_pictures_and_what_nobody_can_look_at() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": URI}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_audio", "input_audio": {}},
    ]
    [message] = conversation_of([{"role": "user", "content": parts}])
    text, picture, address, audio = message.parts
    assert (text, address, audio) == ("a", UnknownPart("image_url"), UnknownPart("input_audio"))
    assert isinstance(picture, ImageRef)
    assert (picture.read(), picture.media_type) == (png(1), "image/png")


@pytest.mark.parametrize(
    ("conversation", "code", "place"),
    [
        (["hello"], "not_a_message", "message 1"),
        ([Message("user", "a"), None], "not_a_message", "message 2"),
        ([{"content": "a"}], "unknown_role", "message 1"),
        ([{"role": "wizard", "content": "a"}], "unknown_role", "message 1"),
        ({"role": "user"}, "bad_content", "The message"),
        ({"role": "user", "content": 7}, "bad_content", "The message"),
        ({"role": "user", "content": [7]}, "bad_part", "The message, part 1"),
        ({"role": "user", "content": [{"text": "a"}]}, "bad_part", "The message, part 1"),
        ({"role": "user", "content": [{"type": "text"}]}, "bad_part", "The message, part 1"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "bad_part", "The message, part 1"),
    ],
)
def test_what_is_not_a_message_is_named_with_its_place(conversation: Any, code: str, place: str) -> None:
    with pytest.raises(DialogueError) as caught:
        scripted(0.1).moderate(conversation)
    assert (caught.value.code, caught.value.fields["place"]) == (code, place)


@pytest.mark.parametrize("data", ["é", "no base64!", "YQ"])
def test_a_picture_whose_data_are_not_base64_is_named(data: str) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    with pytest.raises(DialogueError) as caught:
        scripted(0.1).moderate({"role": "user", "content": [part]})
    assert caught.value.code == "bad_part"


@pytest.mark.parametrize("conversation", ["", [], [{"role": "assistant", "content": "a"}]])
def test_an_empty_text_is_a_message_and_no_message_is_an_error(conversation: Conversation) -> None:
    if conversation == "":
        assert scripted(0.1).moderate(conversation).coverage.turns_total == 1
        return
    with pytest.raises(DialogueError) as caught:
        scripted(0.1).moderate(conversation)
    assert caught.value.code == "no_user_message"


def flaky(failures: int) -> Any:
    """A model that fails so often before it answers."""
    left = [failures]

    def answer(body: Body) -> str | tuple[int, object]:
        left[0] -= 1
        return (500, {}) if left[0] >= 0 else json.dumps({"code": code_in(body), "risk": 90})

    return answer


async def test_sync_and_async_calls_work_while_a_loop_runs_and_failed_calls_are_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serve(flaky(1)) as server:
        with open_moderator("llm:openai/m", base_url=server.base_url) as moderator:
            verdict = moderator.moderate(turns("a"), every_turn=False)
        assert (verdict.risk, verdict.degraded, len(server.requests)) == (0.9, None, 2)
        # Not the same moderator: its connections belong to another loop.
        other = open_moderator("llm:openai/m", base_url=server.base_url)
        assert (await other.amoderate("a", every_turn=False)).risk == 0.9
        await other.close()


def test_an_endpoint_that_refuses_every_call_degrades_verdicts_and_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    refusing = [True]

    def answer(body: Body) -> str | tuple[int, object]:
        if refusing[0]:
            return 401, {"error": {"message": "bad key"}}
        return json.dumps({"code": code_in(body), "risk": 90})

    with serve(answer) as server, open_moderator("llm:openai/m", base_url=server.base_url) as moderator:
        for _ in range(4):
            verdict = moderator.moderate("a")
            assert verdict.degraded is not None
            assert (verdict.degraded.cause, verdict.action) == ("bad_key", "inject")
        refusing[0] = False
        assert moderator.moderate("a").risk == 0.9
