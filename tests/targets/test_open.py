import json
from pathlib import Path
from typing import Any

import pytest

from safemt.core.errors import LabelsError, UsageError
from safemt.targets.base import Target
from safemt.targets.open import TargetConfig, open_target


def opened(name: str, *, seed: int = 0, **settings: Any) -> Target:
    return open_target(TargetConfig(name=name, **settings), timeout=1.0, seed=seed)


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
    with pytest.raises(UsageError) as caught:
        opened(name)
    assert (caught.value.code, caught.value.fields) == ("unknown_target", {"name": name})
    assert all(known in str(caught.value) for known in ("openai/MODEL", "replay/PATH", "sim/steady"))


def test_an_unknown_simulated_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        opened("sim/stable")
    assert (caught.value.code, caught.value.fields) == ("unknown_target", {"name": "sim/stable"})
    assert "sim/steady, sim/drifting, sim/brittle" in str(caught.value)


@pytest.mark.parametrize("settings", [{"base_url": "x"}, {"api_key_env": "x"}])
@pytest.mark.parametrize("name", ["sim/steady", "replay/x"])
def test_options_of_calls_are_refused_where_none_is_made(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        opened(name, **settings)
    assert (caught.value.code, caught.value.fields) == ("makes_no_calls", {"name": name})


def test_a_missing_file_of_responses_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read"):
        opened(f"replay/{tmp_path / 'none.jsonl'}")


def test_a_chat_model_without_a_key_is_an_error_at_once() -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        opened("openai/gpt-x")
