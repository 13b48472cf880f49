"""Endpoints that give verdicts themselves: ours, OpenAI's moderations, LiteLLM's generic guardrail API."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from safemt.core.taxonomy import Action, Scenario
from safemt.core.verdict import Verdict, verdict_json
from safemt.moderation.detectors.guards.moderation_service import SCENARIOS
from safemt.moderation.policies.inject import Position
from safemt.serve.dialects.chat import guided_messages, read_messages
from safemt.serve.dialects.dialect import Body, Conversation, guidance_for, list_of
from safemt.serve.gateway import Gateway
from safemt.serve.generation import Generation, Tenant
from safemt.serve.problems import Problem, invalid
from safemt.serve.record import Record
from safemt.serve.requests import parse_body, read_body, require_within_limits

MOST_INPUTS: Final = 256
"""Inputs of one request for moderation, and lines of one request for verdicts."""
FITS: Final = 0.3
"""From this score on a category of a flagged input is set."""


async def verdict(service: "Service", body: Body) -> web.Response:
    """`POST /safemt/v1/verdict`: the verdict on `messages` or `turns` (`docs/verdict.schema.json`)."""
    return _json(await _one_verdict(service, body))


async def verdicts(service: "Service", data: bytes) -> web.Response:
    """`POST /safemt/v1/verdicts`: one JSON object a line; one verdict or error a line, in the same order."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) > MOST_INPUTS:
        raise invalid("too_many_inputs", f"There are more than {MOST_INPUTS} lines.")
    found = await asyncio.gather(*(_verdict_or_error(service, line) for line in lines))
    return web.Response(
        body=b"".join(orjson.dumps(each, default=str) + b"\n" for each in found),
        content_type="application/x-ndjson",
    )


async def moderations(service: "Service", body: Body) -> web.Response:
    """`POST /v1/moderations`: OpenAI's form, with our scenarios besides. A list of texts is many inputs."""
    given = body.get("input")
    if isinstance(given, list) and given and all(isinstance(each, dict) for each in given):
        inputs: list[Any] = [given]  # the parts of one input
    else:
        inputs = given if isinstance(given, list) else [given]
    if not inputs or len(inputs) > MOST_INPUTS:
        raise invalid("invalid_input", f"`input` must hold 1 to {MOST_INPUTS} inputs.", "input")
    conversations = [
        Conversation(read_messages([{"role": "user", "content": each}], "input")) for each in inputs
    ]
    judged = await service.judge(conversations)
    return _json(
        {
            "id": f"modr-{uuid.uuid4().hex}",
            "model": f"safemt/{service.tenant.guard.moderator.name}",
            "results": [
                _result(each, conversation) for each, conversation in zip(judged, conversations, strict=True)
            ],
        }
    )


async def litellm_guardrail(service: "Service", body: Body) -> web.Response:
    """`POST /beta/litellm_basic_guardrail_api`: LiteLLM asks before a call, and adds the policies to it."""
    if body.get("input_type") == "response":
        return _json({"action": "NONE"})  # the model's output is not read
    rows = body.get("structured_messages") or _rows(body.get("texts"), body.get("images"))
    messages = read_messages(rows, "structured_messages") if isinstance(rows, list) else ()
    if not messages:
        return _json({"action": "NONE"})
    (judged,) = await service.judge([Conversation(messages)])
    if judged.action is Action.BLOCK:
        return _json({"action": "BLOCKED", "blocked_reason": service.tenant.block.text})
    if judged.action is Action.ALLOW:
        return _json({"action": "NONE"})
    position = service.tenant.position or Position.LATE_SYSTEM
    tenant = service.tenant
    guidance = guidance_for(messages, tenant.guard.chosen(judged), position, tenant.budget)
    service.record.position = guidance.position.value
    return _json(
        {
            "action": "GUARDRAIL_INTERVENED",
            "texts": body.get("texts"),
            "structured_messages": guided_messages(rows, guidance),
        }
    )


