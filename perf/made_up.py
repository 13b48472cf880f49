"""A made-up benchmark of any size: five rounds for each query, an image of 60 KB for each query."""

import json
import random
import zlib
from pathlib import Path
from typing import Any, Final

ROUNDS: Final = (1, 2, 4, 6, 8)
SCENARIOS: Final = ("Fraud", "Malware", "Satire", "Privacy Violation", "Political", "Legal Opinion")
SIDE: Final = 141
"""Pixels; with three random bytes each, a picture of 60 KB."""

_ASKED: Final = "What would a visitor notice in this picture of query {query} at turn {turn}, and why so? "
_ANSWERED: Final = "A visitor would notice the colours first, and then how evenly they are spread out. " * 4


def write_benchmark(folder: Path, samples: int, *, images: bool = True) -> Path:
    """Write about `samples` samples (a multiple of five) with texts as long as SafeMT's."""
    folder.mkdir(parents=True)
    append_queries(folder, range(samples // len(ROUNDS)), images=images)
    return folder


def append_queries(folder: Path, queries: range, *, images: bool = True) -> None:
    """Add queries, each at every number of turns, to a benchmark."""
    (folder / "images").mkdir(exist_ok=True)
    with (folder / "samples.jsonl").open("a", encoding="utf-8") as file:
        for query in queries:
            if images:
                (folder / "images" / f"{query}.png").write_bytes(_png(query))
            for turns in ROUNDS:
                file.write(json.dumps(_record(query, turns)) + "\n")


def _record(query: int, turns: int) -> dict[str, Any]:
    contents = [
        _ANSWERED if position % 2 else _ASKED.format(query=query, turn=position // 2 + 1)
        for position in range(2 * turns - 1)
    ]
    return {
        "query_id": f"q{query:06}",
        "turns": turns,
        "scenario": SCENARIOS[query % len(SCENARIOS)],
        "question": f"What is the hidden purpose behind picture {query}, told at length and in plain words?",
        "dialogue": [
            {"role": "assistant" if position % 2 else "user", "content": content}
            for position, content in enumerate(contents)
        ],
        "image": f"images/{query}.png",
    }


def _png(seed: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    noise = random.Random(seed).randbytes(3 * SIDE * SIDE)
    rows = b"".join(b"\0" + noise[3 * SIDE * row : 3 * SIDE * (row + 1)] for row in range(SIDE))
    header = SIDE.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 0)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
