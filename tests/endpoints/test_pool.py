"""All endpoints of an event loop call on one pool of connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from endpoints.wire import HELLO, completion, http, open_endpoint

ANSWER = http(completion({"role": "assistant", "content": "yes"})).replace(b"Connection: close\r\n", b"")


@dataclass(slots=True)
class Door:
    base_url: str = ""
    opened: int = 0
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no connection is open."""


@asynccontextmanager
async def keeping_server() -> AsyncIterator[Door]:
    """A server that keeps its connections, and counts them."""
    door = Door()
    open_now: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.opened += 1
        open_now.add(writer)
        door.all_closed.clear()
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)
                await asyncio.sleep(0.01)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            open_now.discard(writer)
            if not open_now:
                door.all_closed.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    door.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield door
    finally:
        server.close()
        await server.wait_closed()


async def until_closed(door: Door) -> None:
    async with asyncio.timeout(10):
        await door.all_closed.wait()


async def test_target_and_judge_at_one_server_open_no_more_connections_than_calls_at_once() -> None:
    async with keeping_server() as door:
        target, judge = (open_endpoint(door.base_url, role=role) for role in ("target", "judge"))

        async def ask_both() -> None:
            for endpoint in (target, judge, target, judge):
                assert (await endpoint.complete(HELLO)).text == "yes"

        await asyncio.gather(*(ask_both() for _ in range(5)))
        assert door.opened == 5
        await target.close()
        assert (await judge.complete(HELLO)).text == "yes"
        assert door.opened == 5
        await judge.close()
        await until_closed(door)


async def test_an_endpoint_that_is_closed_can_be_asked_and_closed_again() -> None:
    async with keeping_server() as door:
        endpoint = open_endpoint(door.base_url)
        await endpoint.close()
        for _ in range(2):
            assert (await endpoint.complete(HELLO)).text == "yes"
            await endpoint.close()
            await endpoint.close()
        assert door.opened == 2
        await until_closed(door)


def test_each_event_loop_has_a_pool_of_its_own() -> None:
    endpoints = []

    async def ask() -> None:
        async with keeping_server() as door:
            endpoint = open_endpoint(door.base_url)
            endpoints.append(endpoint)
            assert (await endpoint.complete(HELLO)).text == "yes"
            await endpoint.close()
            await until_closed(door)

    asyncio.run(ask())
    asyncio.run(ask())
    assert len(endpoints) == 2
