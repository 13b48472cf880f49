"""The files of the embedded moderator: what is read from them, and how an encoder is run.

encoder.onnx     int8: `input_ids`, `attention_mask` int64 [1, tokens] → `embedding` float32 [1, hidden]
tokenizer.json   the vocabulary
head.npz         the arrays of `Head` by their names, `probe_weight` [18, hidden] and `probe_bias` [18]
model.json       version, scenarios in the order of the outputs, calibration, thresholds; how it was made
"""

import hashlib
import io
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from safemt.core.errors import ModeratorError
from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.features import Floats, Probe, turn_features
from safemt.moderation.detectors.embedded.head import SCENARIOS, Head
from safemt.moderation.detectors.embedded.wordpiece import WordPiece

SHIPPED: Final = Path(__file__).parent / "model"
FILES: Final = ("encoder.onnx", "tokenizer.json", "head.npz", "model.json")
FORMAT: Final = 1
"""Of `model.json` and of what the arrays mean."""
KEPT_VECTORS: Final = 4096
"""Windows whose vectors are remembered, 1.5 KB each: replayed and branching conversations repeat turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """From a logit to a probability: linear between points, level beyond them."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, logit: float) -> float:
        """The probability that goes with `logit`."""
        return float(np.interp(logit, self.x, self.y))


class Encoder:
    """Token windows to vectors, one at a time and on one thread.

    Not in batches: the quantisation takes its scale from all that is computed at once, so a window's vector
    would depend on its neighbours, and on one thread a batch is no faster.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._known: OrderedDict[bytes, Floats] = OrderedDict()
        self._lock = threading.Lock()
        self.encoded = 0
        """Windows that were computed, not remembered."""

    def vector(self, window: Sequence[int]) -> Floats:
        """[hidden]: the vector of one window. Remembered by a hash, so that no text is kept."""
        ids = np.asarray([window], np.int64)
        key = hashlib.blake2b(ids.tobytes(), digest_size=16).digest()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        vector: Floats = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][
            0
        ]
        with self._lock:
            self.encoded += 1
            self._known[key] = vector
            if len(self._known) > KEPT_VECTORS:
                self._known.popitem(last=False)
        return vector

    def forget(self) -> None:
        """Let go of what is remembered."""
        with self._lock:
            self._known.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedModel:
    """All that is read from the folder of a model."""

    sha256: Mapping[str, str]
    """Of each file by its name."""
    tokenizer: WordPiece
    encoder: Encoder
    probe: Probe
    head: Head
    scenarios: tuple[Scenario, ...]
    risk: Curve
    turn_risk: Curve
    linkage: Curve
    scenario: Curve
    thresholds: Mapping[str, float]
    """`default`, and one for each promised share of false alarms: `fpr_0.01`, `fpr_0.05`."""


@cache
def load_model(folder: Path = SHIPPED) -> EmbeddedModel:
    """The model in `folder`, read once in a process.

    Raises:
        ModeratorError: a file is missing, damaged, or of another version.
    """
    sha256 = {name: _sha256(folder / name) for name in FILES}
    about = _about(folder / "model.json")
    try:
        # From memory: numpy leaves a damaged file open.
        with np.load(io.BytesIO((folder / "head.npz").read_bytes()), allow_pickle=False) as stored:
            arrays: dict[str, Floats] = {name: np.asarray(stored[name], np.float32) for name in stored.files}
        curves = {name: _curve(points) for name, points in about["calibration"].items()}
        return _checked(
            EmbeddedModel(
                sha256=sha256,
                tokenizer=WordPiece.read(folder / "tokenizer.json"),
                encoder=Encoder(folder / "encoder.onnx"),
                probe=Probe(weight=arrays["probe_weight"], bias=arrays["probe_bias"]),
                head=Head(**{field.name: arrays[field.name] for field in fields(Head)}),
                scenarios=tuple(map(Scenario, about["scenarios"])),
                risk=curves["risk"],
                turn_risk=curves["turn_risk"],
                linkage=curves["linkage"],
                scenario=curves["scenarios"],
                thresholds={name: float(threshold) for name, threshold in about["thresholds"].items()},
            )
        )
    except ModeratorError:
        raise
    except Exception as error:  # onnxruntime, numpy and zipfile each raise many kinds of their own
        raise ModeratorError(
            f"The model of the embedded moderator in {folder} is damaged ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:200] if str(error) else 'no detail'}). Install safemt again."
        ) from error


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModeratorError(
            f"The model of the embedded moderator lacks {path} ({error.strerror}). Install safemt again."
        ) from error


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_bytes())
        version = about["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModeratorError(f"{path} is damaged. Install safemt again.") from error
    if version != FORMAT:
        raise ModeratorError(
            f"{path} is of version {version!r}, and this safemt reads version {FORMAT}. "
            "Use the model that came with it."
        )
    return dict(about)


def _curve(points: Mapping[str, Sequence[float]]) -> Curve:
    curve = Curve(x=tuple(map(float, points["x"])), y=tuple(map(float, points["y"])))
    if not curve.x or len(curve.x) != len(curve.y) or list(curve.x) != sorted(curve.x):
        raise ValueError("a calibration curve is no curve")
    if not all(0 <= y <= 1 for y in curve.y):
        raise ValueError("a calibration curve leaves the range from 0 to 1")
    return curve


def _checked(model: EmbeddedModel) -> EmbeddedModel:
    """The model, once it has taken a step: what does not fit together fails here, not in a conversation."""
    vector = model.encoder.vector([model.tokenizer.start, model.tokenizer.end])
    logits, _ = model.head.step(turn_features(model.probe, vector[None], vector[None]), model.head.start())
    if logits.shape != (SCENARIOS + len(model.scenarios),) or not np.isfinite(logits).all():
        raise ValueError("the head does not give one finite logit for each output")
    if not 0 <= model.thresholds["default"] <= 1:
        raise ValueError("the default threshold is not between 0 and 1")
    return model
