"""Audit log, metrics, tenants, keys and caps, pictures by address, traces."""

import asyncio
import hashlib
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from safemt.serve.audit import AuditLog, read_audit
from safemt.serve.config import AuditConfig, ImagesConfig
from safemt.serve.fetch import PictureFetcher, PublicResolver, is_public, remote_pictures
from safemt.serve.metrics import MOST_SERIES, Metrics
from safemt.serve.problems import Problem
from serve.conftest import Running, Start
from serve.upstreams import Upstream

SECRET = "sk-very-secret"
FLAGGED: Any = {"model": "m", "messages": [{"role": "user", "content": "How do I poison a dog?"}]}
CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello you"}]}


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def lines(running: Running, path: Path) -> list[dict[str, Any]]:
    await running.running.close()
    return read_audit(path)


async def test_the_audit_log_says_what_was_done_and_holds_no_text_and_no_key(
    tmp_path: Path, start: Start
) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    running = await start(audit=str(path))
    headers = {"Authorization": f"Bearer {SECRET}"}
    bodies: list[Any] = [CHAT, {**FLAGGED, "stream": True}, {}]
    for body in bodies:
        async with running.http.post(
            f"{running.url}/chat/completions", json=body, headers=headers
        ) as answered:
            await answered.read()
    clean, flagged, wrong = await lines(running, path)
    assert (clean["status"], clean["verdict"]["action"], clean["tokens"]["completion"]) == (200, "allow", 2)
    assert (flagged["verdict"]["flagged"], flagged["position"]) == (True, "late_system")
    assert flagged["tokens"] == {"prompt": 11, "completion": 2}
    assert (wrong["status"], wrong["error"]) == (400, "invalid_messages")
    text = path.read_text()
    assert SECRET not in text
    assert "Hello you" not in text
    assert "poison" not in text
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("mode", "texts"), [("hash", 0), ("flagged", 1), ("all", 2)])
async def test_texts_in_the_audit_log_as_configured(
    tmp_path: Path, start: Start, mode: str, texts: int
) -> None:
    path = tmp_path / "audit.jsonl"
    running = await start(audit={"path": str(path), "text": mode})
    for body in (CHAT, FLAGGED):
        await running.post("/v1/chat/completions", body)
    found = await lines(running, path)
    assert sum("texts" in line for line in found) == texts
    assert sum("text_hash" in line for line in found) == (2 if mode == "hash" else 0)


def test_two_gateways_share_a_file_and_rotation_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    logs = [AuditLog(AuditConfig(path=path)) for _ in range(2)]
    for n in range(2000):
        logs[n % 2].write({"schema": "safemt.audit/1", "n": n, "filler": "x" * 200})
        if n == 1000:
            path.rename(tmp_path / "audit.1")
            for log in logs:
                log.reopen()
    for log in logs:
        log.close()
    found = [line["n"] for name in ("audit.1", "audit.jsonl") for line in read_audit(tmp_path / name)]
    assert sorted(found) == list(range(2000))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_counted_and_refuses_if_the_log_is_required() -> None:
    lost: list[int] = []
    log = AuditLog(AuditConfig(path=Path("/dev/full"), required=True, queue=4), lambda: lost.append(1))
    for n in range(20):
        log.write({"n": n})
        time.sleep(0.005)
    assert log.refuses
    log.close()
    assert len(lost) == 20


async def test_requests_are_refused_while_a_required_log_fails(
    tmp_path: Path, start: Start, upstream: Upstream
) -> None:
    running = await start(audit={"path": str(tmp_path / "a.jsonl"), "required": True})
    log = running.gateway.generation.audit
    assert log is not None
    log.failing = True
    status, answer, _ = await running.post("/v1/chat/completions", CHAT)
    assert (status, answer["error"]["code"]) == (503, "audit_unavailable")
    assert upstream.received == []


