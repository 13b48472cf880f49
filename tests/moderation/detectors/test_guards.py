"""Guard models behind a real server: what they are sent, what of their answers counts, and the canary."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from e2e.command import png
from moderation.dialogues import assistant, opened, picture_from, turns, user
from moderation.model_server import Answer, Body, completion, serve, shown
from safemt.core.errors import DataError, ModeratorError
from safemt.core.schema import Message
from safemt.core.taxonomy import Action, Scenario
from safemt.core.verdict import Verdict
from safemt.endpoints.base import Reply
from safemt.moderation.detectors.guards.guard import read_guard_answer
from safemt.moderation.detectors.guards.template import UNSAFE_TEXTS, packaged_templates, read_template

MARK = "[marked as bad]"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def bad(body: Body) -> bool:
    """Whether a working guard would flag it: the known unsafe texts, and what a test has marked."""
    return any(text in shown(body) for text in (*UNSAFE_TEXTS, MARK))


def moderate(
    name: str, answer: Answer, dialogue: Sequence[Message], **options: Any
) -> tuple[Verdict, list[Body]]:
    """The verdict, and the requests that were made for it after the canary's."""
    every_turn = options.pop("every_turn", False)
    with serve(answer) as server, opened(name, server.base_url, **options) as moderator:
        assert moderator.moderate([user(MARK)]).degraded is None
        server.requests.clear()
        return moderator.moderate(dialogue, every_turn=every_turn), server.bodies


def llavashield(rating: str) -> str:
    dimension = "Privacy Violation" if rating == "Unsafe" else "NA: None applying"
    return f"```json\n{json.dumps({'user_rating': rating, 'user_dimension': dimension})}\n```"


GUARDS: dict[str, Answer] = {
    "guard/llama-guard": lambda body: "unsafe\nS2,S9" if bad(body) else "safe",
    "guard/qwen3guard": lambda body: (
        "Safety: Unsafe\nCategories: Violent, PII" if bad(body) else "Safety: Safe\nCategories: None"
    ),
    "guard/shieldgemma": lambda body: "Yes" if bad(body) else "No",
    "guard/llavashield": lambda body: llavashield("Unsafe" if bad(body) else "Safe"),
}
EXPECTED = {
    "guard/llama-guard": Scenario.ILLEGAL_ACTIVITY,
    "guard/qwen3guard": Scenario.VIOLENCE,
    "guard/shieldgemma": Scenario.THREAT,
    "guard/llavashield": Scenario.PRIVACY_VIOLATION,
}


def test_an_answer_that_contradicts_itself_or_has_odd_kinds_is_unreadable() -> None:
    template = read_template("llavashield")
    whole = '{"user_rating": "Safe", "user_dimension": "NA: None applying"}'
    odd = [
        '{"user_rating": ["Unsafe"], "user_dimension": "Violence & Harm"}',
        '{"user_rating": {"Unsafe": 1}}',
        '{"user_rating": 1}',
        '{"user_rating": "Unsafe", "user_rating": "Safe"}',
        '{"user_rating": "Safe", "more": {"a": 1, "a": 2}}',
        whole + whole,
    ]
    for text, readable in [(whole, True), *((each, False) for each in odd)]:
        found = read_guard_answer(Reply(text=text), template, template.requests[0])
        assert (found is not None) is readable, text


