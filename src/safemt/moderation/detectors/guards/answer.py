"""What a guard model answered: a risk and its categories, or nothing that can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from safemt.core.taxonomy import Scenario
from safemt.endpoints.base import Reply
from safemt.moderation.detectors.guards.template import GuardRequest, GuardTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardAnswer:
    """What a guard said of what it was shown."""

    risk: float
    scenarios: Mapping[Scenario, float]
    """Empty unless it found something."""


def read_guard_answer(reply: Reply, template: GuardTemplate, request: GuardRequest) -> GuardAnswer | None:
    """The answer, if the whole of it has the form that the template knows; None if not.

    The risk is the label's, or the probability of the bad label's token where the template wants it and the
    server gave it.
    """
    said = _said(reply.text.strip(), template)
    if said is None:
        return None
    label, score = said.get("label"), said.get("score")
    if label is not None:
        if label not in template.labels:
            return None
        risk = _probability(reply, template, label)
    else:
        try:
            risk = float(score)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        if not 0 <= risk <= 1 or isinstance(score, bool):
            return None
    # A good answer names no categories, or names them for completeness.
    bad = risk > 0 and (label is None or template.labels[label] > 0)
    named = [request.category] if request.category else _named(said.get("categories"), template)
    return GuardAnswer(risk=risk, scenarios=_scenarios(named, template) if bad else {})


def _said(text: str, template: GuardTemplate) -> Mapping[str, Any] | None:
    """The parts of an answer: `label` or `score`, and `categories`."""
    if template.pattern is not None:
        match = template.pattern.fullmatch(text)
        return match.groupdict() if match else None
    bare = text.removeprefix("<OUTPUT>").removesuffix("</OUTPUT>").strip()
    try:
        fields = orjson.loads(bare.removeprefix("```json").removeprefix("```").removesuffix("```"))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    return {part: fields.get(name) for part, name in template.fields.items()}


def _probability(reply: Reply, template: GuardTemplate, label: str) -> float:
    """The probability of the bad label against the good one; the label's own risk where it is not to be had.

    Some tokenizers cut a label in pieces; so the label itself must be among the tokens.
    """
    if template.probability is None or reply.first_token is None:
        return template.labels[label]
    tokens: dict[str, float] = {}
    for token, chance in reply.first_token.items():
        tokens[token.strip()] = tokens.get(token.strip(), 0.0) + chance
    bad, good = (tokens.get(each, 0.0) for each in template.probability)
    if label not in tokens or bad + good == 0:
        return template.labels[label]
    return bad / (bad + good)


def _named(categories: object, template: GuardTemplate) -> list[str]:
    """The categories in an answer, whether it lists them with commas or one name holds a comma."""
    if isinstance(categories, list):
        return [str(each) for each in categories]
    if not isinstance(categories, str):
        return []
    return [name for each in categories.split(",") if (name := each.strip()) in template.scenarios]


def _scenarios(categories: list[str], template: GuardTemplate) -> Mapping[Scenario, float]:
    found: dict[Scenario, float] = {}
    for category in categories:
        for scenario, fits in template.scenarios.get(category, {}).items():
            found[scenario] = max(found.get(scenario, 0.0), fits)
    return found
