"""Opens the target that a configuration names."""

from pathlib import Path
from typing import TYPE_CHECKING

from safemt.core.errors import UsageError
from safemt.endpoints.base import EndpointConfig, Sampling

if TYPE_CHECKING:
    from safemt.io.images import ImageFolder
    from safemt.targets.base import Target


class TargetConfig(EndpointConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model under test: `openai/MODEL`, `replay/PATH` or `sim/NAME`."""

    sampling: Sampling = Sampling()


def open_target(
    config: TargetConfig, *, timeout: float, seed: int = 0, images: "ImageFolder | None" = None
) -> "Target":
    """The target that `config` names.

    Args:
        config: The model, its server and how to sample from it.
        timeout: Seconds for one call.
        seed: Seed of a simulated target.
        images: Where the images of requests are read from.

    Raises:
        UsageError: there is no such target, or a setting does not apply to it.
        LabelsError: the recorded responses cannot be read.
    """
    from safemt.endpoints.chat import ChatEndpoint
    from safemt.targets.openai import OpenAITarget
    from safemt.targets.replay import read_replay
    from safemt.targets.simulated import SimulatedTarget

    kind, _, rest = config.name.partition("/")
    if not rest or kind not in ("openai", "replay", "sim"):
        raise UsageError(
            "unknown_target",
            f"`target` {config.name!r} is not known. Use openai/MODEL (with `target.base_url` for any "
            "OpenAI-compatible server), replay/PATH, sim/steady, sim/drifting or sim/brittle.",
            name=config.name,
        )
    if kind != "openai" and (config.base_url or config.api_key_env):
        raise UsageError(
            "makes_no_calls",
            f"The target {config.name} makes no calls. Leave out `target.base_url` and `target.api_key_env`.",
            name=config.name,
        )
    if kind == "sim":
        return SimulatedTarget(rest, seed=seed)
    if kind == "replay":
        return read_replay(Path(rest))
    endpoint = ChatEndpoint(
        model=rest,
        base_url=config.base_url,
        api_key_env=config.api_key_env,
        sampling=config.sampling,
        timeout=timeout,
        images=images,
        role="target",
    )
    return OpenAITarget(endpoint)
