"""From what stands on the command line to a target."""

from pathlib import Path

from safemt.core.errors import UsageError
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.io.images import ImageFolder
from safemt.targets.base import Target
from safemt.targets.openai import OpenAITarget
from safemt.targets.replay import read_replay
from safemt.targets.simulated import SimulatedTarget


def open_target(
    name: str,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    sampling: Sampling,
    timeout: float,
    seed: int,
    images: ImageFolder | None,
) -> Target:
    """The target called `name`: `openai/MODEL`, `replay/PATH` or `sim/NAME`.

    Raises:
        UsageError: there is no such kind of target, or its options do not fit it.
        LabelsError: the recorded responses cannot be read.
    """
    kind, _, rest = name.partition("/")
    if not rest or kind not in ("openai", "replay", "sim"):
        raise UsageError(
            f"--target {name!r} is not known. Write openai/MODEL (also for any OpenAI-compatible server, "
            "with --target-base-url), replay/PATH, or sim/steady, sim/drifting, sim/brittle."
        )
    if kind != "openai" and (base_url or api_key_env):
        raise UsageError(
            f"--target {name} makes no calls: leave out --target-base-url and --target-api-key-env."
        )
    if kind == "sim":
        return SimulatedTarget(rest, seed=seed)
    if kind == "replay":
        return read_replay(Path(rest))
    return OpenAITarget(
        ChatEndpoint(
            model=rest,
            base_url=base_url,
            api_key_env=api_key_env,
            sampling=sampling,
            timeout=timeout,
            images=images,
            role="target",
        )
    )
