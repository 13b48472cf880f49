"""Which answers are replies, and what is read from them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.wire import ask, completion, fail, http, wire_server
from safemt.core.errors import CallFailure
from safemt.endpoints.base import Reply, Sampling
from safemt.endpoints.replies import Answer, Request, parse_body, read_answer
from servers.client import ChatServer

ASKED = Request(
    base_url="http://127.0.0.1:8000/v1",
    origin="http://127.0.0.1:8000",
    model="m",
    role="target",
    key_name="OPENAI_API_KEY",
    has_key=True,
    with_image=True,
    sampling=Sampling(),
)


async def told(body: object) -> Reply:
    async with wire_server(http(body)) as wire:
        return await ask(wire.base_url)


def read(body: Any, status: int = 200) -> Reply | CallFailure:
    return read_answer(Answer(status, {}, body), ASKED)


async def test_a_plain_reply_is_read_whole(server: ChatServer) -> None:
    reply = await ask(server.mode_url("echo"))
    assert reply == Reply(
        text="hello",
        blocked=False,
        finish_reason="stop",
        model="sim-model",
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=2,
    )
    assert isinstance(reply.prompt_tokens, int)


async def test_a_reply_that_the_limit_cut_is_a_reply(server: ChatServer) -> None:
    reply = await ask(server.mode_url("length"))
    assert (reply.text, reply.finish_reason, reply.blocked) == ("It begins and", "length", False)


@pytest.mark.parametrize("mode", ["gzip", "wrong_content_type"])
async def test_neither_compression_nor_a_wrong_content_type_matters(server: ChatServer, mode: str) -> None:
    assert (await ask(server.mode_url(mode))).text == "A plain and harmless reply."


async def test_eight_million_bytes_are_still_a_reply(server: ChatServer) -> None:
    assert len((await ask(server.mode_url("nearly"))).text) == 8_000_000


@pytest.mark.parametrize(("mode", "text"), [("content_filter", ""), ("partial", "It begins")])
async def test_a_filtered_reply_is_blocked_and_keeps_what_got_through(
    server: ChatServer, mode: str, text: str
) -> None:
    reply = await ask(server.mode_url(mode))
    assert (reply.text, reply.blocked, reply.finish_reason) == (text, True, "content_filter")


async def test_a_refusal_field_is_a_notice(server: ChatServer) -> None:
    reply = await ask(server.mode_url("refusal_field"))
    assert (reply.text, reply.blocked, reply.finish_reason) == ("I cannot help with that.", True, "stop")


def test_a_refusal_field_beside_a_text_does_not_hide_the_text() -> None:
    reply = read(completion({"content": "Sure, here it is.", "refusal": "I stop here."}))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.blocked) == ("Sure, here it is.", False)


async def test_azures_filter_is_a_blocked_reply_not_an_error(server: ChatServer) -> None:
    reply = await ask(server.mode_url("content_filter_400"))
    assert reply == Reply(text="", blocked=True, finish_reason="content_filter")


XAI = "Content violates usage guidelines. Team: x, Model: m, Failed check: SAFETY_CHECK_TYPE_X"
LITELLM = "litellm.BadRequestError: litellm.ContentPolicyViolationError: filtered"
O_SERIES = "Invalid prompt: your prompt was flagged as potentially violating our usage policy."


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "x", "code": "content_filter"}}),
        (400, {"error": {"message": "x", "code": "content_policy_violation", "type": "image"}}),
        (
            400,
            {"error": {"message": "x", "code": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        ),
        (400, {"error": {"message": "considered high risk", "type": "content_filter"}}),
        (400, {"error": {"message": "x", "code": "data_inspection_failed"}}),
        (400, {"error": {"message": "input contains sensitive words", "code": "sensitive_words_detected"}}),
        (400, {"error": {"message": O_SERIES, "type": "invalid_request_error", "code": "invalid_prompt"}}),
        (400, {"error": {"message": LITELLM, "type": None, "code": "400"}}),
        (403, {"code": "permission-denied", "error": XAI}),
        (403, {"error": {"message": "x", "code": 403, "metadata": {"flagged_input": "x", "reasons": []}}}),
        (200, {"error": {"message": "x", "code": "content_filter"}}),
    ],
)
def test_a_providers_filter_is_known_in_every_dress(status: int, body: object) -> None:
    assert read(body, status) == Reply(text="", blocked=True, finish_reason="content_filter")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": f"bad value: {O_SERIES}", "code": "invalid_value"}}),
        (422, {"detail": [{"msg": "bad", "input": XAI}]}),
        (400, {"error": {"message": "the code content_filter is unknown", "code": "bad"}}),
        (403, {"error": {"message": "no access", "metadata": {"reasons": []}}}),
        (500, {"error": {"message": "the filter broke", "code": "content_filter"}}),
        (500, XAI),
    ],
)
def test_an_error_that_quotes_the_dialogue_is_not_taken_for_a_filter(status: int, body: object) -> None:
    assert isinstance(read(body, status), CallFailure)


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("SAFETY", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("RECITATION", "content_filter"),
        ("content_filter: PROHIBITED_CONTENT", "content_filter"),
        ("sensitive", "content_filter"),
        ("MAX_TOKENS", "length"),
        ("stop", "stop"),
        ("STOP", "STOP"),
        ("eos", "eos"),
        (None, None),
        (7, None),
    ],
)
def test_finish_reasons_for_filter_and_limit_are_read_in_openais_words(
    said: object, finish: str | None
) -> None:
    reply = read(completion({"content": "text"}, choice_finish_reason=said))
    assert isinstance(reply, Reply)
    assert (reply.finish_reason, reply.blocked) == (finish, finish == "content_filter")


def test_a_filter_without_a_content_key_is_a_blocked_reply() -> None:
    reply = read(completion({"role": "assistant"}, choice_finish_reason="SAFETY"))
    assert reply == Reply(text="", blocked=True, finish_reason="content_filter")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "text", "text": None}, {"type": "text", "text": "b"}, "c", None, {"text": 7}], "b"),
        ([{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "b"}], "b"),
        (" \n a \n", " \n a \n"),
        ("a\x00b", "a\x00b"),
    ],
)
async def test_the_text_is_what_was_said_in_one_piece_or_several(content: object, text: str) -> None:
    assert (await told(completion({"role": "assistant", "content": content}))).text == text


async def test_half_surrogate_pairs_become_text_that_can_be_stored() -> None:
    for escape in (rb"\ud83d", rb"\uD83D"):
        body = b'{"choices":[{"message":{"content":"a%sb"}}],"model":"m%s"}' % (escape, escape)
        assert await told(body) == Reply(text="a?b", model="m?")


async def test_bytes_that_are_no_text_do_not_cost_the_reply() -> None:
    reply = await told(b'\xef\xbb\xbf{"choices":[{"message":{"content":"a\xffb"},"logprobs":NaN}]}')
    assert reply == Reply(text="a�b")


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, (3, 0)),
        ({"prompt_tokens": True, "completion_tokens": -1}, (None, None)),
        ({"prompt_tokens": 1.5, "completion_tokens": 2**60}, (None, None)),
        ([], (None, None)),
        (None, (None, None)),
    ],
)
def test_counts_are_taken_only_where_they_are_counts(usage: object, counts: tuple[int | None, ...]) -> None:
    reply = read(completion({"content": "text"}, usage=usage))
    assert isinstance(reply, Reply)
    assert (reply.prompt_tokens, reply.completion_tokens) == counts


# Answers with status 200 that are no replies


@pytest.mark.parametrize("mode", ["null_content", "empty_content"])
async def test_nothing_is_no_reply(server: ChatServer, mode: str) -> None:
    failure = await fail(server.mode_url(mode))
    assert (failure.cause, failure.retryable, failure.fatal) == ("empty_reply", True, False)
    assert failure.message == f"The reply of {server.root} has no text."


def test_blanks_are_no_reply() -> None:
    failure = read(completion({"content": " \n\t\u00a0"}))
    assert isinstance(failure, CallFailure)
    assert failure.cause == "empty_reply"


async def test_a_model_that_thought_until_its_limit_is_not_asked_again_in_vain() -> None:
    body = completion({"content": None, "reasoning_content": "Well"}, choice_finish_reason="length")
    async with wire_server(http(body)) as wire:
        of_target = await fail(wire.base_url, sampling=Sampling(max_output_tokens=99))
        of_judge = await fail(wire.base_url, role="judge")
    assert (of_target.cause, of_target.retryable, of_target.fatal) == ("empty_reply", False, False)
    assert "99 output tokens" in of_target.message
    assert of_target.message.endswith("Raise `target.sampling.max_output_tokens`.")
    assert of_judge.message.endswith("Raise `judge.sampling.max_output_tokens`.")


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource"])
def test_a_reply_that_the_server_broke_off_is_no_reply(reason: str) -> None:
    failure = read(completion({"content": "It begins"}, choice_finish_reason=reason))
    assert isinstance(failure, CallFailure)
    assert (failure.cause, failure.retryable) == ("bad_reply", True)
    assert reason in failure.message


async def test_an_error_in_a_200_is_an_error(server: ChatServer) -> None:
    failure = await fail(server.mode_url("error-200"))
    assert (failure.cause, failure.retryable, failure.throttled) == ("bad_reply", True, False)
    assert failure.message == f"{server.root} sent an error instead of a reply: upstream broke."


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "message": "slow down"}},
        completion({"content": "It begins"}, error={"code": 429, "message": "slow down"}),
        completion({"content": "It begins"}, choice_error={"code": 429, "message": "slow down"}),
    ],
)
def test_an_error_in_a_200_counts_as_the_status_that_it_names(body: object) -> None:
    failure = read(body)
    assert isinstance(failure, CallFailure)
    assert (failure.cause, failure.retryable, failure.throttled) == ("http_429", True, True)
    assert "slow down" in failure.message


def test_an_error_that_is_null_is_none() -> None:
    assert isinstance(read(completion({"content": "text"}, error=None, choice_error=None)), Reply)


@pytest.mark.parametrize("mode", ["no_choices", "truncated_json", "page-200"])
async def test_a_body_without_a_choice_is_no_reply(server: ChatServer, mode: str) -> None:
    failure = await fail(server.mode_url(mode))
    assert (failure.cause, failure.retryable, failure.fatal) == ("bad_reply", True, False)
    assert failure.message.endswith(f"Is {server.mode_url(mode)} the address of its chat API?")
    assert ("web page" in failure.message) == (mode == "page-200")


@pytest.mark.parametrize(
    "body",
    [
        {"choices": None},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": "text"}]},
        {"choices": {"0": {"message": {"content": "text"}}}},
        {"object": "text_completion", "choices": [{"text": "text"}]},
        [],
        [{"choices": []}],
        "text",
        7,
        None,
    ],
)
def test_another_shape_is_no_reply(body: object) -> None:
    failure = read(body)
    assert isinstance(failure, CallFailure)
    assert (failure.cause, failure.retryable) == ("bad_reply", True)


async def test_a_reply_beyond_eight_megabytes_is_given_up(server: ChatServer) -> None:
    failure = await fail(server.mode_url("long"))
    assert (failure.cause, failure.retryable) == ("reply_too_large", True)
    assert failure.message == f"The reply of {server.root} is longer than 8 MB."


def test_a_body_of_a_thousand_brackets_is_only_text() -> None:
    text = "[" * 100_000
    assert parse_body(text) == text


NAMES = (
    "choices message content refusal finish_reason error code type innererror metadata detail text usage "
    "model prompt_tokens raw"
)
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES.split()), inner),
    max_leaves=12,
)


@given(body=BODIES, status=st.sampled_from([200, 202, 301, 400, 401, 403, 404, 422, 429, 500, 503]))
def test_any_body_is_a_reply_or_a_failure_that_can_be_stored_and_shown(body: Any, status: int) -> None:
    # Through text, as a body comes: floats that JSON cannot say become NaN and Infinity.
    answer = read(parse_body(json.dumps(body)), status)
    if isinstance(answer, Reply):
        assert answer.blocked or answer.text.strip()
        answer.text.encode()
        (answer.model or "").encode()
        (answer.finish_reason or "").encode()
    else:
        assert answer.message.isprintable()
        assert len(answer.message) < 1000
        assert not (answer.fatal and answer.retryable)


@given(text=st.text(max_size=200), status=st.sampled_from([200, 400, 500]))
def test_any_text_in_place_of_json_is_a_failure(text: str, status: int) -> None:
    parsed = parse_body(text)
    assert isinstance(read(parsed if isinstance(parsed, str) else text, status), CallFailure)
