"""One training from the data folders to the files that ship, the same for the model and for every fold."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from safemt.moderators.embedded.features import Floats, Probe
from safemt.moderators.embedded.head import INTENT, Head
from training.calibrate import Platt, fit_platt, threshold_at
from training.causal import run_head, train_head
from training.corpus import Pool, Share, encoder_examples, head_dialogues, make_pool
from training.dialogues import Dialogue
from training.encoder import load_tokenizer
from training.export import export_int8
from training.finetune import fine_tune
from training.sources import Row
from training.vectors import Vectors

DEFAULT_FALSE_ALARMS: Final = 0.01
"""Share of harmless dialogues that the default threshold may flag in calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a training may spend."""

    epochs: int
    scale: float
    """Size of one epoch; 1 is about 12,000 texts of the full pool."""
    head_epochs: int = 10
    seed: int = 0


MODEL: Final = Recipe(epochs=3, scale=1.0)
FOLD: Final = Recipe(epochs=2, scale=0.9)
"""A fold gets two thirds of the model's training: there are several of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A whole moderator, as it will run."""

    encoder: Path
    probe: Probe
    head: Head
    calibration: Platt
    turn_calibration: Platt
    thresholds: dict[str, float]

    def read(self, vectors: Vectors, dialogues: Sequence[Sequence[str]]) -> list["Reading"]:
        """What it makes of dialogues of user turns."""
        found = []
        for features in vectors.features(dialogues, self.probe):
            logits = run_head(self.head, features)
            found.append(
                Reading(
                    risk=self.calibration.risk(logits[:, INTENT].astype(np.float64)),
                    turn_risk=self.turn_calibration.risk(features[:, 0].astype(np.float64)),
                    logits=logits,
                )
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a moderator made of one dialogue, for each user turn."""

    risk: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Calibrated, of the dialogue up to the turn."""
    turn_risk: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Calibrated, of the turn on its own."""
    logits: Floats


def train(
    rows: Sequence[Row],
    held_out: Sequence[Row],
    recipe: Recipe,
    *,
    encoder: Path,
    threads: int,
    tell: Callable[[str], None],
) -> Trained:
    """Train on `rows`, with nothing in it whose text stands in `held_out`; writes `encoder`."""
    tokenizer = load_tokenizer()
    pool = make_pool(rows, held_out)
    tell(f"{len(pool.harmful)} harmful and {len(pool.harmless)} harmless queries, {len(pool.natural)} chats")
    own = pool.part([Share.ENCODER])
    tuned = fine_tune(
        lambda epoch: encoder_examples(own, scale=recipe.scale, chance=_chance(recipe, f"encoder {epoch}")),
        tokenizer,
        epochs=recipe.epochs,
        seed=recipe.seed,
        tell=tell,
    )
    export_int8(tuned.encoder, encoder)
    vectors = Vectors(encoder, tokenizer, threads=threads)
    dialogues = _for_head(pool, recipe)
    tell(f"the head learns from {len(dialogues)} dialogues")
    features = vectors.features([[turn.text for turn in dialogue.turns] for dialogue in dialogues], tuned.probe)
    head = train_head(features, dialogues, epochs=recipe.head_epochs, seed=recipe.seed, tell=tell)
    checked = head_dialogues(
        pool.part([Share.CALIBRATION]), scale=1.0, chance=_chance(recipe, "calibration")
    )
    return _calibrated(encoder, tuned.probe, head, vectors, checked)


def save_head(trained: Trained, path: Path) -> None:
    """The weights of the probe and of the head, as the run time reads them."""
    np.savez(
        path,
        probe_weight=trained.probe.weight,
        probe_bias=trained.probe.bias,
        **{name: value for name, value in asdict(trained.head).items()},
    )


def load_trained(folder: Path) -> Trained:
    """A moderator as `save_head` and model.json keep it."""
    weights = np.load(folder / "head.npz")
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    names = ("input_weight", "input_bias", "state_weight", "state_bias", "output_weight", "output_bias")
    return Trained(
        encoder=folder / "encoder.onnx",
        probe=Probe(weight=weights["probe_weight"], bias=weights["probe_bias"]),
        head=Head(**{name: weights[name] for name in names}),
        calibration=Platt(**card["calibration"]["risk"]),
        turn_calibration=Platt(**card["calibration"]["turn_risk"]),
        thresholds=card["thresholds"],
    )


def _for_head(pool: Pool, recipe: Recipe) -> list[Dialogue]:
    """Mostly groups that the encoder has not seen: on those that it has, it is surer than it will ever be again."""
    found: list[Dialogue] = []
    for number, (share, scale) in enumerate(((Share.HEAD, 1.0), (Share.HEAD, 1.0), (Share.ENCODER, 0.15))):
        found += head_dialogues(pool.part([share]), scale=scale, chance=_chance(recipe, f"head {number}"))
    return found


def _calibrated(
    encoder: Path, probe: Probe, head: Head, vectors: Vectors, checked: Sequence[Dialogue]
) -> Trained:
    texts = [[turn.text for turn in dialogue.turns] for dialogue in checked]
    features = vectors.features(texts, probe)
    logits = [float(run_head(head, rows)[-1, INTENT]) for rows in features]
    # A dialogue whose label is doubtful teaches calibration nothing.
    sure = [place for place, dialogue in enumerate(checked) if not 0.0 < dialogue.turns[-1].intent < 0.8]
    harmful = [checked[place].turns[-1].intent for place in sure]
    platt = fit_platt([logits[place] for place in sure], harmful)
    turns = [
        (float(row[0]), turn.own)
        for rows, dialogue in zip(features, checked, strict=True)
        for row, turn in zip(rows, dialogue.turns, strict=True)
        if turn.own_weight >= 0.5 and not 0.0 < turn.own < 0.8
    ]
    harmless = [platt.risk(np.array(logits[place])).item() for place in sure if checked[place].harmful < 0.1]
    return Trained(
        encoder=encoder,
        probe=probe,
        head=head,
        calibration=platt,
        turn_calibration=fit_platt([logit for logit, _ in turns], [own for _, own in turns]),
        thresholds={
            "default": round(threshold_at(harmless, DEFAULT_FALSE_ALARMS), 6),
            "fpr_0.01": round(threshold_at(harmless, 0.01), 6),
            "fpr_0.05": round(threshold_at(harmless, 0.05), 6),
        },
    )


def _chance(recipe: Recipe, use: str) -> random.Random:
    return random.Random(f"{recipe.seed}:{use}")


