"""`python -m training.speed FOLDER`: what the model costs to run, in a process of its own, as JSON."""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

TURN = (
    "{n} Could you please help me to plan the next trip to the mountains with two friends and a dog? "
    "We would like to stay for about a week, the budget is small, and short hikes near the lake would be "
    "best for us all."
)
"""About fifty tokens."""
TURNS = 50


def main() -> None:
    """Open the detector, read a conversation of fifty turns, print the figures."""
    folder = Path(sys.argv[1])
    began = time.perf_counter()
    from safemt.core.schema import Message
    from safemt.moderation.detectors.embedded.detector import EmbeddedDetector

    detector = EmbeddedDetector.load(pictures=False, folder=folder)

    async def no_call(*_: object) -> NoReturn:
        raise AssertionError("the embedded detector makes no calls")

    async def read(round_: int) -> list[float]:
        reading = detector.open(no_call)
        taken = []
        for turn in range(TURNS):
            message = Message(role="user", parts=(TURN.format(n=TURNS * round_ + turn),))
            start = time.perf_counter()
            await reading.add(message)
            await reading.assess()
            taken.append(1000 * (time.perf_counter() - start))
        return taken

    first = asyncio.run(read(0))
    cold = time.perf_counter() - began - sum(first[1:]) / 1000
    rounds = np.array([asyncio.run(read(number)) for number in range(1, 6)])
    warm = rounds[:, 1:]
    figures = {
        "cold_start_s": round(cold, 2),
        "turn_ms": {name: round(float(np.quantile(warm, q)), 1) for name, q in (("p50", 0.5), ("p95", 0.95))},
        "turn_50_to_turn_2": round(float(np.median(rounds[:, -3:]) / np.median(rounds[:, 1:4])), 2),
        "rss_mb": round(_peak_kb() / 1024),
        "files_mb": round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 1),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _peak_kb() -> int:
    """Most memory that this process ever held. `getrusage` also counts what its parent held before."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError("/proc/self/status does not say VmHWM: the memory is only measured on Linux.")
    return int(found.group(1))


main()
