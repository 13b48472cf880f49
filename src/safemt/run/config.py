"""A run is one configuration: the command line, Python and files all make a `RunConfig`.

The manifest keeps it whole. It holds names of environment variables, never keys, so it may be stored, printed
and sent to other machines.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from safemt.core.errors import UsageError
from safemt.judges.open import JudgeConfig
from safemt.moderation.open import ModeratorConfig
from safemt.run.protocol import History
from safemt.targets.open import TargetConfig

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_MODELS: Final = ("target", "judge", "moderator")


class SelectionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which samples of the benchmark a run asks."""

    turns: Annotated[tuple[_Positive, ...], msgspec.Meta(min_length=1)] | None = None
    """Numbers of turns; None is all."""
    limit: _Positive | None = None
    """The largest number of queries, spread over the scenarios; None is all."""
    text_only: bool = False
    """Whether samples are asked without their images."""
    skip_missing_images: bool = False
    """Whether samples whose image is missing are left out; otherwise they are an error."""


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard a run presses the endpoints."""

    concurrency: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 20
    """The most calls at once to one endpoint."""
    timeout: Annotated[float, msgspec.Meta(ge=0.1, le=86_400)] = 120.0
    """Seconds for one call to the target or the judge."""


class BudgetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run directory may spend, earlier runs included."""

    max_cost: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """US dollars."""
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Input and output together."""
    prices: Path | None = None
    """A YAML file of prices that extends the shipped table."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run is."""

    benchmark: str
    """A folder, a file, `demo`, or `hub:OWNER/NAME[@REVISION]`."""
    target: TargetConfig
    judge: JudgeConfig
    moderator: ModeratorConfig | None = None
    """What guards the target; None is nothing."""
    selection: SelectionConfig = SelectionConfig()
    history: History = History.SCRIPTED
    limits: LimitsConfig = LimitsConfig()
    budget: BudgetConfig = BudgetConfig()
    seed: int = 0
    """Seed of the selection, the order of samples and simulated targets."""


class JudgingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How responses that exist already are judged; its parts are those of a `RunConfig`."""

    judge: JudgeConfig
    limits: LimitsConfig = LimitsConfig()
    budget: BudgetConfig = BudgetConfig()


class RowsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows of a file of labels a judge is checked on."""

    language: str | None = None
    """Such as `en`; None is every language."""
    limit: Annotated[int, msgspec.Meta(ge=2)] | None = None
    """The largest number of rows; None is all."""


class JudgeCheckConfig(JudgingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a judge is checked."""

    selection: RowsConfig = RowsConfig()
    seed: int = 0
    """Seed of the choice of rows."""


def read_config(path: Path) -> RunConfig:
    """The configuration in a YAML file, or in a JSON file whose name ends in `.json`.

    Raises:
        DataError: the file cannot be read, or a value does not fit; the message has the path inside the file.
        UsageError: it names no judge, and the target is not simulated.
    """
    return config_from(read_config_data(path), where=str(path))


def read_config_data(path: Path) -> Any:
    """The plain data of a configuration file, each model's name spelled out; not checked any further.

    Raises:
        DataError: the file cannot be read, is too large, or is neither YAML nor JSON.
    """
    from safemt.io.yaml import read_json, read_yaml

    return _named(read_json(path) if path.suffix == ".json" else read_yaml(path))


def config_from(data: Any, *, where: str = "the configuration") -> RunConfig:
    """A configuration from plain data.

    A model may be given by its name alone (`target: openai/m`). Without a judge, a simulated target is judged
    by `refusal`.

    Args:
        data: What a YAML or JSON file holds.
        where: What messages call the data.

    Raises:
        DataError: a value does not fit.
        UsageError: there is no judge, and the target is not simulated.
    """
    from safemt.io.yaml import typed

    return typed(_judged(_named(data)), RunConfig, where=where)


def config_data(config: msgspec.Struct) -> dict[str, Any]:
    """The configuration as plain data, for JSON or YAML; `config_from` reads it back."""
    return dict(msgspec.to_builtins(config, enc_hook=str))


def _named(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    return {
        key: {"name": value} if key in _MODELS and isinstance(value, str) else value
        for key, value in data.items()
    }


def _judged(data: Any) -> Any:
    """The data with the judge of a simulated target, unless they name one."""
    if not isinstance(data, dict):
        return data
    target, judge = data.get("target"), data.get("judge") or {}
    name = target.get("name") if isinstance(target, dict) else None
    if not isinstance(name, str) or not isinstance(judge, dict) or "name" in judge:
        return data
    if name.startswith("sim/"):
        return {**data, "judge": {"name": "refusal", **judge}}
    raise UsageError(
        "no_judge",
        "No judge was given. Set `judge` to openai/MODEL (another model than the target), recorded/PATH, or "
        "refusal (offline and weak). The target never judges itself by default.",
    )
