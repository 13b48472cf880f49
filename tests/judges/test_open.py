import json
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import LabelsError, UsageError
from safemt.endpoints.base import Sampling
from safemt.judges.base import Judge
from safemt.judges.open import open_judge
from safemt.judges.rubric import Routing


def opened(name: str, **options: Any) -> Judge:
    defaults = {"routing": Routing.SCENARIO, "with_image": False, "timeout": 1.0, "images": None}
    return open_judge(name, **{**defaults, **options})


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
    judge = opened("openai/m", base_url="http://h.example/v1", sampling=Sampling(None, 2048))
    assert judge.endpoints[0].sampling == Sampling(None, 2048)


def test_a_panel_is_opened_member_by_member_and_only_models_get_the_address() -> None:
    judge = opened("panel:openai/a, refusal,openai/b", base_url="http://h.example/v1")

    assert judge.name == "panel:openai/a,refusal,openai/b"
    assert [endpoint.model for endpoint in judge.endpoints] == ["a", "b"]
    with pytest.raises(UsageError, match="makes no calls"):
        opened("panel:refusal,refusal", base_url="http://h.example/v1")
    with pytest.raises(UsageError, match="at least two"):
        opened("panel:refusal")


def test_offline_judges_have_no_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"id": "q", "turns": 1, "label": "safe"}))
    judges = [opened("refusal"), opened(f"recorded/{path}")]
    assert [judge.name for judge in judges] == ["refusal", f"recorded/{path}"]
    assert [list(judge.endpoints) for judge in judges] == [[], []]


@pytest.mark.parametrize("options", [{}, {"base_url": "http://h.example/v1"}])
@pytest.mark.parametrize("name", ["", "gpt-x", "openai", "openai/", "recorded/", "refusal/x", "sim/x"])
def test_an_unknown_judge_is_refused_with_the_known_ones(name: str, options: dict[str, str]) -> None:
    with pytest.raises(
        UsageError, match=r"is not known\. Write openai/MODEL, refusal, recorded/PATH or panel"
    ):
        opened(name, **options)


@pytest.mark.parametrize("option", ["base_url", "api_key_env"])
@pytest.mark.parametrize("name", ["refusal", "recorded/x"])
def test_options_of_calls_are_refused_where_none_is_made(name: str, option: str) -> None:
    with pytest.raises(UsageError, match=f"--judge {name} makes no calls"):
        opened(name, **{option: "x"})


def test_errors_speak_of_the_judges_options() -> None:
    with pytest.raises(UsageError, match=r"no key for judge gpt-x.*`judge\.api_key_env`"):
        opened("openai/gpt-x")
    with pytest.raises(UsageError, match="--judge-base-url must be"):
        opened("openai/gpt-x", base_url="nowhere")


def test_a_missing_file_of_labels_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read"):
        opened(f"recorded/{tmp_path / 'none.jsonl'}")
