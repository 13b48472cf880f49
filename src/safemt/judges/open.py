"""Opens the judge that a configuration names."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from safemt.core.errors import UsageError
from safemt.endpoints.base import EndpointConfig, Sampling
from safemt.judges.rubric import Routing

if TYPE_CHECKING:
    from safemt.io.images import ImageFolder
    from safemt.judges.base import Judge

_PANEL = "panel:"


class JudgeSampling(Sampling, frozen=True, forbid_unknown_fields=True):
    """How a judge's model is asked to generate: a verdict is short, and should not vary."""

    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] = 512


class JudgeConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What labels the responses: `openai/MODEL`, `refusal`, `recorded/PATH` or `panel:A,B,C` of these.

    All models of a panel share the settings.
    """

    sampling: JudgeSampling = JudgeSampling()
    routing: Routing = Routing.SCENARIO
    with_image: bool = False
    """Whether the judge sees the image."""


def open_judge(config: JudgeConfig, *, timeout: float, images: "ImageFolder | None" = None) -> "Judge":
    """The judge that `config` names.

    Args:
        config: The judge, its server, its rubric and how to sample from it.
        timeout: Seconds for one call.
        images: Where the images are read from if the judge sees them.

    Raises:
        UsageError: there is no such judge, or a setting does not apply to it.
        LabelsError: the recorded labels cannot be read.
    """
    from safemt.judges.panel import PanelJudge

    if not config.name.startswith(_PANEL):
        return _open_one(config, timeout=timeout, images=images)
    members = [member.strip() for member in config.name.removeprefix(_PANEL).split(",")]
    if not any(member.startswith("openai/") for member in members):
        _require_no_endpoint(config)
    plain = msgspec.structs.replace(config, base_url=None, api_key_env=None)
    return PanelJudge(
        [
            _open_one(
                msgspec.structs.replace(config if member.startswith("openai/") else plain, name=member),
                timeout=timeout,
                images=images,
            )
            for member in members
        ]
    )


def _open_one(config: JudgeConfig, *, timeout: float, images: "ImageFolder | None") -> "Judge":
    from safemt.endpoints.chat import ChatEndpoint
    from safemt.judges.llm import LLMJudge
    from safemt.judges.recorded import RecordedJudge
    from safemt.judges.refusal import RefusalJudge

    kind, _, rest = config.name.partition("/")
    if config.name != "refusal" and not (rest and kind in ("openai", "recorded")):
        raise UsageError(
            "unknown_judge",
            f"`judge` {config.name!r} is not known. Use openai/MODEL, refusal, recorded/PATH or panel:A,B,C.",
            name=config.name,
        )
    if kind != "openai":
        _require_no_endpoint(config)
        return RefusalJudge() if kind == "refusal" else RecordedJudge(Path(rest))
    endpoint = ChatEndpoint(
        model=rest,
        base_url=config.base_url,
        api_key_env=config.api_key_env,
        sampling=config.sampling,
        timeout=timeout,
        images=images,
        role="judge",
    )
    return LLMJudge(endpoint, routing=config.routing, with_image=config.with_image)


def _require_no_endpoint(config: JudgeConfig) -> None:
    if config.base_url or config.api_key_env:
        raise UsageError(
            "makes_no_calls",
            f"The judge {config.name} makes no calls. Leave out `judge.base_url` and `judge.api_key_env`.",
            name=config.name,
        )
