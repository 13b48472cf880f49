"""From names and options to moderators, and what is said of those that do not fit."""

from pathlib import Path
from typing import Any

import pytest

from moderation.dialogues import turns
from safemt.core.errors import ModeratorError, SafemtError, UsageError
from safemt.core.taxonomy import Action
from safemt.moderation.detectors.cascade import CascadeDetector
from safemt.moderation.open import DetectorOptions, open_moderator

SERVER = {"base_url": "http://127.0.0.1:9/v1"}


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
    assert open_moderator(name, options=DetectorOptions(**options)).name == name


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("embeded", {}, "--moderator 'embeded' is not known. Write embedded, llm:openai/MODEL"),
        ("", {}, "--moderator '' is not known"),
        ("keyword", SERVER, "--moderator keyword makes no calls: leave out --moderator-base-url"),
        ("llm:gpt", SERVER, "--moderator llm:gpt is not known. Write llm:openai/MODEL."),
        ("llm:openai/", SERVER, "Write llm:openai/MODEL."),
        ("llm:openai/m", {}, "The environment variable OPENAI_API_KEY is not set"),
        ("llm:openai/m", {"base_url": "ftp://x"}, "--moderator-base-url must be an address"),
        ("guard/lama", SERVER, "--moderator guard/lama is not known. There are: guard/openai-moderation"),
        ("guard/llama-guard", {}, "needs a server that has the model: name it with --moderator-base-url"),
        ("guard/llama-guard", {**SERVER, "template": "qwen3guard"}, "--template is for --moderator llm:"),
        ("keyword", {"with_pictures": True}, "--with-pictures is for --moderator llm:"),
        ("keyword", {"band": (0.1, 0.2)}, "--band is for --moderator cascade:"),
        ("cascade:keyword", SERVER, "must name two moderators"),
        ("cascade:keyword,cascade:keyword,keyword", SERVER, "must name two moderators"),
        ("cascade:keyword,nothing", SERVER, "--moderator 'nothing' is not known"),
        ("cascade:keyword,llm:openai/m", {**SERVER, "band": (0.9, 0.1)}, "--band needs two risks"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_moderator(name, options=DetectorOptions(**options))
    assert said in str(caught.value)


def test_action_and_threshold_must_make_sense() -> None:
    with pytest.raises(UsageError, match="the action must be inject or block"):
        open_moderator("keyword", action=Action.ALLOW)
    with pytest.raises(UsageError, match=r"must be a risk from 0 to 1, not 1\.5"):
        open_moderator("keyword", threshold=1.5)


def test_a_key_given_for_its_variable_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        open_moderator("llm:openai/m", options=DetectorOptions(api_key_env="sk-very-secret-0123456789"))
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
