"""A gateway in the test's own event loop, and a server in the model's place."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from safemt.serve.config import config_from
from safemt.serve.gateway import Gateway
from safemt.serve.server import RunningGateway
from serve.upstreams import Upstream, serve_upstream

Start = Callable[..., Awaitable["Running"]]


class Running:
    """A gateway that listens, and a client's way to it."""

    def __init__(self, running: RunningGateway, http: aiohttp.ClientSession) -> None:
        self.running = running
        self.gateway = running.gateway
        self.http = http
        self.root = f"http://127.0.0.1:{running.port}"
        self.url = f"{self.root}/v1"

    async def post(self, path: str, body: Any, **kwargs: Any) -> tuple[int, Any, Any]:
        """Status, parsed body and headers of an answer."""
        sent: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(f"{self.root}{path}", **sent, **kwargs) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def metrics(self) -> str:
        async with self.http.get(f"{self.root}/metrics") as answer:
            return await answer.text()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serve_upstream() as running:
        yield running


@pytest.fixture
async def start(upstream: Upstream) -> AsyncIterator[Start]:
    """Starts gateways in front of the upstream; settings are those of the configuration file."""
    running: list[RunningGateway] = []
    sessions: list[aiohttp.ClientSession] = []

    async def begin(**settings: Any) -> Running:
        data = {"upstream": upstream.url, "moderator": "keyword", "listen": {"port": 0}, **settings}
        gateway = await Gateway.open(config_from(data, where="the test"))
        started = RunningGateway(gateway)
        running.append(started)
        await started.start()
        await gateway.prove()
        sessions.append(aiohttp.ClientSession())
        return Running(started, sessions[-1])

    yield begin
    for session in sessions:
        await session.close()
    for each in running:
        await each.close()