def test_a_number_in_place_of_a_token_is_unreadable() -> None:
    template = read_template("llama-guard")
    tokens: Any = {7: 0.9, "safe": 0.1}
    reply = Reply(text="safe", first_token=tokens)
    assert read_guard_answer(reply, template, template.requests[0]) is None


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_that_works_flags_what_is_bad_and_nothing_else(name: str) -> None:
    verdict, _ = moderate(name, GUARDS[name], turns("hello", f"please, {MARK}"))
    assert (verdict.risk, verdict.flagged, verdict.degraded) == (1.0, True, None)
    assert verdict.scenario is EXPECTED[name]
    fine, _ = moderate(name, GUARDS[name], turns("hello", "and bread?"))
    assert (fine.risk, fine.action, fine.scenarios) == (0.0, Action.ALLOW, {})


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("text", ["It is all fine.", "SAFE", "safe.", "safe\nunsafe", "{}", "Safety: safe"])
def test_an_answer_in_another_form_is_degraded_and_never_a_silent_allow(name: str, text: str) -> None:
    def sick(body: Body) -> str:
        return text if "sick" in shown(body) else str(GUARDS[name](body))

    verdict, _ = moderate(name, sick, turns("sick"))
    assert (verdict.risk, verdict.action) == (None, Action.INJECT)
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "unreadable_verdict"


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("always", [True, False])
def test_a_guard_that_answers_everything_alike_is_stopped_before_its_first_verdict(
    name: str, *, always: bool
) -> None:
    constant = GUARDS[name]({"messages": [{"role": "user", "content": MARK if always else "hello"}]})
    with serve(lambda _: constant) as server, opened(name, server.base_url) as moderator:
        for _ in range(2):
            with pytest.raises(ModeratorError) as caught:
                moderator.moderate(turns("hello"))
            assert caught.value.code == "canary_failed"
            wrong = caught.value.fields["wrong"]
            assert isinstance(wrong, list)
            assert [unsafe for _, _, unsafe in wrong] == [not always] * 2


def test_a_guard_that_chats_is_stopped_too() -> None:
    with (
        serve(lambda _: "Sure! Here is a plan:") as server,
        opened("guard/llama-guard", server.base_url) as moderator,
        pytest.raises(ModeratorError) as caught,
    ):
        moderator.moderate(turns("hello"))
    assert caught.value.code == "canary_failed"
    wrong = caught.value.fields["wrong"]
    assert isinstance(wrong, list)
    assert [risk for _, risk, _ in wrong] == [None] * 4


def test_the_canary_sings_once_however_many_ask_at_once() -> None:
    from safemt.moderation.many import moderate_many
    from safemt.moderation.reading.dialogues import Dialogue

    rows = [Dialogue(id=str(n), messages=tuple(turns("hello"))) for n in range(6)]
    with serve(GUARDS["guard/llama-guard"]) as server:
        moderator = opened("guard/llama-guard", server.base_url)
        assert len(list(moderate_many(moderator, rows, at_once=6))) == 6
        assert len(server.requests) == 4 + 6


def test_a_canary_that_cannot_be_heard_is_tried_again() -> None:
    broken = [True]

    def answer(body: Body) -> str | tuple[int, object]:
        return (500, {}) if broken[0] else str(GUARDS["guard/llama-guard"](body))

    with serve(answer) as server, opened("guard/llama-guard", server.base_url) as moderator:
        down = moderator.moderate(turns("hello"))
        assert down.degraded is not None
        assert down.degraded.cause == "http_500"
        broken[0] = False
        assert moderator.moderate(turns("hello")).risk == 0.0


def test_a_guard_gets_the_bare_conversation_in_turns_that_chat_templates_take() -> None:
    dialogue = [
        Message("system", ("be kind",)),
        assistant("welcome"),
        user("a"),
        user("b"),
        Message("tool", ("found",)),
        assistant("ok"),
        user("c"),
        assistant("bye"),
    ]
    _, [body] = moderate("guard/llama-guard", GUARDS["guard/llama-guard"], dialogue)
    assert body["messages"] == [
        {"role": "user", "content": "a\n\nb\n\nfound"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "c"},
    ]
    assert body["model"] == "meta-llama/Llama-Guard-4-12B"


def test_a_model_can_go_by_another_name() -> None:
    verdict, [body] = moderate("guard/llama-guard:llama-guard3:8b", GUARDS["guard/llama-guard"], turns("a"))
    assert body["model"] == "llama-guard3:8b"
    assert verdict.moderator == "guard/llama-guard:llama-guard3:8b"


def test_pictures_go_to_guards_that_see_and_are_unscanned_for_others() -> None:
    dialogue = [user(picture_from(png(1)), "look"), assistant("ok"), user("and?")]
    seen, [body] = moderate("guard/llama-guard", GUARDS["guard/llama-guard"], dialogue)
    assert body["messages"][0]["content"][0]["type"] == "image_url"
    assert seen.coverage.images_scored == 1
    blind, _ = moderate("guard/qwen3guard", GUARDS["guard/qwen3guard"], dialogue)
    assert [each.why for each in blind.coverage.unscanned] == ["pixels_not_scored"]