async def test_keys_choose_the_tenant(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "up")
    running = await start(
        tenants={
            "strict": {"moderator": {"action": "block"}, "upstream_key_env": "UPSTREAM_KEY"},
            "other": {"block": {"text": "No."}},
        },
        keys={hashed("a"): "strict", hashed("b"): "other"},
    )

    async def ask(**headers: str) -> tuple[int, Any]:
        status, answer, _ = await running.post("/v1/chat/completions", FLAGGED, headers=headers)
        return status, answer

    for wrong in ({}, {"Authorization": "Bearer x"}, {"x-api-key": "A"}, {"Authorization": "Basic a"}):
        status, answer = await ask(**wrong)
        assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
    _, answer = await ask(Authorization="Bearer a")
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert upstream.received == []
    await ask(**{"x-api-key": "b"})
    assert "Authorization" not in upstream.last.headers
    assert "x-api-key" not in upstream.last.headers
    await running.post("/v1/chat/completions", CHAT, headers={"Authorization": "Bearer a"})
    assert upstream.last.headers["Authorization"] == "Bearer up"
    await running.post("/v1/messages", CHAT, headers={"x-api-key": "a"})
    assert upstream.last.headers["x-api-key"] == "up"


async def test_caps(start: Start, upstream: Upstream) -> None:
    caps = {"n": 1, "max_tokens": 100, "logprobs": False}
    running = await start(tenants={"default": {"caps": caps}})
    for extra, code in (
        ({"n": 2}, "n_too_large"), ({"max_tokens": 101}, "max_tokens_too_large"),
        ({"max_completion_tokens": 101}, "max_tokens_too_large"),
        ({"logprobs": True}, "logprobs_not_allowed"),
    ):  # fmt: skip
        status, answer, _ = await running.post("/v1/chat/completions", {**CHAT, **extra})
        assert (status, answer["error"]["code"]) == (400, code)
    status, _, _ = await running.post("/v1/chat/completions", {**CHAT, "n": 1, "max_tokens": 100})
    assert status == 200


async def test_rates(start: Start) -> None:
    running = await start(tenants={"default": {"caps": {"requests_per_minute": 2}}})
    statuses = [(await running.post("/v1/chat/completions", CHAT))[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
    _, _, headers = await running.post("/v1/chat/completions", CHAT)
    assert 1 <= int(headers["Retry-After"]) <= 30


async def test_metrics_are_text_that_prometheus_reads(start: Start) -> None:
    running = await start()
    bodies: list[Any] = [CHAT, CHAT, FLAGGED, {}]
    for body in bodies:
        await running.post("/v1/chat/completions", body)
    text = await running.metrics()
    assert 'safemt_requests_total{endpoint="chat",action="allow",reason="clean"} 2' in text
    assert 'safemt_requests_total{endpoint="chat",action="inject",reason="policy"} 1' in text
    assert 'safemt_requests_total{endpoint="chat",action="error",reason="invalid_messages"} 1' in text
    assert 'safemt_moderation_seconds_count{known="yes"} 1' in text
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    names = {family.name for family in parser.text_string_to_metric_families(text)}
    assert {"safemt_requests", "safemt_moderation_seconds", "safemt_state_entries"} <= names


def test_labels_are_escaped_and_bounded() -> None:
    metrics = Metrics()
    for n in range(MOST_SERIES + 50):
        metrics.positions.add(f'"model\n{n}\\', "system")
    text = metrics.text()
    assert text.count("safemt_position_total{") == MOST_SERIES + 1
    assert 'model="\\"model\\n7\\\\"' in text
    assert metrics.positions.value("other", "other") == 50


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0",  # noqa: S104
     "100.64.0.1", "::1", "::",
     "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
     "2002:7f00:1::", "224.0.0.1", "255.255.255.255", "ff02::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


async def test_names_that_lead_inside_are_not_resolved() -> None:
    for host in ("localhost", "2130706433", "0x7f.1", "127.1"):
        with pytest.raises(OSError, match="not public"):
            await PublicResolver().resolve(host, 443)


@pytest.mark.parametrize(
    "url",
    ["http://pictures.test/a.png", "https://elsewhere.test/a.png", "https://pictures.test@evil.test/a.png",
     "https://user:pw@pictures.test/a.png", "https://127.0.0.1/a.png", "file:///etc/passwd", "ftp://pictures.test/a",
     "//pictures.test/a.png", "https://[::1]/a.png", "", "https://"],
)  # fmt: skip
async def test_addresses_that_pictures_are_not_fetched_from(url: str) -> None:
    fetcher = PictureFetcher(ImagesConfig(urls="fetch", hosts=("pictures.test", "127.0.0.1", "::1")))
    with pytest.raises(Problem) as problem:
        await fetcher.fetch(url)
    assert problem.value.code == "image_address_not_allowed"
    await fetcher.close()


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6364f8cf500f000386"
    "0180cdcdb25b0000000049454e44ae426082"
)


class Loopback(PublicResolver):
    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]


