"""From what stands on the command line to a judge."""

from pathlib import Path
from typing import Final

from safemt.core.errors import UsageError
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.io.images import ImageFolder
from safemt.judges.base import Judge
from safemt.judges.llm import LLMJudge
from safemt.judges.panel import PanelJudge
from safemt.judges.recorded import RecordedJudge
from safemt.judges.refusal import RefusalJudge
from safemt.judges.rubric import Routing

SAMPLING: Final = Sampling(temperature=0.0, max_output_tokens=512)
"""A verdict needs few tokens and no variety."""

_PANEL: Final = "panel:"


def open_judge(
    name: str,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    sampling: Sampling = SAMPLING,
    routing: Routing,
    with_image: bool,
    timeout: float,
    images: ImageFolder | None,
) -> Judge:
    """The judge called `name`: `openai/MODEL`, `refusal`, `recorded/PATH` or `panel:A,B,C` of these.

    All models of a panel share the options.

    Raises:
        UsageError: there is no such judge, or its options do not fit it.
        LabelsError: the recorded labels cannot be read.
    """
    if name.startswith(_PANEL):
        members = [member.strip() for member in name.removeprefix(_PANEL).split(",")]
        calling = [member.startswith("openai/") for member in members]
        if (base_url or api_key_env) and not any(calling):
            raise UsageError(
                f"--judge {name} makes no calls: leave out --judge-base-url and --judge-api-key-env."
            )
        return PanelJudge(
            [
                open_judge(
                    member,
                    base_url=base_url if calls else None,
                    api_key_env=api_key_env if calls else None,
                    sampling=sampling,
                    routing=routing,
                    with_image=with_image,
                    timeout=timeout,
                    images=images,
                )
                for member, calls in zip(members, calling, strict=True)
            ]
        )
    kind, _, rest = name.partition("/")
    if name != "refusal" and not (rest and kind in ("openai", "recorded")):
        raise UsageError(
            f"--judge {name!r} is not known. Write openai/MODEL, refusal, recorded/PATH or panel:A,B,C."
        )
    if kind != "openai" and (base_url or api_key_env):
        raise UsageError(
            f"--judge {name} makes no calls: leave out --judge-base-url and --judge-api-key-env."
        )
    if kind == "refusal":
        return RefusalJudge()
    if kind == "recorded":
        return RecordedJudge(Path(rest))
    endpoint = ChatEndpoint(
        model=rest,
        base_url=base_url,
        api_key_env=api_key_env,
        sampling=sampling,
        timeout=timeout,
        images=images,
        role="judge",
    )
    return LLMJudge(endpoint, routing=routing, with_image=with_image)
