"""From names and settings to moderators, and the errors for those that do not fit."""

from pathlib import Path
from typing import Any

import pytest

from moderation.dialogues import turns
from safemt.core.errors import DataError, ModeratorError, SafemtError, UsageError
from safemt.core.taxonomy import Action, OnError
from safemt.moderation.detectors.cascade import CascadeDetector
from safemt.moderation.open import ModeratorConfig, ModeratorSampling, fit_all, open_moderator

SERVER: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("keyword", {}),
        ("policy-always", {}),
        ("llm:openai/org/model:tag", SERVER),
        ("llm:openai/m", {**SERVER, "with_pictures": True}),
        ("llm:openai/m", {**SERVER, "template": "qwen3guard"}),
        ("guard/openai-moderation", SERVER),
        ("guard/llama-guard", SERVER),
        ("guard/shieldgemma", SERVER),
        ("guard/qwen3guard", SERVER),
        ("guard/llavashield:other/model", SERVER),
        ("cascade:keyword,llm:openai/m", SERVER),
        ("cascade:keyword,guard/llama-guard", {**SERVER, "band": (0.1, 0.9)}),
        ("cascade:guard/llama-guard,llm:openai/m", {**SERVER, "with_pictures": True}),
    ],
)
def test_a_moderator_goes_by_the_name_it_was_opened_with(name: str, options: dict[str, Any]) -> None:
    assert open_moderator(name, **options).name == name
    assert open_moderator(ModeratorConfig(name=name, **options)).name == name


@pytest.mark.parametrize(
    ("name", "settings", "code", "field"),
    [
        ("embeded", {}, "unknown_moderator", "embeded"),
        ("", {}, "unknown_moderator", ""),
        ("keyword", SERVER, "setting_does_not_apply", "moderator.base_url"),
        ("keyword", {"api_key_env": "KEY"}, "setting_does_not_apply", "moderator.api_key_env"),
        ("llm:gpt", SERVER, "unknown_moderator", "llm:gpt"),
        ("llm:openai/", SERVER, "unknown_moderator", "llm:openai/"),
        ("guard/lama", SERVER, "unknown_moderator", "guard/lama"),
        ("guard/llama-guard", {}, "no_server", "guard/llama-guard"),
        ("guard/llama-guard", {**SERVER, "template": "x"}, "setting_does_not_apply", "moderator.template"),
        ("keyword", {"with_pictures": True}, "setting_does_not_apply", "moderator.with_pictures"),
        ("keyword", {"band": (0.1, 0.2)}, "setting_does_not_apply", "moderator.band"),
        ("cascade:keyword", SERVER, "not_two_moderators", "cascade:keyword"),
        ("cascade:a,cascade:b,c", SERVER, "not_two_moderators", "cascade:a,cascade:b,c"),
        ("cascade:keyword,nothing", SERVER, "unknown_moderator", "nothing"),
        ("cascade:keyword,llm:openai/m", {**SERVER, "band": (0.9, 0.1)}, "empty_band", 0.9),
    ],
)  # fmt: skip
def test_what_does_not_fit_has_a_code(name: str, settings: dict[str, Any], code: str, field: object) -> None:
    with pytest.raises(UsageError) as caught:
        open_moderator(name, **settings)
    assert caught.value.code == code
    assert field in caught.value.fields.values()


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"action": Action.ALLOW}, "action"),
        ({"action": "delete"}, "action"),
        ({"threshold": 1.5}, "threshold"),
        ({"band": (0.1, 2)}, "band[1]"),
        ({"timeout": 0}, "timeout"),
        ({"sampling": {"temperature": 3}}, "sampling.temperature"),
        ({"policies": 5}, "policies"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(DataError) as caught:
        open_moderator("keyword", **settings)
    assert (caught.value.code, caught.value.fields["path"]) == ("wrong_form", path)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(DataError, match="treshold"):
        open_moderator("keyword", treshold=0.5)


def test_settings_may_be_given_by_name_as_text_or_as_a_configuration() -> None:
    config = ModeratorConfig(name="keyword", action="block", on_error=OnError.OPEN, threshold=0.25)
    named = open_moderator("keyword", action="block", on_error="open", threshold=0.25)
    typed = open_moderator("keyword", action=Action.BLOCK, on_error=OnError.OPEN, threshold=0.25)
    assert open_moderator(config).identity == named.identity == typed.identity
    assert open_moderator(config, action="inject").action is Action.INJECT


def test_a_models_sampling_is_the_detectors_own_unless_it_is_given() -> None:
    own = open_moderator("llm:openai/m", **SERVER).detector.endpoints[0].sampling
    assert (own.temperature, own.max_output_tokens) == (0.0, 1024)
    given = open_moderator("llm:openai/m", **SERVER, sampling=ModeratorSampling(None, 5000))
    sampling = given.detector.endpoints[0].sampling
    assert (sampling.temperature, sampling.max_output_tokens) == (None, 5000)


def test_several_moderators_each_get_the_settings_of_their_kind() -> None:
    config = ModeratorConfig(name="keyword", base_url="http://127.0.0.1:9/v1", with_pictures=True)
    keyword, llm, guard = fit_all(config, ["keyword", "llm:openai/m", "guard/llama-guard"])
    assert (keyword.base_url, keyword.with_pictures) == (None, False)
    assert (llm.base_url, llm.with_pictures) == ("http://127.0.0.1:9/v1", True)
    assert (guard.base_url, guard.with_pictures) == ("http://127.0.0.1:9/v1", False)
    with pytest.raises(UsageError) as caught:
        fit_all(config, ["keyword", "guard/llama-guard"])
    assert (caught.value.code, caught.value.fields["setting"]) == (
        "setting_does_not_apply", "moderator.with_pictures",
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        fit_all(config, ["keyword", "keyword"])
    assert caught.value.code == "named_twice"


def test_a_key_is_asked_for_where_there_is_no_server() -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        open_moderator("llm:openai/m")
    with pytest.raises(UsageError, match=r"moderator.base.url"):
        open_moderator("llm:openai/m", base_url="ftp://x")


def test_a_key_given_for_its_variable_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        open_moderator("llm:openai/m", api_key_env="sk-very-secret-0123456789")
    assert "sk-very" not in str(caught.value)


def test_the_users_policies_take_the_place_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ModeratorError, match="holds no policy"):
        open_moderator("keyword", policies=tmp_path)


def test_a_cascades_band_lies_half_way_around_the_firsts_threshold() -> None:
    detector = open_moderator("cascade:keyword,policy-always").detector
    assert isinstance(detector, CascadeDetector)
    assert (detector.band.low, detector.band.high) == (0.25, 0.75)


@pytest.mark.parametrize("name", ["embedded", "last-turn", "max-turn", "peak-accumulation"])
def test_what_stands_on_the_embedded_model_reads_turn_by_turn(name: str) -> None:
    try:
        moderator = open_moderator(name)
    except (SafemtError, ImportError) as error:
        pytest.skip(f"no embedded model here: {error}")
    verdict = moderator.moderate(turns("How do I bake bread?", "And how long does it keep?"))
    assert verdict.moderator == name
    assert all(risk is not None and 0 <= risk <= 1 for risk in verdict.trajectory)
    assert verdict.degraded is None