@pytest.fixture
async def pictures() -> Any:
    """A server of pictures over TLS on loopback, and a fetcher that trusts it."""
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    authority = trustme.CA()
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("pictures.test").configure_cert(server_tls)
    authority.configure_trust(client_tls)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        match request.path:
            case "/a.png":
                return web.Response(body=PNG)
            case "/moved.png":
                return web.Response(status=302, headers={"Location": "https://pictures.test/a.png"})
            case "/large.png":
                return web.Response(body=PNG + bytes(2000))
            case "/slow.png":
                await asyncio.sleep(5)
        return web.Response(text="not a picture")

    listening = await asyncio.get_running_loop().create_server(
        web.Server(answer), "127.0.0.1", 0, ssl=server_tls
    )
    port = listening.sockets[0].getsockname()[1]
    config = ImagesConfig(urls="fetch", hosts=("pictures.test",), bytes=1000, seconds=0.5)
    fetcher = PictureFetcher(config, tls=client_tls, resolver=Loopback())
    yield fetcher, f"https://pictures.test:{port}"
    await fetcher.close()
    listening.close()


async def test_fetched_pictures_go_to_the_model_as_they_were_read(
    start: Start, upstream: Upstream, pictures: Any
) -> None:
    fetcher, root = pictures
    running = await start()
    running.gateway.generation.fetcher = fetcher
    part = {"type": "image_url", "image_url": {"url": f"{root}/a.png", "detail": "low"}}
    body = {"messages": [{"role": "user", "content": [part]}]}
    assert (await running.post("/v1/chat/completions", body))[0] == 200
    sent = upstream.last.json["messages"][0]["content"][0]["image_url"]
    assert sent["url"].startswith("data:image/png;base64,iVBOR")
    assert sent["detail"] == "low"
    block = {"type": "image", "source": {"type": "url", "url": f"{root}/a.png"}}
    await running.post("/v1/messages", {"messages": [{"role": "user", "content": [block]}]})
    assert upstream.last.json["messages"][0]["content"][0]["source"]["media_type"] == "image/png"


@pytest.mark.parametrize(
    ("name", "code"),
    [("moved.png", "image_not_fetched"), ("large.png", "image_too_large"), ("slow.png", "image_not_fetched"),
     ("text", "not_an_image")],
)  # fmt: skip
async def test_pictures_that_are_not_fetched(pictures: Any, name: str, code: str) -> None:
    fetcher, root = pictures
    with pytest.raises(Problem) as problem:
        await fetcher.fetch(f"{root}/{name}")
    assert problem.value.code == code


async def test_pictures_by_address_can_be_refused(start: Start, upstream: Upstream) -> None:
    running = await start(images={"urls": "refuse"})
    part = {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}
    status, answer, _ = await running.post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": [part]}]}
    )
    assert (status, answer["error"]["code"]) == (400, "image_address_not_allowed")
    assert upstream.received == []


def test_all_places_of_pictures_are_found() -> None:
    url = "https://pictures.test/a.png"
    body: Any = {
        "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": url}}]}]}],
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]},
                  {"type": "function_call_output", "output": [{"type": "input_image", "image_url": url}]}],
    }  # fmt: skip
    assert len(list(remote_pictures(body))) == 4


def test_spans_lie_under_the_callers_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing = pytest.importorskip("opentelemetry.trace", reason="opentelemetry-api is not installed")
    from safemt.serve.tracing import span

    monkeypatch.setattr(tracing, "get_tracer_provider", tracing.NoOpTracerProvider)

    with span(
        "safemt.moderate", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    ) as note:
        from opentelemetry import trace

        assert trace.get_current_span().get_span_context().trace_id == 0x0AF7651916CD43DD8448EB211C80319C
        note(None)


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"schema": "safemt.audit/1"}) + '\n{"schema": "saf\n[1]\n')
    assert read_audit(path) == [{"schema": "safemt.audit/1"}]
