import json
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import LabelsError, UsageError
from safemt.judges.base import Judge
from safemt.judges.open import JudgeConfig, JudgeSampling, open_judge


def opened(name: str, **settings: Any) -> Judge:
    return open_judge(JudgeConfig(name=name, **settings), timeout=1.0)


def code_of(name: str, **settings: Any) -> str:
    """The code of the error when it is opened."""
    with pytest.raises(UsageError) as caught:
        opened(name, **settings)
    return caught.value.code


def test_a_chat_model_keeps_the_slashes_of_its_name_and_asks_with_no_variety() -> None:
    judge = opened("openai/org/model", base_url="http://h.example:8000/v1")
    (endpoint,) = judge.endpoints
    assert (judge.name, endpoint.model, endpoint.origin) == (
        "openai/org/model",
        "org/model",
        "http://h.example:8000",
    )
    assert (endpoint.sampling.temperature, endpoint.sampling.max_output_tokens) == (0.0, 512)


def test_the_temperature_can_be_left_to_the_model() -> None:
    judge = opened("openai/m", base_url="http://h.example/v1", sampling=JudgeSampling(None, 2048))
    assert judge.endpoints[0].sampling == JudgeSampling(None, 2048)
    assert JudgeSampling(None).max_output_tokens == 512


def test_a_panel_is_opened_member_by_member_and_only_models_get_the_address() -> None:
    judge = opened("panel:openai/a, refusal,openai/b", base_url="http://h.example/v1")

    assert judge.name == "panel:openai/a,refusal,openai/b"
    assert [endpoint.model for endpoint in judge.endpoints] == ["a", "b"]
    assert code_of("panel:refusal,refusal", base_url="http://h.example/v1") == "makes_no_calls"
    assert code_of("panel:refusal") == "small_panel"
    assert code_of("panel:refusal,panel:refusal,refusal") == "unknown_judge"


def test_offline_judges_have_no_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"id": "q", "turns": 1, "label": "safe"}))
    judges = [opened("refusal"), opened(f"recorded/{path}")]
    assert [judge.name for judge in judges] == ["refusal", f"recorded/{path}"]
    assert [list(judge.endpoints) for judge in judges] == [[], []]


@pytest.mark.parametrize("options", [{}, {"base_url": "http://h.example/v1"}])
@pytest.mark.parametrize("name", ["", "gpt-x", "openai", "openai/", "recorded/", "refusal/x", "sim/x"])
def test_an_unknown_judge_is_refused_with_the_known_ones(name: str, options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        opened(name, **options)
    assert (caught.value.code, caught.value.fields) == ("unknown_judge", {"name": name})
    assert all(known in str(caught.value) for known in ("openai/MODEL", "refusal", "recorded/PATH", "panel:"))


@pytest.mark.parametrize("option", ["base_url", "api_key_env"])
@pytest.mark.parametrize("name", ["refusal", "recorded/x"])
def test_options_of_calls_are_refused_where_none_is_made(name: str, option: str) -> None:
    assert code_of(name, **{option: "x"}) == "makes_no_calls"


def test_errors_speak_of_the_judges_options() -> None:
    with pytest.raises(UsageError, match=r"judge.api.key.env"):
        opened("openai/gpt-x")
    with pytest.raises(UsageError, match=r"judge.base.url"):
        opened("openai/gpt-x", base_url="nowhere")


def test_a_missing_file_of_labels_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read"):
        opened(f"recorded/{tmp_path / 'none.jsonl'}")