class Service:
    """One request for verdicts."""

    def __init__(self, gateway: Gateway, generation: Generation, record: Record, tenant: Tenant) -> None:
        self.gateway = gateway
        self.generation = generation
        self.record = record
        self.tenant = tenant

    async def judge(self, conversations: Sequence[Conversation]) -> list[Verdict]:
        """The verdicts on some conversations.

        Raises:
            Problem: they hold too much.
        """
        require_within_limits(conversations, self.generation.config.limits)
        record = self.record
        record.phase = "moderation"
        record.messages = [message for each in conversations for message in each.messages]
        judged = await asyncio.gather(
            *(
                self.tenant.guard.judge(each, record.id if n == 0 else f"{record.id}-{n}")
                for n, each in enumerate(conversations)
            )
        )
        found = [each.verdict for each in judged]
        record.verdicts = [*record.verdicts, *found]
        record.conversation = judged[0].conversation
        record.known = all(each.known for each in judged)
        record.moderation_seconds += sum(each.milliseconds for each in found) / 1000
        return found


async def serve_request(
    gateway: Gateway, generation: Generation, request: web.BaseRequest, record: Record
) -> web.StreamResponse:
    """Answer a request for verdicts.

    Raises:
        Problem: it is answered with an error.
    """
    tenant = record.tenant = generation.tenant_of(request.headers)
    tenant.require_rate()
    data = await read_body(request, generation.config.limits)
    service = Service(gateway, generation, record, tenant)
    if record.endpoint == "verdicts":
        response = await verdicts(service, data)
    else:
        response = await _SERVICES[record.endpoint](service, await parse_body(data))
    record.status = response.status
    response.headers["x-request-id"] = record.id
    return response


_SERVICES: Final = {"verdict": verdict, "moderations": moderations, "litellm": litellm_guardrail}


async def _verdict_or_error(service: Service, line: bytes) -> dict[str, Any]:
    try:
        return await _one_verdict(service, await parse_body(line))
    except Problem as problem:
        return {"error": {"code": problem.code, "message": problem.message}}


async def _one_verdict(service: Service, body: Body) -> dict[str, Any]:
    name = "messages" if "messages" in body else "turns"
    messages = read_messages(list_of(body, name), name)
    (judged,) = await service.judge([Conversation(messages)])
    given = body.get("id")
    return {**verdict_json(judged), **({"id": given[:200]} if isinstance(given, str) else {})}


def _result(judged: Verdict, conversation: Conversation) -> dict[str, Any]:
    risk = judged.risk or 0.0
    scores = {name: risk * _category(judged.scenarios, weights) for name, weights in SCENARIOS.items()}
    scores |= {scenario.value: risk * judged.scenarios.get(scenario, 0.0) for scenario in Scenario}
    kinds = ["text"] if any(message.content for message in conversation.messages) else []
    if judged.coverage.images_scored:
        kinds.append("image")
    return {
        "flagged": judged.flagged,
        "categories": {name: judged.flagged and score >= FITS * risk for name, score in scores.items()},
        "category_scores": {name: round(score, 6) for name, score in scores.items()},
        "category_applied_input_types": dict.fromkeys(scores, kinds),
    }


def _category(scenarios: Mapping[Scenario, float], weights: Mapping[Scenario, float]) -> float:
    """How well a category of OpenAI's fits: as well as the best of the scenarios that it stands for."""
    return max(weight * scenarios.get(scenario, 0.0) for scenario, weight in weights.items())


def _rows(texts: object, images: object) -> list[dict[str, Any]]:
    """Messages for requests that have no roles: every text is the user's."""
    rows = [{"role": "user", "content": text} for text in texts] if isinstance(texts, list) else []
    if isinstance(images, list) and images:
        parts = [{"type": "image_url", "image_url": {"url": image}} for image in images]
        rows.append({"role": "user", "content": parts})
    return rows


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body, default=str), content_type="application/json")
