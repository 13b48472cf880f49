"""A run is one configuration: the command line, Python and files all make a `RunConfig`.

The manifest keeps it whole, and the identities of calls and labels are derived from it.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from safemt.core.taxonomy import Action
from safemt.endpoints.base import EndpointConfig, Sampling
from safemt.io.yaml import read_yaml, typed
from safemt.judges.rubric import Routing
from safemt.moderation.moderator import OnError
from safemt.moderation.policies.inject import BUDGET, Position
from safemt.run.protocol import History

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=86_400)]
_MODELS: Final = ("target", "judge", "moderator")


class TargetConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model under test."""


class JudgeConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What labels the responses."""

    sampling: Sampling = Sampling(max_output_tokens=512)
    """A verdict needs few tokens and no variety."""
    routing: Routing = Routing.SCENARIO
    with_image: bool = False
    """Whether the judge is shown the image."""


class ModeratorConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands before the target, and what it may do."""

    action: Action = Action.INJECT
    on_error: OnError = OnError.INJECT
    threshold: _Share | None = None
    """The risk from which a dialogue is flagged; None is the moderator's own."""
    thresholds: Path | None = None
    """A file that `safemt moderator calibrate` wrote."""
    template: str | None = None
    """For `llm:…`: a guard template's name or file."""
    band: tuple[_Share, _Share] | None = None
    """For `cascade:…`: the risks between which the second moderator is asked."""
    with_pictures: bool = False
    """For `llm:…`: whether the model is shown the pictures."""
    policies: Path | None = None
    """A folder of policies that replace ours."""
    policy_position: Position = Position.LATE_SYSTEM
    policy_budget: _Positive = BUDGET
    """Approximate tokens of an injection."""
    timeout: _Seconds = 30.0
    """Seconds for one call."""


class SelectionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which samples of the benchmark are asked."""

    turns: tuple[_Positive, ...] | None = None
    """Numbers of turns; None is all."""
    limit: _Positive | None = None
    """At most so many queries, spread over the scenarios."""
    text_only: bool = False
    skip_missing_images: bool = False


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard endpoints are pressed."""

    concurrency: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 20
    """Most calls at once to one endpoint."""
    timeout: _Seconds = 120.0
    """Seconds for one call to the target or the judge."""


class BudgetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the run directory may spend, earlier runs included."""

    max_cost: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """US dollars."""
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Input and output together."""
    prices: Path | None = None
    """A YAML file of prices, on top of the shipped table."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run is. Holds names of environment variables, never keys."""

    benchmark: str
    """A folder, a file, `demo`, or `hub:OWNER/NAME[@REVISION]`."""
    target: TargetConfig
    judge: JudgeConfig
    moderator: ModeratorConfig | None = None
    selection: SelectionConfig = SelectionConfig()
    history: History = History.SCRIPTED
    limits: LimitsConfig = LimitsConfig()
    budget: BudgetConfig = BudgetConfig()
    seed: int = 0


def read_config(path: Path) -> RunConfig:
    """The configuration in a YAML or JSON file.

    Raises:
        DataError: it cannot be read, or a value does not fit; the message has the path inside the file.
    """
    return config_from(read_yaml(path), where=str(path))


def config_from(data: Any, *, where: str) -> RunConfig:
    """A configuration from plain data. A model may be given by its name alone: `target: openai/m`.

    Raises:
        DataError: a value does not fit.
    """
    if isinstance(data, dict):
        data = {
            key: {"name": value} if key in _MODELS and isinstance(value, str) else value
            for key, value in data.items()
        }
    return typed(data, RunConfig, where=where)


def config_data(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain data, for JSON or YAML; `config_from` reads it back."""
    return dict(msgspec.to_builtins(config, enc_hook=str))
