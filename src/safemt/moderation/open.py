"""From what stands on the command line to a moderator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from safemt.core.errors import UsageError
from safemt.core.taxonomy import Action
from safemt.endpoints.base import Sampling
from safemt.judges.base import Ask
from safemt.moderation.detectors.cascade import Band, CascadeDetector
from safemt.moderation.detectors.detector import Detector
from safemt.moderation.moderator import Moderator, OnError
from safemt.moderation.policies.policy import read_policies

DEFAULT: Final = "embedded"
TIMEOUT: Final = 30.0
"""Seconds for one call to an endpoint: somebody waits for the verdict."""
NAMES: Final = (
    "embedded, llm:openai/MODEL, cascade:embedded,llm:openai/MODEL, guard/openai-moderation, "
    "guard/llama-guard, guard/shieldgemma, guard/qwen3guard, guard/llavashield, or a baseline: keyword, "
    "last-turn, max-turn, peak-accumulation, policy-always"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """What besides its name decides a detector; None leaves it as it is usually."""

    base_url: str | None = None
    api_key_env: str | None = None
    template: str | None = None
    """For `llm:…`: a guard template's name or file, in the place of our own prompt."""
    with_pictures: bool = False
    """For `llm:…`: show the model the pictures."""
    band: tuple[float, float] | None = None
    """For `cascade:…`: the risks between which the second is asked."""
    temperature: float | None = 0.0
    """None leaves it to the endpoint, for models that take no other."""
    max_output_tokens: int | None = None
    """Of an answer; models that think before it need more."""
    timeout: float = TIMEOUT


def open_moderator(
    name: str = DEFAULT,
    *,
    action: Action = Action.INJECT,
    on_error: OnError = OnError.INJECT,
    threshold: float | None = None,
    policies: Path | None = None,
    options: DetectorOptions | None = None,
    ask: Ask | None = None,
) -> Moderator:
    """The moderator called `name`, ready for use.

    Args:
        name: One of `NAMES`. A guard's model is named behind a colon where it is not the usual one:
            `guard/llama-guard:MODEL`.
        action: What is done with a flagged conversation.
        on_error: What is done with one that could not be read, wholly or in part.
        threshold: The risk from which on a conversation is flagged; None is the detector's own.
        policies: A folder of policies that stand in for ours.
        options: What else the detector needs.
        ask: How calls to endpoints are made; by default each is made once.

    Raises:
        UsageError: there is no such moderator, or its options do not fit it.
        ModeratorError: its model, its template or a policy cannot be used.
    """
    if action is Action.ALLOW:
        raise UsageError("A moderator that allows everything is none: the action must be inject or block.")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"The threshold must be a risk from 0 to 1, not {threshold:g}.")
    detector = open_detector(name, options or DetectorOptions())
    chosen = read_policies(policies)
    if ask is None:
        return Moderator(
            detector=detector, policies=chosen, action=action, on_error=on_error, threshold=threshold
        )
    return Moderator(
        detector=detector, policies=chosen, action=action, on_error=on_error, threshold=threshold, ask=ask
    )


def open_detector(name: str, options: DetectorOptions) -> Detector:
    """The detector called `name`.

    Raises:
        UsageError: there is no such detector, or its options do not fit it.
        ModeratorError: its model or its template cannot be used.
    """
    if name in _LOCAL and (options.base_url or options.api_key_env):
        raise UsageError(
            f"--moderator {name} makes no calls: leave out --moderator-base-url and --moderator-api-key-env."
        )
    if options.template is not None and "llm:" not in name:
        raise UsageError(f"--template is for --moderator llm:openai/MODEL; {name} is asked in its own way.")
    if options.with_pictures and "llm:" not in name:
        raise UsageError(f"--with-pictures is for --moderator llm:openai/MODEL, not for {name}.")
    if options.band is not None and not name.startswith("cascade:"):
        raise UsageError(f"--band is for --moderator cascade:FIRST,SECOND, not for {name}.")
    if name in _LOCAL:
        return _LOCAL[name]()
    for prefix, opener in _CALLING.items():
        if name.startswith(prefix):
            return opener(name.removeprefix(prefix), options)
    raise UsageError(f"--moderator {name!r} is not known. Write {NAMES}.")


def _embedded() -> Detector:
    from safemt.moderation.detectors.embedded.detector import EmbeddedDetector

    return EmbeddedDetector.load()


def _keyword() -> Detector:
    from safemt.moderation.detectors.baselines.keyword import KeywordDetector

    return KeywordDetector()


