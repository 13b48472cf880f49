"""`guard/…`, and `llm:…` with a template: a guard model behind a chat endpoint."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from safemt.core.errors import CallError, DataError
from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.endpoints.asking import Ask
from safemt.endpoints.base import Reply
from safemt.endpoints.chat import ChatEndpoint
from safemt.io.yaml import load_json
from safemt.moderation.detectors.detector import (
    Assessment,
    Reading,
    Scan,
    all_of,
    ask_and_read,
    degraded_by,
)
from safemt.moderation.detectors.guards.canary import Canary
from safemt.moderation.detectors.guards.template import CONVERSATION, GuardRequest, GuardTemplate
from safemt.moderation.detectors.guards.turns import ScoredTurns, worst
from safemt.moderation.detectors.transcript import Transcript, with_pictures


class GuardDetector:
    """Asks a guard model. Before the first verdict it must pass the test of its canary."""

    threshold = 0.5

    def __init__(self, template: GuardTemplate, endpoints: Sequence[ChatEndpoint], *, name: str) -> None:
        """`endpoints` are one for each of the template's requests; `name` is the moderator's."""
        self.name = name
        self.template = template
        self.endpoints = endpoints
        texts = template.canary
        self.canary = Canary(name, safe=texts.safe, unsafe=texts.unsafe, threshold=self.threshold)

    @property
    def identity(self) -> Json:
        """Model, sampling and the whole template."""
        endpoint = self.endpoints[0]
        return {
            "kind": "guard",
            "model": endpoint.model,
            "temperature": endpoint.sampling.temperature,
            "max_output_tokens": endpoint.sampling.max_output_tokens,
            "template": self.template.sha256,
        }

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _GuardReading(self, ask)


class _GuardReading:
    def __init__(self, detector: GuardDetector, ask: Ask) -> None:
        self._detector = detector
        self._ask = ask
        self._transcript = Transcript(pictures=detector.template.pictures)
        self._by_turn = detector.template.send == "turn"
        self._turns = ScoredTurns()

    async def add(self, message: Message) -> Scan:
        scan = self._transcript.add(message)
        if self._by_turn:
            self._turns.add(message, [message.content], self._transcript.entries[-1][1])
        return scan

    async def assess(self) -> Assessment:
        untested = await self._detector.canary.sing(lambda text: self._about([Message("user", text)]))
        if untested is not None:
            return Assessment(risk=None, degraded=untested)
        if self._by_turn:
            return await self._turns.assess(lambda turns: all_of(self._about([turn]) for turn in turns))
        return await self._about(self._transcript.bare())

    async def _about(self, messages: Sequence[Message]) -> Assessment:
        """The worst answer to the template's requests about `messages`."""
        sent = self._sent(messages)
        requests = zip(self._detector.template.requests, self._detector.endpoints, strict=True)
        return worst(await all_of(self._answer(each, endpoint, sent) for each, endpoint in requests))

    async def _answer(
        self, request: GuardRequest, endpoint: ChatEndpoint, messages: Sequence[Message]
    ) -> Assessment:
        template = self._detector.template
        try:
            return await ask_and_read(
                self._ask,
                endpoint,
                messages,
                lambda reply: read_guard_answer(reply, template, request),
                name=self._detector.name,
            )
        except CallError as error:
            return Assessment(risk=None, degraded=degraded_by(error))

    def _sent(self, messages: Sequence[Message]) -> Sequence[Message]:
        prompt = self._detector.template.prompt
        if prompt is None:
            return messages
        turns: list[dict[str, str]] = []
        images = []
        for message in messages:
            shown = ""
            if message.image is not None:
                images.append(message.image)
                shown = f"Image{len(images)}: "
            turns.append({"role": message.role, "content": f"{shown}{message.content}"})
        return with_pictures(prompt.replace(CONVERSATION, json.dumps(turns, ensure_ascii=False)), images)


def read_guard_answer(reply: Reply, template: GuardTemplate, request: GuardRequest) -> Assessment | None:
    """The assessment in an answer to `request`; None unless the whole answer has the template's form.

    The risk is the label's. It is the probability of the bad label's token instead if the template says so
    and the server gives probabilities.
    """
    said = _said(reply.text.strip(), template)
    label = said.get("label")
    risk = _score(said.get("score")) if label is None else _risk_of(label, template, reply)
    if risk is None:
        return None
    # A good answer names no categories, or names them only for completeness.
    bad = risk > 0 and (label is None or template.labels[label] > 0)
    named = [request.category] if request.category else _named(said.get("categories"), template)
    return Assessment(risk=risk, scenarios=_scenarios(named, template) if bad else {})


def _said(text: str, template: GuardTemplate) -> Mapping[str, Any]:
    """The parts of an answer: `label` or `score`, and `categories`; none if it has another form."""
    form = template.answer
    if form.regex is not None:
        match = form.regex.fullmatch(text)
        return match.groupdict() if match else {}
    bare = text.removeprefix("<OUTPUT>").removesuffix("</OUTPUT>").strip()
    bare = bare.removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        fields = load_json(bare, where=template.name)
    except DataError:
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
