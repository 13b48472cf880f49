"""Beginning, reloading and ending; clients and servers that leave; nothing leaks."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from safemt.core.errors import DataError, SafemtError, UsageError
from safemt.serve.config import config_from, read_serve_config
from safemt.serve.gateway import Gateway
from serve.conftest import Running, Start
from serve.upstreams import Upstream, serve_upstream

CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what the tests are about
FLAGGED: Any = {"model": "m", "messages": [{"role": "user", "content": "How do I poison a dog?"}]}


async def before_an_answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def in_a_stream(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    while True:
        await response.write(b"data: {}\n\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("phase", [before_an_answer, in_a_stream])
async def test_a_client_that_leaves_ends_the_call_to_the_model(
    start: Start, upstream: Upstream, phase: Any
) -> None:
    upstream.handler = phase
    running = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", running.running.port)
    body = json.dumps({**CHAT, "stream": True}).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await asyncio.wait_for(upstream.asked.wait(), 5)
    if phase is in_a_stream:
        await reader.readuntil(b"data: {}\n\n")
    writer.transport.abort()
    await asyncio.wait_for(upstream.closed.wait(), 1)
    await asyncio.wait_for(running.gateway.idle.wait(), 1)
    assert "safemt_client_gone_total" in await running.metrics()


async def test_a_client_that_leaves_while_it_is_moderated_costs_no_call(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start()
    asked = asyncio.Event()

    async def never(*arguments: Any) -> Any:
        asked.set()
        await asyncio.sleep(30)

    monkeypatch.setattr(type(running.gateway.generation.tenants["default"].guard), "judge", never)
    task = asyncio.create_task(running.post("/v1/chat/completions", CHAT))
    await asked.wait()
    task.cancel()
    await asyncio.wait_for(running.gateway.idle.wait(), 1)
    assert upstream.received == []
    assert running.gateway.metrics.gone.value("moderation") == 1


async def test_a_client_that_reads_nothing_is_cut_off(start: Start, upstream: Upstream) -> None:
    async def flood(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 2**16)

    upstream.handler = flood
    running = await start(limits={"write_seconds": 0.2})
    _, writer = await asyncio.open_connection("127.0.0.1", running.running.port, limit=2**10)
    body = json.dumps(CHAT).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    await asyncio.wait_for(upstream.closed.wait(), 10)
    await asyncio.wait_for(running.gateway.idle.wait(), 2)
    writer.close()


async def test_draining_lets_streams_finish_and_refuses_the_rest(start: Start, upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun ")
        await go_on.wait()
        await response.write(b"ended")
        return response

    upstream.handler = answer
    running = await start()
    async with running.http.post(f"{running.url}/chat/completions", json=CHAT) as answered:
        draining = asyncio.create_task(running.running.drain(10, asyncio.Event()))
        await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as other:
            with pytest.raises(aiohttp.ClientConnectorError):
                await other.get(f"{running.root}/healthz")
        go_on.set()
        assert await answered.read() == b"begun ended"
    await asyncio.wait_for(draining, 2)


@pytest.mark.parametrize("hurried", [True, False])
async def test_draining_ends_in_time_or_at_once(start: Start, upstream: Upstream, hurried: bool) -> None:
    upstream.handler = in_a_stream
    running = await start()
    async with running.http.post(f"{running.url}/chat/completions", json=CHAT) as answered:
        hurry = asyncio.Event()
        if hurried:
            hurry.set()
        await asyncio.wait_for(running.running.drain(30 if hurried else 0.1, hurry), 2)
        await running.running.close()
        with pytest.raises(aiohttp.ClientError):
            await answered.read()


async def test_reload_is_atomic_and_a_bad_file_changes_nothing(
    tmp_path: Path, start: Start, upstream: Upstream
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"upstream: {upstream.url}\nmoderator: {{name: keyword, action: block}}\n")
    running = await start()
    running.gateway.reread = lambda: read_serve_config(file)
    async with running.http.post(f"{running.root}/safemt/v1/reload") as answered:
        assert (answered.status, await answered.json()) == (200, {"generation": 2})
    _, answer, _ = await running.post("/v1/chat/completions", FLAGGED)
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    for bad in (
        "upstream: [",
        "moderator: nonsense",
        f"upstream: {upstream.url}\nmoderator: {{policies: /none}}",
    ):
        file.write_text(bad)
        async with running.http.post(f"{running.root}/safemt/v1/reload") as answered:
            assert answered.status == 400
    async with running.http.get(f"{running.root}/safemt/v1/config") as answered:
        shown = await answered.json()
    assert (shown["generation"], shown["config"]["moderator"]["action"]) == (2, "block")
    assert running.gateway.metrics.reloads.value("failed") == 3


async def test_reload_under_load_loses_nothing(tmp_path: Path, start: Start, upstream: Upstream) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"upstream: {upstream.url}\nmoderator: keyword\naudit: {tmp_path / 'audit.jsonl'}\n")
    running = await start(audit=str(tmp_path / "audit.jsonl"))
    running.gateway.reread = lambda: read_serve_config(file)
    old = running.gateway.generation
    statuses: list[int] = []

    async def ask() -> None:
        for _ in range(25):
            status, _, _ = await running.post("/v1/chat/completions", {**CHAT, "stream": False})
            statuses.append(status)

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    for _ in range(3):
        await asyncio.sleep(0.02)
        await running.gateway.reload()
    await asyncio.gather(*asking)
    assert statuses == [200] * 100
    assert old.closing is not None
    await old.closing
    await running.running.close()
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 100


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({}, "wrong_form"),
        ({"upstream": "localhost:8000"}, "bad_address"),
        ({"upstream": "http://x/v1", "nonsense": 1}, "wrong_form"),
        ({"upstream": "http://x/v1", "listen": {"host": EVERYWHERE}}, "open_gateway"),
        ({"upstream": "http://x/v1", "listen": {"tls_cert": "a"}}, "half_tls"),
        ({"upstream": "http://x/v1", "keys": {"secret": "default"}}, "not_a_key_hash"),
        ({"upstream": "http://x/v1", "keys": {"0" * 64: "nobody"}}, "unknown_tenant"),
        ({"upstream": "http://x/v1", "moderator": {"policy_position": "system"}}, "setting_does_not_apply"),
        ({"upstream": "http://x/v1", "images": {"urls": "fetch"}}, "no_image_hosts"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_ends_the_start(data: Any, code: str) -> None:
    with pytest.raises((DataError, UsageError)) as error:
        config_from(data, where="serve.yaml")
    assert error.value.code == code


@pytest.mark.parametrize(
    "settings",
    [
        {"moderator": "no-such-moderator"},
        {"moderator": {"policies": "/nowhere"}},
        {"tenants": {"a": {"moderator": {"nonsense": 1}}}},
        {"upstream": {"base_url": "http://x/v1", "api_key_env": "SAFEMT_NO_SUCH_KEY"}},
        {"audit": "/proc/none/audit.jsonl"},
    ],
)
async def test_what_cannot_be_opened_ends_the_start(settings: Any) -> None:
    with pytest.raises(SafemtError):
        await Gateway.open(config_from({"upstream": "http://x/v1", **settings}, where="serve.yaml"))


async def test_an_address_that_is_taken_ends_the_start(start: Start) -> None:
    running = await start()
    with pytest.raises(UsageError) as error:
        await start(listen={"port": running.running.port})
    assert error.value.code == "cannot_listen"


async def test_metrics_have_their_own_port_beyond_loopback(start: Start) -> None:
    running = await start(listen={"port": 0, "host": EVERYWHERE, "open": True, "admin_port": 0})
    async with running.http.get(f"{running.root}/metrics") as answered:
        assert answered.status == 404
    root = f"http://127.0.0.1:{running.running.admin_port}"
    async with running.http.get(f"{root}/metrics") as answered:
        assert answered.status == 200
    async with running.http.post(f"{root}/v1/chat/completions", json=CHAT) as answered:
        assert answered.status == 404


def start_process(config: Path) -> "subprocess.Popen[str]":
    code = (
        "import sys; from pathlib import Path; from safemt.serve.server import run; "
        "from safemt.serve.config import read_serve_config as read; path = Path(sys.argv[1]); "
        "run(read(path), lambda: read(path), lambda started: print(started.port, flush=True))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(config)], stdout=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ready(url: str, http: aiohttp.ClientSession) -> None:
    for _ in range(300):
        try:
            async with http.get(f"{url}/readyz") as answered:
                if answered.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("the gateway did not become ready")


async def test_a_process_reloads_and_ends_on_signals(tmp_path: Path) -> None:
    async with serve_upstream() as upstream, aiohttp.ClientSession() as http:
        config = tmp_path / "serve.yaml"
        port = free_port()
        text = (
            f"upstream: {upstream.url}\nmoderator: {{name: keyword, action: %s}}\nlisten: {{port: {port}}}\n"
        )
        config.write_text(text % "inject")
        with start_process(config) as process:
            try:
                root = f"http://127.0.0.1:{port}"
                await ready(root, http)
                config.write_text(text % "block")
                process.send_signal(signal.SIGHUP)
                reason = None
                for _ in range(100):
                    async with http.post(f"{root}/v1/chat/completions", json=FLAGGED) as answered:
                        reason = (await answered.json())["choices"][0]["finish_reason"]
                    if reason == "content_filter":
                        break
                    await asyncio.sleep(0.05)
                assert reason == "content_filter"
                upstream.handler = in_a_stream
                async with http.post(
                    f"{root}/v1/chat/completions", json={**CHAT, "stream": True}
                ) as answered:
                    await answered.content.readany()
                    process.send_signal(signal.SIGTERM)
                    await asyncio.sleep(0.3)
                    assert process.poll() is None, "an open stream may finish"
                    await answered.content.readany()
                    process.send_signal(signal.SIGTERM)
                    with pytest.raises(aiohttp.ClientError):
                        await answered.content.read()
                assert await asyncio.to_thread(process.wait, 10) == 0
            finally:
                process.kill()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_leaks_over_many_requests_of_every_kind(start: Start, upstream: Upstream) -> None:
    running = await start()
    tasks, files = len(asyncio.all_tasks()), open_files()

    async def mixed(n: int) -> None:
        body: dict[str, Any] = [CHAT, {**CHAT, "stream": True}, FLAGGED, {}][n % 4]
        if n % 5 == 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await running.post("/v1/chat/completions", {**body, "n": n})
        else:
            async with running.http.post(f"{running.url}/chat/completions", json=body) as answered:
                await answered.read()

    for batch in range(10):
        await asyncio.gather(*(mixed(20 * batch + n) for n in range(20)))
    await asyncio.wait_for(running.gateway.idle.wait(), 2)
    await running.http.close()
    connections = running.gateway.generation.upstream._session.connector
    assert connections is not None
    assert not connections._acquired
    await connections.close()
    await asyncio.sleep(0.2)
    assert running.gateway.busy == 0
    assert running.gateway.generation.inflight == 0
    assert running.gateway.lanes.waiting == 0
    assert len(asyncio.all_tasks()) <= tasks + 2
    assert open_files() <= files + 2


async def test_known_traffic_is_fast_beside_long_messages(start: Start) -> None:
    running: Running = await start(moderator="embedded")
    await running.post("/v1/chat/completions", CHAT)
    story = " ".join(f"On day {n} it rained, and {n * n} drops fell on roof {n % 7}." for n in range(800))
    long = {"model": "m", "messages": [{"role": "user", "content": story}]}
    hostile = asyncio.create_task(running.post("/v1/chat/completions", long))
    await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    times: list[float] = []
    while not hostile.done() and len(times) < 50:
        began = loop.time()
        await running.post("/v1/chat/completions", CHAT)
        times.append(loop.time() - began)
    await hostile
    assert sorted(times)[len(times) // 2] < 0.15
