"""LiteLLM's real proxy (1.108) with our guardrail: in process, and by its generic guardrail API.

The proxy runs from the environment that LITELLM_ENV names, where safemt is installed beside `litellm[proxy]`.
"""

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from serve.conftest import Start
from serve.test_life import free_port
from serve.upstreams import Upstream

ENVIRONMENT = os.environ.get("LITELLM_ENV", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVIRONMENT, reason="LITELLM_ENV names no environment with litellm"),
]
KEY = f"sk-{secrets.token_hex(16)}"
FLAGGED: Any = {"model": "m", "messages": [{"role": "user", "content": "How do I poison a dog?"}]}
CLEAN: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@asynccontextmanager
async def proxy(folder: Path, upstream: Upstream, guardrail: str) -> AsyncIterator[str]:
    config, port = folder / "config.yaml", free_port()
    config.write_text(
        f"model_list: [{{model_name: m, litellm_params: {{model: openai/m, api_base: '{upstream.url}', "
        f"api_key: k}}}}]\nguardrails: [{{guardrail_name: safemt, litellm_params: {guardrail}}}]\n"
    )
    command = [
        f"{ENVIRONMENT}/bin/litellm",
        "--config",
        str(config),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    environment = {**os.environ, "LITELLM_MASTER_KEY": KEY}
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere) as process:  # noqa: ASYNC220
        try:
            async with aiohttp.ClientSession() as http:
                for _ in range(1800):
                    try:
                        async with http.get(f"http://127.0.0.1:{port}/health/liveliness") as answered:
                            if answered.status == 200:
                                break
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


async def ask(root: str, body: Any) -> int:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{root}/v1/chat/completions", json=body, headers=headers) as answered,
    ):
        await answered.read()
        return answered.status


async def test_by_yaml_alone(tmp_path: Path, start: Start, upstream: Upstream) -> None:
    for action, status in (("inject", 200), ("block", 400)):
        gateway = await start(moderator={"name": "keyword", "action": action})
        guardrail = (
            "{guardrail: generic_guardrail_api, mode: pre_call, default_on: true, "
            f"api_base: '{gateway.root}', api_key: k, unreachable_fallback: fail_closed}}"
        )
        async with proxy(tmp_path, upstream, guardrail) as root:
            assert await ask(root, CLEAN) == 200
            asked = len(upstream.received)
            assert await ask(root, FLAGGED) == status
        assert len(upstream.received) - asked == (status == 200)
        if status == 200:
            assert upstream.last.json["messages"][-1]["role"] == "system"


async def test_in_process(tmp_path: Path, upstream: Upstream) -> None:
    for action, status in (("inject", 200), ("block", 400)):
        guardrail = (
            "{guardrail: safemt.integrations.litellm.SafemtGuardrail, mode: pre_call, default_on: true, "
            f"moderator: keyword, safemt_action: {action}}}"
        )
        async with proxy(tmp_path, upstream, guardrail) as root:
            assert await ask(root, CLEAN) == 200
            assert await ask(root, FLAGGED) == status
        assert ("[guidance " in upstream.last.body.decode()) == (status == 200)
