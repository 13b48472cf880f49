"""The least that a gateway can do: aiohttp passes every request on, and its answer back.

python -m perf.peers.bare_gateway UPSTREAM PORT
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

import aiohttp
from aiohttp import web

UPSTREAM, PORT = sys.argv[1], int(sys.argv[2])
SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)


async def _pass(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
    url = UPSTREAM + request.path.removeprefix("/v1")
    async with request.app[SESSION].post(url, data=body, headers=headers) as answer:
        if answer.content_length is not None:
            return web.Response(
                body=await answer.read(), status=answer.status, content_type=answer.content_type
            )
        response = web.StreamResponse(status=answer.status)
        response.content_type = answer.content_type
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def _main() -> None:
    app = web.Application(client_max_size=2**25)
    app[SESSION] = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )  # fmt: skip
    app.router.add_post("/v1/chat/completions", _pass)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_main())
