"""What a guard model answered: a risk and its categories, or nothing that can be read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from safemt.core.taxonomy import Scenario
from safemt.endpoints.base import Reply
from safemt.moderation.detectors.detector import Assessment, reply_assessment
from safemt.moderation.detectors.guards.template import GuardRequest, GuardTemplate


def read_guard_answer(
    reply: Reply, template: GuardTemplate, request: GuardRequest, *, name: str
) -> Assessment:
    """The assessment in an answer to `request`; degraded unless the whole answer has the template's form.

    The risk is the label's. It is the probability of the bad label's token instead if the template says so
    and the server gives probabilities. `name` is the guard's, for messages.
    """
    said = _said(reply.text.strip(), template)
    label = said.get("label")
    risk = _score(said.get("score")) if label is None else _risk_of(label, template, reply)
    # A good answer names no categories, or names them only for completeness.
    bad = bool(risk) and (label is None or template.labels[label] > 0)
    named = [request.category] if request.category else _named(said.get("categories"), template)
    scenarios = _scenarios(named, template) if bad else {}
    return reply_assessment(reply, name, risk=risk, scenarios=scenarios)


class KeyTwiceError(Exception):
    """A JSON object has a key twice, so it may contradict itself."""


def unique_fields(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its fields, for `object_pairs_hook`.

    Raises:
        KeyTwiceError: a key occurs twice.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise KeyTwiceError
    return fields


def _said(text: str, template: GuardTemplate) -> Mapping[str, Any]:
    """The parts of an answer: `label` or `score`, and `categories`; none if it has another form."""
    form = template.answer
    if form.regex is not None:
        match = form.regex.fullmatch(text)
        return match.groupdict() if match else {}
    bare = text.removeprefix("<OUTPUT>").removesuffix("</OUTPUT>").strip()
    bare = bare.removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        fields = json.loads(bare, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError, KeyTwiceError):
        return {}
    if not isinstance(fields, dict):
        return {}
    return {part: fields.get(getattr(form, part)) for part in form.parts}


def _score(value: object) -> float | None:
    """A risk in [0, 1], as a number or a numeral; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        risk = float(value)
    except (ValueError, OverflowError):
        return None
    return risk if 0 <= risk <= 1 else None


def _risk_of(label: object, template: GuardTemplate, reply: Reply) -> float | None:
    """The probability of the bad label against the good one, or the label's own risk; None if unreadable.

    Some tokenizers cut a label into pieces, so the probability counts only if the label is a token itself.
    """
    if not isinstance(label, str) or label not in template.labels:
        return None
    if template.probability is None or reply.first_token is None:
        return template.labels[label]
    if not all(isinstance(token, str) for token in reply.first_token):  # a server may send anything
        return None
    tokens: dict[str, float] = {}
    for token, chance in reply.first_token.items():
        tokens[token.strip()] = tokens.get(token.strip(), 0.0) + chance
    bad, good = (tokens.get(each, 0.0) for each in template.probability)
    return bad / (bad + good) if label in tokens and bad + good > 0 else template.labels[label]


def _named(categories: object, template: GuardTemplate) -> list[str]:
    """The categories in an answer, which may list them with commas or name one that has a comma."""
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
