"""The shape of the published SafeMT scripts, in our own words.

    python -m perf.peers.published_shape FOLDER ROOT_URL SAMPLES

First every response, then every label. Samples go in batches of 16, each with an httpx client of its own, 20
batches at once; the image is read and encoded for every request; each phase writes its results as JSON.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from perf.peers.dialogues import data_uri, judge_request, read_records, target_request, text_of

BATCH = 16
BATCHES_AT_ONCE = 20

Row = dict[str, Any]


async def phase(url: str, rows: list[Row], request: Callable[[Row], Row]) -> list[str]:
    """The texts that `url` answers to the request of each row."""
    turnstile = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def post(client: httpx.AsyncClient, row: Row) -> str:
        reply = await client.post(url, json=request(row))
        return text_of(reply.raise_for_status().json())

    async def batch(few: list[Row]) -> list[str]:
        async with turnstile, httpx.AsyncClient(timeout=120) as client:
            return await asyncio.gather(*(post(client, row) for row in few))

    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    return [text for texts in await asyncio.gather(*map(batch, batches)) for text in texts]


async def run(folder: Path, root: str, *, samples: int) -> None:
    """Both phases, one after the other."""
    rows = read_records(folder, samples)
    with tempfile.TemporaryDirectory() as results:
        texts = await phase(
            f"{root}/target/v1/chat/completions", rows, lambda row: target_request(row, data_uri(folder, row))
        )
        for row, text in zip(rows, texts, strict=True):
            row["response"] = text
        (Path(results) / "responses.json").write_text(json.dumps(rows))
        texts = await phase(
            f"{root}/judge/v1/chat/completions", rows, lambda row: judge_request(row, row["response"])
        )
        for row, text in zip(rows, texts, strict=True):
            row["label"] = "unsafe" if "unsafe" in text else "safe"
        (Path(results) / "labels.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2], samples=int(sys.argv[3])))
