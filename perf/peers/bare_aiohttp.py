"""The practical limit: a bare aiohttp loop. One pool, images encoded once, nothing stored, nothing retried.

python -m perf.peers.bare_aiohttp FOLDER ROOT_URL CONCURRENCY SAMPLES
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from perf.peers.dialogues import data_uri, judge_request, read_records, target_request, text_of


async def run(folder: Path, root: str, *, concurrency: int, samples: int) -> None:
    """Ask the target and then the judge about every sample."""
    records = iter(read_records(folder, samples))
    uris: dict[str, str] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(url: str, body: dict[str, Any]) -> str:
            async with session.post(url, data=orjson.dumps(body)) as response:
                return text_of(orjson.loads(await response.read()))

        async def work(todo: Iterator[dict[str, Any]]) -> None:
            for record in todo:
                name = record["image"]
                if name not in uris:
                    uris[name] = data_uri(folder, record)
                text = await post(f"{root}/target/v1/chat/completions", target_request(record, uris[name]))
                await post(f"{root}/judge/v1/chat/completions", judge_request(record, text))

        await asyncio.gather(*(work(records) for _ in range(concurrency)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2], concurrency=int(sys.argv[3]), samples=int(sys.argv[4])))
