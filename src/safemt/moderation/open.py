"""Opens the moderator that a name or a configuration describes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import msgspec

from safemt.core.errors import UsageError
from safemt.core.taxonomy import Action, OnError
from safemt.endpoints.base import EndpointConfig, Sampling
from safemt.moderation.policies.inject import BUDGET, Position

if TYPE_CHECKING:
    from safemt.core.identity import Json
    from safemt.endpoints.asking import Ask
    from safemt.endpoints.chat import ChatEndpoint
    from safemt.moderation.detectors.cascade import Band
    from safemt.moderation.detectors.detector import Detector
    from safemt.moderation.moderator import Moderator

E = TypeVar("E", bound="ChatEndpoint")
DEFAULT: Final = "embedded"
NAMES: Final = (
    "embedded, llm:openai/MODEL, cascade:embedded,llm:openai/MODEL, guard/openai-moderation, "
    "guard/llama-guard, guard/shieldgemma, guard/qwen3guard, guard/llavashield, or a baseline: keyword, "
    "last-turn, max-turn, peak-accumulation, policy-always"
)
_Risk = Annotated[float, msgspec.Meta(ge=0, le=1)]
_CALLS: Final = "a moderator that calls an endpoint"
_OUR_PROMPT: Final = "llm:openai/MODEL"
_TAKEN_BY: Final[Mapping[str, str]] = {
    "base_url": _CALLS,
    "api_key_env": _CALLS,
    "template": _OUR_PROMPT,
    "with_pictures": _OUR_PROMPT,
    "band": "cascade:FIRST,SECOND",
}
"""The settings that only some kinds of moderator take, and which kinds these are."""


class ModeratorSampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a moderator's model is asked to generate."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = 0.0
    """None leaves it to the server (some models accept no other)."""
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """None is the detector's own; models that think before they answer need more."""


class ModeratorConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What guards the target, and what it may do. `NAMES` lists the names.

    A guard's model follows a colon where it is not the usual one: `guard/llama-guard:MODEL`.
    """

    sampling: ModeratorSampling = ModeratorSampling()
    action: Literal["inject", "block"] = "inject"
    """What to do with a flagged dialogue: inject a policy, or block it."""
    on_error: OnError = OnError.INJECT
    """What to do with a dialogue that could not be read, in whole or in part."""
    threshold: _Risk | None = None
    """The risk from which a dialogue is flagged; None is the moderator's own."""
    thresholds: Path | None = None
    """A file that `safemt moderator calibrate` wrote, in place of `threshold`."""
    template: str | None = None
    """For `llm:…`: a guard template's name or file, in place of our prompt."""
    band: tuple[_Risk, _Risk] | None = None
    """For `cascade:…`: the risks between which the second moderator is asked. None is half-way from the
    first's threshold down to 0 and up to 1."""
    with_pictures: bool = False
    """For `llm:…`: whether the model sees the pictures."""
    policies: Path | None = None
    """A folder of policies that replace ours."""
    policy_position: Position = Position.LATE_SYSTEM
    policy_budget: Annotated[int, msgspec.Meta(ge=1)] = BUDGET
    """Approximate tokens of an injection."""
    timeout: Annotated[float, msgspec.Meta(ge=0.1, le=86_400)] = 30.0
    """Seconds for one call: somebody waits for the verdict."""


def open_moderator(
    moderator: str | ModeratorConfig = DEFAULT, *, ask: "Ask | None" = None, **settings: Any
) -> "Moderator":
    """A moderator, ready for use.

        open_moderator("embedded")
        open_moderator("llm:openai/m", base_url="http://localhost:8000/v1", action="block", timeout=5)

    Args:
        moderator: A name (see `NAMES`) or a configuration.
        ask: Makes the calls to endpoints.
        settings: Fields of `ModeratorConfig` by name; they override those of a configuration.

    Raises:
        DataError: a setting is unknown or has a wrong value.
        UsageError: there is no such moderator, or a setting does not apply to it.
        ModeratorError: its model, its template or a policy cannot be used.
    """
    from safemt.io.yaml import typed
    from safemt.moderation.measuring.thresholds import with_thresholds
    from safemt.moderation.moderator import Moderator
    from safemt.moderation.policies.policy import read_policies

    given = {"name": moderator} if isinstance(moderator, str) else msgspec.structs.asdict(moderator)
    data = msgspec.to_builtins({**given, **settings}, enc_hook=str)
    config = typed(data, ModeratorConfig, where="moderator")
    opened = Moderator(
        detector=open_detector(config),
        policies=read_policies(config.policies),
        action=Action(config.action),
        on_error=config.on_error,
        threshold=config.threshold,
        **({} if ask is None else {"ask": ask}),
    )
    return with_thresholds(opened, config.thresholds)