def _always() -> Detector:
    from safemt.moderation.detectors.baselines.always import AlwaysDetector

    return AlwaysDetector()


def _turns(name: str) -> Detector:
    from safemt.moderation.detectors.baselines.turns import TurnsDetector

    return TurnsDetector(name=name, turns=_embedded())


def _llm(rest: str, options: DetectorOptions) -> Detector:
    from safemt.moderation.detectors.llm import MOST_OUTPUT_TOKENS, LLMDetector

    model = rest.removeprefix("openai/")
    if model == rest or not model:
        raise UsageError(f"--moderator llm:{rest} is not known. Write llm:openai/MODEL.")
    if options.template is None:
        return LLMDetector(
            model,
            base_url=options.base_url,
            api_key_env=options.api_key_env,
            with_pictures=options.with_pictures,
            sampling=Sampling(options.temperature, options.max_output_tokens or MOST_OUTPUT_TOKENS),
            timeout=options.timeout,
        )
    return _by_template(options.template, f"llm:openai/{model}", model, options)


def _guard(rest: str, options: DetectorOptions) -> Detector:
    from safemt.moderation.detectors.guards.moderation_service import ModerationServiceDetector
    from safemt.moderation.detectors.guards.template import packaged_templates

    kind, _, model = rest.partition(":")
    if kind == "openai-moderation":
        return ModerationServiceDetector(
            model=model or None,
            base_url=options.base_url,
            api_key_env=options.api_key_env,
            timeout=options.timeout,
        )
    if kind not in packaged_templates():
        raise UsageError(
            f"--moderator guard/{kind} is not known. There are: guard/openai-moderation, "
            f"{', '.join(f'guard/{each}' for each in packaged_templates())}. Another guard model is "
            "llm:openai/MODEL with --template FILE."
        )
    if options.base_url is None:
        raise UsageError(
            f"--moderator guard/{kind} needs a server that has the model: name it with --moderator-base-url, "
            "such as http://localhost:8000/v1."
        )
    return _by_template(kind, f"guard/{rest}", model or None, options)


def _by_template(template: str, name: str, model: str | None, options: DetectorOptions) -> Detector:
    from safemt.moderation.detectors.guards.guard import GuardDetector
    from safemt.moderation.detectors.guards.template import read_template

    read = read_template(template)
    return GuardDetector(
        read,
        name=name,
        model=model,
        base_url=options.base_url,
        api_key_env=options.api_key_env,
        sampling=Sampling(options.temperature, options.max_output_tokens or read.max_output_tokens),
        timeout=options.timeout,
    )


def _cascade(rest: str, options: DetectorOptions) -> Detector:
    first_name, comma, second_name = rest.partition(",")
    if not comma or first_name.startswith("cascade:") or second_name.startswith("cascade:"):
        raise UsageError(
            f"--moderator cascade:{rest} must name two moderators, such as cascade:embedded,llm:openai/MODEL."
        )
    calling = replace(options, band=None)
    first, second = (
        open_detector(member, DetectorOptions() if member in _LOCAL else _fitting(calling, member))
        for member in (first_name, second_name)
    )
    return CascadeDetector(first, second, _band(options.band, first))


def _fitting(options: DetectorOptions, name: str) -> DetectorOptions:
    """Those of a cascade's options that one of its members takes."""
    return options if name.startswith("llm:") else replace(options, template=None, with_pictures=False)


def _band(band: tuple[float, float] | None, first: Detector) -> Band:
    """The user's band; else half way from the first's threshold down to 0 and up to 1."""
    low, high = band or (first.threshold / 2, (1 + first.threshold) / 2)
    if not 0 <= low < high <= 1:
        raise UsageError(f"--band needs two risks from 0 to 1, the lower first, not {low:g},{high:g}.")
    return Band(low, high)


_LOCAL: Final[Mapping[str, Callable[[], Detector]]] = {
    "embedded": _embedded,
    "keyword": _keyword,
    "last-turn": partial(_turns, "last-turn"),
    "max-turn": partial(_turns, "max-turn"),
    "peak-accumulation": partial(_turns, "peak-accumulation"),
    "policy-always": _always,
}
"""What makes no calls."""
_CALLING: Final[Mapping[str, Callable[[str, DetectorOptions], Detector]]] = {
    "llm:": _llm,
    "guard/": _guard,
    "cascade:": _cascade,
}
"""How the names of the others begin, and who opens the rest."""
