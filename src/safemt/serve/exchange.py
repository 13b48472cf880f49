"""One request to the model under moderation: read, judged, passed on or answered."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Final

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDict

from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict
from safemt.moderation.policies.inject import Position
from safemt.serve.dialects.dialect import Body, Conversation, Dialect, Guidance, guidance_for, model_of
from safemt.serve.fetch import remote_pictures
from safemt.serve.gateway import Gateway
from safemt.serve.generation import Generation, Tenant
from safemt.serve.guard import Judgement
from safemt.serve.problems import Problem, invalid
from safemt.serve.record import Record
from safemt.serve.requests import parse_body, read_body, require_within_limits
from safemt.serve.tracing import span
from safemt.serve.upstream import relay, request_headers, response_headers

NO_RETRY: Final = {"x-should-retry": "false"}
"""OpenAI's clients repeat some errors, which would be the same the next time."""

_TEMPLATE_REFUSES: Final = re.compile(
    rb"must be at the beginning|must alternate|roles must|alternate user|system (?:role|message)|"
    rb"system prompt|only user(?:,| and) assistant|unexpected role|conversation roles",
    re.IGNORECASE,
)
"""What servers say if a chat template does not take a system message at the end."""
_TEMPLATE_STATUS: Final = (400, 422, 500)
_ERROR_BYTES: Final = 2**16
_OVERLOADED: Final = "overload"