def open_detector(config: ModeratorConfig) -> "Detector":
    """The detector that `config` names.

    Raises:
        UsageError: there is no such detector, or a setting does not apply to it.
        ModeratorError: its model or its template cannot be used.
    """
    name = config.name
    prefix = next((each for each in _CALLING if name.startswith(each)), None)
    if prefix is None and name not in _LOCAL:
        raise UsageError("unknown_moderator", f"`moderator` {name!r} is not known. Use {NAMES}.", name=name)
    fitting = fit_settings(config, name)
    for setting, kind in _TAKEN_BY.items():
        if getattr(fitting, setting) != getattr(config, setting):
            path = f"moderator.{setting}"
            raise UsageError(
                "setting_does_not_apply", f"`{path}` is for {kind}, not for {name}.", setting=path, name=name
            )
    return _LOCAL[name]() if prefix is None else _CALLING[prefix](name.removeprefix(prefix), config)


def fit_settings(config: ModeratorConfig, name: str) -> ModeratorConfig:
    """`config` for the moderator `name`, without the settings that moderators of its kind do not take."""
    dropped: dict[str, Any] = {}
    if not name.startswith(tuple(_CALLING)):
        dropped |= {"base_url": None, "api_key_env": None}
    if "llm:" not in name:
        dropped |= {"template": None, "with_pictures": False}
    if not name.startswith("cascade:"):
        dropped["band"] = None
    return msgspec.structs.replace(config, name=name, **dropped)


def fit_all(config: ModeratorConfig, names: Sequence[str]) -> list[ModeratorConfig]:
    """`config` for each of several moderators, with the settings that each takes.

    Raises:
        UsageError: a moderator is named twice, or a setting applies to none of them.
    """
    if len(set(names)) < len(names):
        raise UsageError("named_twice", "A moderator is named twice. Name each once.", names=list(names))
    if len(names) == 1:  # which says itself what does not apply to it
        return [msgspec.structs.replace(config, name=names[0])]
    fitting = [fit_settings(config, name) for name in names]
    for setting in _TAKEN_BY:
        given = getattr(config, setting)
        if given and not any(getattr(each, setting) == given for each in fitting):
            path = f"moderator.{setting}"
            raise UsageError(
                "setting_does_not_apply",
                f"`{path}` applies to none of these moderators: {', '.join(names)}.",
                setting=path,
                name=", ".join(names),
            )
    return fitting


def _embedded() -> "Detector":
    from safemt.moderation.detectors.embedded.detector import EmbeddedDetector

    return EmbeddedDetector.load()


def _keyword() -> "Detector":
    from safemt.moderation.detectors.baselines.keyword import KeywordDetector

    return KeywordDetector()


def _always() -> "Detector":
    from safemt.moderation.detectors.baselines.always import AlwaysDetector

    return AlwaysDetector()


def _turns(name: str) -> "Detector":
    from safemt.moderation.detectors.baselines.turns import TurnsDetector

    return TurnsDetector(name=name, turns=_embedded())


def _llm(rest: str, config: ModeratorConfig) -> "Detector":
    from safemt.endpoints.chat import ChatEndpoint
    from safemt.moderation.detectors.llm import MOST_OUTPUT_TOKENS, LLMDetector

    model = rest.removeprefix("openai/")
    if model == rest or not model:
        raise UsageError(
            "unknown_moderator",
            f"`moderator` 'llm:{rest}' is not known. Use llm:openai/MODEL.",
            name=f"llm:{rest}",
        )
    if config.template is not None:
        return _by_template(config.template, f"llm:openai/{model}", model, config)
    return LLMDetector(_endpoint(ChatEndpoint, model, config, MOST_OUTPUT_TOKENS), config.with_pictures)


