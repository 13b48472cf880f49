"""The gateway's HTTP side: which path is answered by what."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from safemt.core.errors import SafemtError
from safemt.serve.config import config_data
from safemt.serve.dialects.chat import ChatDialect
from safemt.serve.dialects.completions import CompletionsDialect
from safemt.serve.dialects.dialect import Dialect
from safemt.serve.dialects.messages import MessagesDialect
from safemt.serve.dialects.responses import ResponsesDialect
from safemt.serve.exchange import Exchange, problem_response
from safemt.serve.gateway import Gateway
from safemt.serve.generation import Generation
from safemt.serve.metrics import CONTENT_TYPE
from safemt.serve.problems import Problem
from safemt.serve.record import Record
from safemt.serve.requests import read_body
from safemt.serve.services import serve_request
from safemt.serve.upstream import relay, request_headers, response_headers

DIALECTS: Final[Mapping[str, Dialect]] = {
    "/v1/chat/completions": ChatDialect(),
    "/v1/responses": ResponsesDialect(),
    "/v1/messages": MessagesDialect(),
    "/v1/completions": CompletionsDialect(),
}
SERVICES: Final[Mapping[str, str]] = {
    "/v1/moderations": "moderations",
    "/safemt/v1/verdict": "verdict",
    "/safemt/v1/verdicts": "verdicts",
    "/beta/litellm_basic_guardrail_api": "litellm",
}
PASSED: Final[Mapping[str, str]] = {"/v1/models": "GET", "/v1/embeddings": "POST"}
PROBES: Final = ("/healthz", "/readyz")
ADMIN: Final = ("/metrics", "/safemt/v1/config", "/safemt/v1/reload")

log = logging.getLogger("safemt.serve")


class Site:
    """Answers the requests of one listening address."""

    def __init__(self, gateway: Gateway, *, traffic: bool, admin: bool) -> None:
        """`traffic` is what clients ask for; `admin` is metrics, configuration and reload."""
        self._gateway = gateway
        self._traffic = traffic
        self._admin = admin

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response to any request."""
        path = request.path
        if path in PROBES or (self._admin and path in ADMIN):
            return await administer(self._gateway, request)
        if not self._traffic:
            return _not_found("unknown")
        response = await self._traffic_response(request)
        if self._gateway.draining:
            response.force_close()
        return response

    async def _traffic_response(self, request: web.BaseRequest) -> web.StreamResponse:
        gateway, path = self._gateway, request.path
        dialect = DIALECTS.get(path)
        record = Record(dialect.name if dialect else SERVICES.get(path, "passed"))
        generation = gateway.enter()
        try:
            return await self._dispatch(request, generation, record, dialect)
        except Problem as problem:
            record.code, record.status = problem.code, problem.status
            return problem_response(problem, dialect, record.id)
        except asyncio.CancelledError:
            record.gone = True
            raise
        except ConnectionError:
            record.gone = True
            return web.Response(status=499)  # nobody is there to read it
        except Exception:
            log.exception("A request failed.")
            record.code, record.status = "internal_error", 500
            return problem_response(Problem(500, record.code, "The gateway failed."), dialect, record.id)
        finally:
            gateway.leave(generation)
            if record.endpoint != "passed" or record.code is None:
                record.count(gateway.metrics)
            if generation.audit is not None and record.endpoint != "passed":
                generation.audit.write(record.entry(generation))

    async def _dispatch(
        self, request: web.BaseRequest, generation: Generation, record: Record, dialect: Dialect | None
    ) -> web.StreamResponse:
        path, passed = request.path, self._passed(request.path, generation)
        allowed = "POST" if dialect or path in SERVICES else passed
        if allowed is None:
            raise Problem(404, "not_found", "The gateway has no such path.")
        if allowed not in (request.method, "*"):
            raise Problem(405, "method_not_allowed", f"Use {allowed}.", headers={"Allow": allowed})
        if not self._gateway.ready:
            raise Problem(503, "not_ready", "The moderator is not ready.", headers={"Retry-After": "1"})
        if dialect is not None:
            return await Exchange(self._gateway, generation, request, dialect, record).answer()
        if path in SERVICES:
            return await serve_request(self._gateway, generation, request, record)
        return await _pass(generation, request, record)

    def _passed(self, path: str, generation: Generation) -> str | None:
        if path in generation.config.upstream.pass_paths:
            return "*"
        return "GET" if path.startswith("/v1/models/") else PASSED.get(path)


async def administer(  # noqa: PLR0911 - one for each path
    gateway: Gateway, request: web.BaseRequest
) -> web.Response:
    """Probes, metrics, the configuration in force, and reload."""
    match request.path, request.method:
        case "/healthz", "GET":
            return _json(200, {"status": "ok"})
        case "/readyz", "GET":
            ready = gateway.ready and not gateway.draining
            return _json(200 if ready else 503, {"ready": ready})
        case "/metrics", "GET":
            return web.Response(body=gateway.metrics.text(), headers={"Content-Type": CONTENT_TYPE})
        case "/safemt/v1/config", "GET":
            generation = gateway.generation
            return _json(200, {"generation": generation.number, "config": config_data(generation.config)})
        case "/safemt/v1/reload", "POST":
            try:
                await gateway.reload()
            except SafemtError as error:
                return _json(400, {"error": {"code": error.code, "message": str(error)}})
            return _json(200, {"generation": gateway.generation.number})
    return problem_response(Problem(405, "method_not_allowed", "Use another method."), None, "")


async def _pass(generation: Generation, request: web.BaseRequest, record: Record) -> web.StreamResponse:
    """A request that is not moderated, and its response."""
    tenant = record.tenant = generation.tenant_of(request.headers)
    tenant.require_rate()
    data = await read_body(request, generation.config.limits)
    headers = request_headers(
        request.headers, upstream_key=tenant.upstream_key, keyed=bool(generation.config.keys)
    )
    record.phase = "upstream"
    answer = await generation.upstream.send(request, data or None, headers)
    try:
        record.phase, record.status = "response", answer.status
        return await relay(
            request,
            answer,
            response_headers(answer.headers),
            idle_seconds=generation.config.upstream.idle_timeout,
            write_seconds=generation.config.limits.write_seconds,
        )
    finally:
        answer.release()


def _not_found(request_id: str) -> web.Response:
    return problem_response(Problem(404, "not_found", "The gateway has no such path."), None, request_id)


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body, default=str), content_type="application/json")
