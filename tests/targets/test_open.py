import json
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import LabelsError, UsageError
from safemt.endpoints.base import Sampling
from safemt.targets.base import Target
from safemt.targets.open import open_target


def opened(name: str, **options: Any) -> Target:
    return open_target(name, **{"sampling": Sampling(), "timeout": 1.0, "seed": 0, "images": None, **options})


def test_a_chat_model_keeps_the_slashes_of_its_name() -> None:
    target = opened("openai/org/model", base_url="http://h.example:8000/v1")
    assert (target.name, target.origin) == ("openai/org/model", "http://h.example:8000")
    assert (target.simulated, target.answers_by_sample) == (False, False)


def test_a_simulated_target_says_so_and_calls_nobody() -> None:
    target = opened("sim/brittle", seed=3)
    assert (target.name, target.origin) == ("sim/brittle", None)
    assert (target.simulated, target.answers_by_sample) == (True, True)


def test_recorded_responses_are_found_by_an_absolute_path(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_text(json.dumps({"id": "q", "turns": 1, "response": "text"}))
    target = opened(f"replay/{path}")
    assert (target.name, target.origin) == (f"replay/{path}", None)
    assert (target.simulated, target.answers_by_sample) == (False, True)


@pytest.mark.parametrize(
    "name", ["", "openai", "openai/", "sim", "sim/", "replay/", "gpt-x", "anthropic/x", "/x", "OpenAI/x"]
)
def test_an_unknown_kind_of_target_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"Write openai/MODEL .* replay/PATH, or sim/steady"):
        opened(name)


def test_an_unknown_simulated_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'stable'; there are sim/steady, sim/drifting, sim/brittle"):
        opened("sim/stable")


@pytest.mark.parametrize("option", ["base_url", "api_key_env"])
@pytest.mark.parametrize("name", ["sim/steady", "replay/x"])
def test_options_of_calls_are_refused_where_none_is_made(name: str, option: str) -> None:
    with pytest.raises(UsageError, match=f"{name} makes no calls"):
        opened(name, **{option: "x"})


def test_a_missing_file_of_responses_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read"):
        opened(f"replay/{tmp_path / 'none.jsonl'}")


def test_a_chat_model_without_a_key_is_an_error_at_once() -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set, so there is no key for target gpt-x"):
        opened("openai/gpt-x")