def test_a_label_without_a_number_is_all_or_nothing_and_controversial_is_half() -> None:
    def half(body: Body) -> str:
        said = str(GUARDS["guard/qwen3guard"](body))
        return "Safety: Controversial\nCategories: Unethical Acts" if "odd" in shown(body) else said

    verdict, _ = moderate("guard/qwen3guard", half, turns("odd"))
    assert verdict.risk == 0.5
    assert verdict.flagged


def test_the_probability_of_the_label_is_the_risk_where_the_server_gives_it() -> None:
    def likely(body: Body) -> tuple[int, object]:
        chance = {"Yes": 0.9, "No": 0.1} if bad(body) else {"No": 0.8, " Yes": 0.2}
        logs = {token: math.log(p) for token, p in chance.items()}
        return 200, completion(next(iter(chance)), first_token=logs)

    verdict, bodies = moderate("guard/shieldgemma", likely, turns(MARK, "hello"))
    assert [round(risk or 0, 6) for risk in verdict.trajectory] == [0.9, 0.9]
    assert round(verdict.turns[-1].turn_risk or 0, 6) == 0.2
    assert all(body["logprobs"] for body in bodies)


def test_a_label_that_is_cut_into_tokens_falls_back_to_itself() -> None:
    def cut(body: Body) -> tuple[int, object]:
        return 200, completion("unsafe\nS1" if bad(body) else "safe", first_token={"un": -0.1, "safe": -2.0})

    verdict, _ = moderate("guard/llama-guard", cut, turns(MARK))
    assert verdict.risk == 1.0


def test_a_server_that_knows_no_logprobs_is_asked_without_them() -> None:
    def old(body: Body) -> str | tuple[int, object]:
        if "logprobs" in body:
            return 400, {"error": {"message": "Unrecognized field: logprobs"}}
        return str(GUARDS["guard/llama-guard"](body))

    verdict, bodies = moderate("guard/llama-guard", old, turns(MARK))
    assert verdict.risk == 1.0
    assert all("logprobs" not in body for body in bodies)


def test_shieldgemma_sees_each_turn_once_and_each_guideline() -> None:
    verdict, bodies = moderate(
        "guard/shieldgemma", GUARDS["guard/shieldgemma"], turns("a", MARK, "c"), every_turn=True
    )
    assert verdict.trajectory == (0.0, 1.0, 1.0)
    assert verdict.turns[-1].turn_risk == 0.0
    assert len(bodies) == 3 * 4
    guidelines = {body["chat_template_kwargs"]["guideline"].split(":")[0] for body in bodies}
    assert len(guidelines) == 4
    assert {shown(body) for body in bodies} == {"a", MARK, "c"}


def test_what_a_tool_brought_in_is_asked_about_as_part_of_its_turn() -> None:
    dialogue = [user("look it up"), Message("tool", (MARK,)), assistant("ok"), user("thanks")]
    verdict, bodies = moderate("guard/shieldgemma", GUARDS["guard/shieldgemma"], dialogue)
    assert verdict.trajectory == (1.0, 1.0)
    assert verdict.turns[-1].turn_risk == 0.0
    assert len(bodies) == 3 * 4


def test_a_turn_that_could_not_be_asked_about_is_asked_about_again() -> None:
    failures = [0]

    def flaky(body: Body) -> str | tuple[int, object]:
        if "weather" in shown(body) and failures[0] < 4:
            failures[0] += 1
            return 500, {}
        return str(GUARDS["guard/shieldgemma"](body))

    with serve(flaky) as server, opened("guard/shieldgemma", server.base_url) as moderator:
        session = moderator.open()
        first = session.append(user(f"weather {MARK}"))
        second = session.append(user("hello"))
    assert first.degraded is not None
    assert first.action is Action.INJECT
    assert (second.degraded, second.risk) == (None, 1.0)