def _guard(rest: str, config: ModeratorConfig) -> "Detector":
    from safemt.moderation.detectors.guards.moderation_service import (
        MODEL,
        ModerationEndpoint,
        ModerationServiceDetector,
    )
    from safemt.moderation.detectors.guards.template import packaged_templates

    kind, _, model = rest.partition(":")
    if kind == "openai-moderation":
        return ModerationServiceDetector(_endpoint(ModerationEndpoint, model or MODEL, config, 1))
    if kind not in packaged_templates():
        known = ", ".join(f"guard/{each}" for each in ("openai-moderation", *packaged_templates()))
        raise UsageError(
            "unknown_moderator",
            f"`moderator` 'guard/{kind}' is not known. There are {known}. For another guard model, use "
            "llm:openai/MODEL with a template file in `moderator.template`.",
            name=f"guard/{kind}",
        )
    if config.base_url is None:
        raise UsageError(
            "no_server",
            f"guard/{kind} needs a server that has the model. Give its address in `moderator.base_url`, such "
            "as http://localhost:8000/v1.",
            name=f"guard/{kind}",
        )
    return _by_template(kind, f"guard/{rest}", model or None, config)


def _by_template(template: str, name: str, model: str | None, config: ModeratorConfig) -> "Detector":
    from safemt.endpoints.chat import ChatEndpoint
    from safemt.moderation.detectors.guards.guard import GuardDetector
    from safemt.moderation.detectors.guards.template import read_template

    read = read_template(template)
    most = read.max_output_tokens
    endpoints = [
        _endpoint(ChatEndpoint, model or read.model, config, most, request.extra) for request in read.requests
    ]
    return GuardDetector(read, endpoints, name=name)


def _endpoint(
    kind: type[E],
    model: str,
    config: ModeratorConfig,
    max_output_tokens: int,
    extra: "Mapping[str, Json] | None" = None,
) -> E:
    """The endpoint of a moderator's model; `max_output_tokens` are the detector's own."""
    most = config.sampling.max_output_tokens or max_output_tokens
    return kind(
        model=model,
        base_url=config.base_url,
        api_key_env=config.api_key_env,
        sampling=Sampling(config.sampling.temperature, most),
        timeout=config.timeout,
        role="moderator",
        extra=extra,
    )


def _cascade(rest: str, config: ModeratorConfig) -> "Detector":
    from safemt.moderation.detectors.cascade import CascadeDetector

    first_name, comma, second_name = rest.partition(",")
    if not comma or first_name.startswith("cascade:") or second_name.startswith("cascade:"):
        raise UsageError(
            "not_two_moderators",
            f"`moderator` 'cascade:{rest}' must name two moderators, such as "
            "cascade:embedded,llm:openai/MODEL.",
            name=f"cascade:{rest}",
        )
    first, second = (open_detector(fit_settings(config, member)) for member in (first_name, second_name))
    return CascadeDetector(first, second, _band(config.band, first))


def _band(band: tuple[float, float] | None, first: "Detector") -> "Band":
    from safemt.moderation.detectors.cascade import Band

    low, high = band or (first.threshold / 2, (1 + first.threshold) / 2)
    if low >= high:
        raise UsageError(
            "empty_band",
            f"`moderator.band` needs two risks from 0 to 1, the lower one first, not {low:g},{high:g}.",
            low=low,
            high=high,
        )
    return Band(low, high)


_LOCAL: Final[Mapping[str, "Callable[[], Detector]"]] = {
    "embedded": _embedded,
    "keyword": _keyword,
    "last-turn": partial(_turns, "last-turn"),
    "max-turn": partial(_turns, "max-turn"),
    "peak-accumulation": partial(_turns, "peak-accumulation"),
    "policy-always": _always,
}
"""Moderators that make no calls."""
_CALLING: Final[Mapping[str, "Callable[[str, ModeratorConfig], Detector]"]] = {
    "llm:": _llm,
    "guard/": _guard,
    "cascade:": _cascade,
}
"""The others: how their names begin, and what opens the rest of the name."""
