"""A run's configuration: from files, from plain data and back, and what is refused with its path."""

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.errors import DataError, SafemtError, UsageError
from safemt.core.taxonomy import OnError
from safemt.endpoints.base import Sampling
from safemt.judges.open import JudgeConfig, JudgeSampling
from safemt.judges.rubric import Routing
from safemt.moderation.open import ModeratorConfig, ModeratorSampling
from safemt.moderation.policies.inject import Position
from safemt.run.config import (
    BudgetConfig,
    LimitsConfig,
    RunConfig,
    SelectionConfig,
    config_data,
    config_from,
    read_config,
)
from safemt.run.protocol import History
from safemt.targets.open import TargetConfig

SIMULATED = {"benchmark": "demo", "target": "sim/steady"}

texts = st.text(min_size=1, max_size=20)
paths = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=8).map(Path)
shares = st.floats(0, 1)
temperatures = st.none() | st.floats(0, 2)
tokens = st.integers(1, 10**6)
endpoint = {
    "name": texts,
    "base_url": st.none() | texts,
    "api_key_env": st.none() | texts,
}
configs = st.builds(
    RunConfig,
    benchmark=texts,
    target=st.builds(TargetConfig, **endpoint, sampling=st.builds(Sampling, temperatures, tokens)),
    judge=st.builds(
        JudgeConfig,
        **endpoint,
        sampling=st.builds(JudgeSampling, temperatures, tokens),
        routing=st.sampled_from(Routing),
        with_image=st.booleans(),
    ),
    moderator=st.none()
    | st.builds(
        ModeratorConfig,
        **endpoint,
        sampling=st.builds(ModeratorSampling, temperatures, st.none() | tokens),
        action=st.sampled_from(["inject", "block"]),
        on_error=st.sampled_from(OnError),
        threshold=st.none() | shares,
        thresholds=st.none() | paths,
        template=st.none() | texts,
        band=st.none() | st.tuples(shares, shares),
        with_pictures=st.booleans(),
        policies=st.none() | paths,
        policy_position=st.sampled_from(Position),
        policy_budget=tokens,
        timeout=st.floats(0.1, 86_400),
    ),
    selection=st.builds(
        SelectionConfig,
        turns=st.none() | st.lists(st.integers(1, 12), min_size=1).map(tuple),
        limit=st.none() | tokens,
        text_only=st.booleans(),
        skip_missing_images=st.booleans(),
    ),
    history=st.sampled_from(History),
    limits=st.builds(LimitsConfig, concurrency=st.integers(1, 2000), timeout=st.floats(0.1, 86_400)),
    budget=st.builds(
        BudgetConfig,
        max_cost=st.none() | st.floats(0, 1e9),
        max_tokens=st.none() | st.integers(0, 10**12),
        prices=st.none() | paths,
    ),
    seed=st.integers(-(2**53), 2**53),
)


@given(configs)
def test_a_configuration_survives_plain_data_and_json(config: RunConfig) -> None:
    data = config_data(config)
    assert config_from(data) == config
    assert config_from(json.loads(json.dumps(data))) == config


def test_a_file_gives_the_same_as_yaml_and_as_json(tmp_path: Path) -> None:
    config = config_from({**SIMULATED, "selection": {"turns": [1, 2]}, "moderator": "keyword"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config_data(config)))
    (tmp_path / "run.json").write_text(json.dumps(config_data(config), indent="\t"))
    assert read_config(tmp_path / "run.yaml") == read_config(tmp_path / "run.json") == config


def test_a_model_may_be_given_by_its_name_alone() -> None:
    config = config_from(
        {"benchmark": "b", "target": "openai/m", "judge": "openai/j", "moderator": "keyword"}
    )
    assert (config.target.name, config.judge.name) == ("openai/m", "openai/j")
    assert config.moderator == ModeratorConfig(name="keyword")


def test_a_simulated_target_has_a_judge_of_its_own_and_a_real_one_has_none() -> None:
    assert config_from(SIMULATED).judge == JudgeConfig(name="refusal")
    judged = config_from({**SIMULATED, "judge": {"routing": "general"}}).judge
    assert (judged.name, judged.routing) == ("refusal", Routing.GENERAL)
    with pytest.raises(UsageError) as caught:
        config_from({"benchmark": "b", "target": "openai/m"})
    assert caught.value.code == "no_judge"


def test_part_of_a_judges_sampling_leaves_the_rest_as_it_is_for_judges() -> None:
    config = config_from({**SIMULATED, "judge": {"name": "openai/j", "sampling": {"temperature": None}}})
    assert config.judge.sampling == JudgeSampling(None, 512)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        config_from(SIMULATED).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"benchmark": 5}, "benchmark"),
        ({"target": {"name": "sim/steady", "sampling": {"temperature": 3}}}, "target.sampling.temperature"),
        (
            {"target": {"name": "sim/steady", "sampling": {"temperature": "hot"}}},
            "target.sampling.temperature",
        ),
        ({"target": {"name": "sim/steady", "temprature": 1}}, "target.temprature"),
        ({"target": ["sim/steady"]}, "target"),
        ({"judge": {"name": "refusal", "routing": "some"}}, "judge.routing"),
        ({"moderator": {"action": "block"}}, "moderator.name"),
        ({"moderator": {"name": "keyword", "action": "allow"}}, "moderator.action"),
        ({"moderator": {"name": "keyword", "band": [0.1]}}, "moderator.band"),
        ({"selection": {"turns": [1, 0]}}, "selection.turns[1]"),
        ({"selection": {"turns": []}}, "selection.turns"),
        ({"selection": None}, "selection"),
        ({"limits": {"concurrency": 0}}, "limits.concurrency"),
        ({"limits": {"timeout": True}}, "limits.timeout"),
        ({"budget": {"max_cost": -1}}, "budget.max_cost"),
        ({"history": "invented"}, "history"),
        ({"seed": 1.5}, "seed"),
        ({"out": "runs/x"}, "out"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(DataError) as caught:
        config_from({**SIMULATED, **change}, where="run.yaml")
    error = caught.value
    assert (error.code, error.fields["path"], error.fields["where"]) == ("wrong_form", path, "run.yaml")


keys = st.sampled_from([*msgspec.structs.asdict(config_from(SIMULATED)), "name", "sampling"])
plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner),
    max_leaves=8,
)


@given(plain_data)
def test_any_data_is_a_configuration_or_a_typed_error(data: Any) -> None:
    config = None
    with contextlib.suppress(SafemtError):
        config = config_from(data)
    assert config is None or config_from(config_data(config)) == config