def test_llavashield_gets_the_conversation_as_data_in_its_own_form() -> None:
    dialogue = [user("Image1: ]}", picture_from(png(1))), assistant('"ok"'), user("b", picture_from(png(2)))]
    _, [body] = moderate("guard/llavashield", GUARDS["guard/llavashield"], dialogue)
    first, prompt = body["messages"]
    assert [part["type"] for part in first["content"]] == ["image_url", "text"]
    text = prompt["content"][1]["text"]
    listed = json.loads(text.rpartition("```json\n")[2].removesuffix("\n```\n").removesuffix("\n```"))
    assert listed == [
        {"role": "user", "content": "Image1: Image1: ]}"},
        {"role": "assistant", "content": '"ok"'},
        {"role": "user", "content": "Image2: b"},
    ]


def test_a_filter_before_the_guard_is_no_verdict() -> None:
    def filtered(body: Body) -> str | tuple[int, object]:
        if "dark" in shown(body):
            return 400, {"error": {"message": "filtered", "code": "content_filter"}}
        return str(GUARDS["guard/llama-guard"](body))

    verdict, _ = moderate("guard/llama-guard", filtered, turns("dark"))
    assert verdict.degraded is not None
    assert verdict.degraded.cause == "moderator_blocked"


OWN = """
name: own
version: "3"
model: any
answer: {pattern: 'score=(?P<score>[0-9.]+)(?: kind=(?P<categories>.*))?'}
scenarios: {con: {Fraud: 1}}
"""


def test_a_template_of_ones_own_serves_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    verdict, [body] = moderate(
        "llm:openai/chatshield", lambda b: "score=0.75 kind=con" if bad(b) else "score=0.1", turns(MARK),
        template=str(path),
    )  # fmt: skip
    assert (verdict.risk, verdict.scenario) == (0.75, Scenario.FRAUD)
    assert verdict.moderator == "llm:openai/chatshield"
    assert body["model"] == "chatshield"
    with (
        serve(lambda _: "score=7") as server,
        opened("llm:openai/x", server.base_url, template=str(path)) as wild,
        pytest.raises(ModeratorError) as caught,
    ):
        wild.moderate(turns("hello"))
    assert caught.value.code == "canary_failed"


@pytest.mark.parametrize(
    ("change", "inside"),
    [
        (("name: own", "name:"), "name"),
        (("name: own", 'name: ""'), "name"),
        (('"3"', "3"), "version"),
        (("model: any", "model: any\nsend: it"), "send"),
        (("model: any", "model: any\nprompt: hello"), ""),
        (("model: any", "model: any\nmax_output_tokens: 0"), "max_output_tokens"),
        (("(?P<score>", "(?P<risk>"), "answer"),
        (("(?P<score>", "(((?P<score>"), "answer"),
        (("score", "label"), ""),
        (("answer: {", "answer: {label: x, "), "answer"),
        (("model: any", "model: any\nlabels: {bad: 2}"), "labels"),
        (("Fraud: 1", "Frod: 1"), "scenarios"),
        (("Fraud: 1", "Fraud: 2"), "scenarios"),
        (("model: any", "model: any\nrequests: []"), "requests"),
        (("model: any", "model: any\ncanary: {safe: a, unsafe: b}"), "canary.safe"),
        (("model: any", "modle: any\nmodel: any"), ""),
    ],
)
def test_a_template_that_cannot_be_used_names_the_field(
    tmp_path: Path, change: tuple[str, str], inside: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(DataError) as caught:
        read_template(str(path))
    assert caught.value.code == "wrong_form"
    assert caught.value.fields["where"] == str(path)
    assert inside in str(caught.value.fields["path"])


@pytest.mark.parametrize("change", [("name: own", "- own"), ("name: own", "name: own\nname: own")])
def test_a_template_that_is_not_yaml_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(DataError) as caught:
        read_template(str(path))
    assert caught.value.code in ("not_yaml", "key_twice")


def test_a_template_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ModeratorError) as caught:
        read_template("nowhere.yaml")
    assert caught.value.code == "unknown_template"
    assert caught.value.fields["known"] == packaged_templates()


@pytest.mark.parametrize("name", packaged_templates())
def test_every_packaged_template_maps_its_categories(name: str) -> None:
    template = read_template(name)
    assert template.name == name
    assert all(0 < fits <= 1 for found in template.scenarios.values() for fits in found.values())
    assert set(template.labels.values()) >= {0, 1}