@dataclass(slots=True)
class Exchange:
    """A request with what is known about it. Each step takes what the one before made."""

    gateway: Gateway
    generation: Generation
    request: web.BaseRequest
    dialect: Dialect
    record: Record

    async def answer(self) -> web.StreamResponse:
        """The response to the client.

        Raises:
            Problem: the gateway answers with an error.
        """
        generation, record = self.generation, self.record
        limits = generation.config.limits
        if generation.audit is not None and generation.audit.refuses:
            raise Problem(503, "audit_unavailable", "The audit log cannot be written.")
        tenant = record.tenant = generation.tenant_of(self.request.headers)
        tenant.require_rate()
        data = await read_body(self.request, limits)
        body = await parse_body(data)
        record.model = model_of(body)
        tenant.require_within_caps(body)
        changed = await self._pictures(body)
        conversations = self.dialect.conversations(body)
        require_within_limits(conversations, limits)
        record.messages = conversations[0].messages
        judgements = await self._judge(tenant, conversations)
        verdict = record.verdict
        if verdict is not None and verdict.action is Action.BLOCK:
            return self._blocked(tenant, body)
        guided = self._guided(tenant, body, conversations, judgements, record.model)
        if guided is not None:
            return await self._forward(tenant, body, orjson.dumps(guided), conversations, judgements)
        return await self._forward(
            tenant, body, orjson.dumps(body) if changed else data, conversations, judgements
        )

    async def _pictures(self, body: Body) -> bool:
        """Deal with pictures that are named by address; whether the body was changed."""
        images, fetcher = self.generation.config.images, self.generation.fetcher
        if fetcher is not None:
            return bool(await fetcher.replace_all(body, self.generation.config.limits.images))
        if images.urls == "refuse" and next(remote_pictures(body), None) is not None:
            raise invalid("image_address_not_allowed", "Pictures must be data URIs here.")
        return False

    async def _judge(self, tenant: Tenant, conversations: list[Conversation]) -> list[Judgement]:
        record = self.record
        record.phase = "moderation"
        started = time.perf_counter()
        with span("safemt.moderate", self.request.headers) as note:
            if len(conversations) == 1:
                judgements = [await tenant.guard.judge(conversations[0], record.id)]
            else:
                judgements = await asyncio.gather(
                    *(tenant.guard.judge(each, f"{record.id}-{n}") for n, each in enumerate(conversations))
                )
            record.verdicts = [each.verdict for each in judgements]
            record.conversation = judgements[0].conversation
            record.known = all(each.known for each in judgements)
            record.moderation_seconds = time.perf_counter() - started
            note(record.verdict)
        refuse = self.generation.config.limits.on_overload == "refuse"
        if refuse and any(_cause(each) == _OVERLOADED for each in record.verdicts):
            raise Problem(429, "overloaded", "Too many requests at once.", headers={"Retry-After": "1"})
        return judgements

    def _guided(
        self,
        tenant: Tenant,
        body: Body,
        conversations: list[Conversation],
        judgements: list[Judgement],
        model: str,
    ) -> Body | None:
        """The body with the policies that apply; None if there are none."""
        wanted = {
            n: each.verdict for n, each in enumerate(judgements) if each.verdict.action is Action.INJECT
        }
        if not wanted:
            return None
        position = tenant.position or self.gateway.position_for(model)
        if position not in self.dialect.places:
            position = self.dialect.places[0]
        guidance: dict[int, Guidance] = {
            n: guidance_for(conversations[n].messages, tenant.guard.chosen(verdict), position, tenant.budget)
            for n, verdict in wanted.items()
        }
        self.record.position = position.value
        return self.dialect.with_guidance(body, guidance)

    async def _forward(
        self,
        tenant: Tenant,
        body: Body,
        data: bytes,
        conversations: list[Conversation],
        judgements: list[Judgement],
    ) -> web.StreamResponse:
        """The upstream's response, with another position of the policy if its template refuses this one."""
        record = self.record
        answer = await self._send(tenant, data)
        begun = b""
        try:
            if record.position == Position.LATE_SYSTEM and tenant.position is None:
                begun = await _error_text(answer, self.generation.config.upstream.idle_timeout)
                if _TEMPLATE_REFUSES.search(begun):
                    answer.release()
                    self.gateway.learn_position(record.model, Position.USER_SUFFIX)
                    guided = self._guided(tenant, body, conversations, judgements, record.model)
                    answer, begun = await self._send(tenant, orjson.dumps(guided)), b""
            return await self._relay(tenant, answer, judgements[0], begun)
        finally:
            answer.release()

    async def _send(self, tenant: Tenant, data: bytes) -> aiohttp.ClientResponse:
        self.record.phase = "upstream"
        headers = request_headers(
            self.request.headers, upstream_key=tenant.upstream_key, keyed=bool(self.generation.config.keys)
        )
        started = time.perf_counter()
        answer = await self.generation.upstream.send(self.request, data, headers)
        self.record.upstream_seconds = time.perf_counter() - started
        return answer

    async def _relay(
        self, tenant: Tenant, answer: aiohttp.ClientResponse, judgement: Judgement, begun: bytes
    ) -> web.StreamResponse:
        record = self.record
        record.phase, record.status = "response", answer.status
        headers = response_headers(answer.headers)
        headers.setdefault("x-request-id", record.id)
        headers.update(self._revealed(tenant))
        response = await relay(
            self.request,
            answer,
            headers,
            idle_seconds=self.generation.config.upstream.idle_timeout,
            write_seconds=self.generation.config.limits.write_seconds,
            tee=record.tee.feed,
            begun=begun,
        )
        if self.dialect.name == "responses" and answer.status == 200 and not judgement.unknown:
            response_id = record.tee.response_id
            if response_id is not None:
                tenant.guard.remember(response_id, judgement.digest)
        return response

    def _blocked(self, tenant: Tenant, body: Body) -> web.StreamResponse:
        record, dialect, text = self.record, self.dialect, tenant.block.text
        headers = {**NO_RETRY, "x-request-id": record.id, **self._revealed(tenant)}
        if tenant.block.block_as == "error":
            problem = Problem(400, "content_filter", text, param="messages")
            record.status = 400
            return _json(400, dialect.error(problem), headers)
        record.status = 200
        if body.get("stream") is not True:
            return _json(200, dialect.refusal(body, text), headers)
        headers |= {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        return web.Response(body=dialect.refusal_stream(body, text), headers=headers)

    def _revealed(self, tenant: Tenant) -> dict[str, str]:
        """Headers about the verdict, as far as the tenant may see it."""
        record, verdict = self.record, self.record.verdict
        if tenant.reveal == "none" or verdict is None:
            return {}
        timing = f"safemt;dur={1000 * record.moderation_seconds:.1f}"
        if record.upstream_seconds is not None:
            timing += f", upstream;dur={1000 * record.upstream_seconds:.1f}"
        shown = {
            "x-safemt-verdict-id": record.id,
            "x-safemt-action": verdict.action.value,
            "Server-Timing": timing,
        }
        if tenant.reveal == "verdict":
            risk = "unknown" if verdict.risk is None else f"{verdict.risk:.4f}"
            shown |= {"x-safemt-coverage": coverage_text(verdict), "x-safemt-risk": risk}
        return shown


def coverage_text(verdict: Verdict) -> str:
    """A verdict's coverage for a header. The model's output is not read by any moderator here."""
    seen = verdict.coverage
    return (
        f"turns={seen.turns_scored}/{seen.turns_total}; images={seen.images_scored}/{seen.images_total}; "
        "output=not_read"
    )


def problem_response(problem: Problem, dialect: Dialect | None, request_id: str) -> web.Response:
    """An error of the gateway's own. Its connection is closed where the request was not read to its end."""
    from safemt.serve.problems import openai_error

    retry = {} if problem.status in (429, 502, 503, 504) else NO_RETRY
    headers = {"x-request-id": request_id, **retry, **problem.headers}
    body = dialect.error(problem) if dialect else openai_error(problem)
    response = _json(problem.status, body, headers)
    if problem.status in (401, 408, 413, 415, 503):
        response.force_close()
    return response


def _json(status: int, body: object, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        headers=CIMultiDict({**headers, "Content-Type": "application/json"}),
    )


def _cause(verdict: Verdict) -> str | None:
    return verdict.degraded.cause if verdict.degraded else None


async def _error_text(answer: aiohttp.ClientResponse, seconds: float) -> bytes:
    """The beginning of an error that may be about the chat template; nothing of other responses."""
    if answer.status not in _TEMPLATE_STATUS:
        return b""
    begun = b""
    try:
        async with asyncio.timeout(seconds):
            while len(begun) < _ERROR_BYTES and (chunk := await answer.content.readany()):
                begun += chunk
    except (aiohttp.ClientError, TimeoutError):
        return begun  # whoever reads on meets the same error
    return begun
