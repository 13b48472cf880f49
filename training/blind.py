"""The model that ships, as the run time runs it, on sources that no training reads."""

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from safemt.core.schema import Message
from safemt.moderation.detectors.embedded.detector import EmbeddedDetector
from training.sources import BLIND, Row, read_source

MOST: Final = 450
"""Dialogues of one source that are read: all of XSTest, all of MSTS in English; a sample of SafeDialBench."""


def score_blind(data: Path, model: Path, path: Path) -> None:
    """Read the blind sources with the model in `model`; writes the risks (no texts) to `path`."""
    detector = EmbeddedDetector.load(pictures=False, folder=model)
    rows = [row for source in BLIND for row in _drawn(data, source)]
    scores = asyncio.run(_read(detector, rows))
    thresholds = dict(detector.model.thresholds)
    path.write_text(json.dumps({"thresholds": thresholds, "scores": scores}) + "\n", encoding="utf-8")


def _drawn(data: Path, source: str) -> list[Row]:
    rows = [row for row in read_source(data, source) if row.part != "msts multimodal"]
    return random.Random(source).sample(rows, min(MOST, len(rows)))


async def _read(detector: EmbeddedDetector, rows: Sequence[Row]) -> list[dict[str, Any]]:
    async def no_call(*_: object) -> NoReturn:
        raise AssertionError("the embedded detector makes no calls")

    found = []
    for row in rows:
        reading = detector.open(no_call)
        risks = []
        for text in row.turns:
            await reading.add(Message(role="user", parts=(text,)))
            risks.append(round((await reading.assess()).risk or 0.0, 5))
        found.append(
            {
                "source": row.source,
                "part": row.part,
                "label": row.label,
                "cluster": row.id,
                "turns": len(row.turns),
                "risks": risks,
            }
        )
    return found
