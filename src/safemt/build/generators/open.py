"""From the options of a build to the chat models that it asks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safemt.build.compose import TEMPLATE
from safemt.build.generators.llm import LLMGenerator, has_store
from safemt.build.generators.model import Purse, StoredModel
from safemt.build.output import work_folder
from safemt.core.errors import UsageError
from safemt.endpoints.base import Sampling
from safemt.endpoints.chat import ChatEndpoint
from safemt.endpoints.prices import PriceTable, read_prices

WRITING: Final = Sampling(temperature=0.8, max_output_tokens=3_000)
REVIEWING: Final = Sampling(temperature=0.0, max_output_tokens=800)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Who writes and reviews, where, and for how much."""

    generator: str = TEMPLATE
    """`template` or `openai/MODEL`."""
    base_url: str | None = None
    api_key_env: str | None = None
    reviewer: str | None = None
    """`openai/MODEL`; at the generator's address unless `reviewer_base_url` says otherwise."""
    reviewer_base_url: str | None = None
    reviewer_api_key_env: str | None = None
    concurrency: int = 20
    timeout: float = 120.0
    """Seconds for one call."""
    max_cost: float | None = None
    """US dollars for the whole build."""
    prices: Path | None = None


def open_generator(options: ModelOptions, *, out: Path, resume: bool) -> LLMGenerator | None:
    """The generator that the options name, or None for `template`.

    Raises:
        UsageError: there is no such generator, its options do not fit, or an unfinished build is in the way.
    """
    unfinished = has_store(work_folder(out))
    if options.generator == TEMPLATE:
        _require_template_alone(options, out, resume=resume, unfinished=unfinished)
        return None
    writer = model_name(options.generator, "generator")
    if unfinished and not resume:
        raise UsageError(
            "unfinished_build",
            f"An earlier build for {out} was interrupted; its paid answers are in {work_folder(out)}. Set "
            f"`resume` to "
            "continue with them, or remove that folder to begin again.",
            path=work_folder(out),
        )
    if options.reviewer == options.generator and options.reviewer_base_url in (None, options.base_url):
        raise UsageError(
            "reviewer_is_generator",
            "`reviewer` names the model that writes the dialogues. Name another one, so that no model judges "
            "its own "
            "writing.",
        )
    prices = read_prices(options.prices)
    purse = Purse(options.max_cost)
    opened = _opened(options, writer, "generator", WRITING, purse, prices)
    reviewer = None
    if options.reviewer is not None:
        name = model_name(options.reviewer, "reviewer")
        reviewer = _opened(options, name, "reviewer", REVIEWING, purse, prices)
    return LLMGenerator(opened, reviewer=reviewer, purse=purse, concurrency=options.concurrency)


def _require_template_alone(options: ModelOptions, out: Path, *, resume: bool, unfinished: bool) -> None:
    given = [
        name
        for name, value in (
            ("generator.base_url", options.base_url),
            ("generator.api_key_env", options.api_key_env),
            ("reviewer", options.reviewer),
            ("budget.max_cost", options.max_cost),
            ("resume", resume),
        )
        if value
    ]
    if given:
        raise UsageError(
            "template_makes_no_calls",
            f"The template generator makes no calls, so `{given[0]}` has no use. Leave it out, or choose a "
            f"chat model as "
            "`generator`.",
            option=given[0],
        )
    if unfinished:
        raise UsageError(
            "unfinished_build",
            f"{work_folder(out)} holds an unfinished build by a chat model. Continue that with `resume` and "
            f"its "
            "`generator`, remove the folder, or choose another `out`.",
            path=work_folder(out),
        )


def model_name(name: str, part: str) -> str:
    """The model in `openai/MODEL`.

    Raises:
        UsageError: the name has another form (`unknown_generator`, `unknown_reviewer`, `unknown_pilot`).
    """
    kind, _, model = name.partition("/")
    if kind != "openai" or not model:
        known = "template or openai/MODEL" if part == "generator" else "openai/MODEL"
        raise UsageError(f"unknown_{part}", f"`{part}` {name!r} is not known. Write {known}.", name=name)
    return model


def _opened(
    options: ModelOptions, model: str, part: str, sampling: Sampling, purse: Purse, prices: PriceTable
) -> StoredModel:
    own = part == "reviewer"
    endpoint = ChatEndpoint(
        model=model,
        base_url=(options.reviewer_base_url or options.base_url) if own else options.base_url,
        api_key_env=(options.reviewer_api_key_env or options.api_key_env) if own else options.api_key_env,
        sampling=sampling,
        timeout=options.timeout,
        role=part,
    )
    price = prices.price(f"openai/{model}", endpoint.origin)
    if purse.most is not None and price is None:
        raise UsageError(
            "price_unknown",
            f"The price of openai/{model} is not known, so `budget.max_cost` cannot be kept. Give its price "
            f"in a table "
            "(`budget.prices`).",
            model=f"openai/{model}",
        )
    return StoredModel(endpoint, part=part, concurrency=options.concurrency, purse=purse, price=price)
