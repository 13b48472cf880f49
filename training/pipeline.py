"""One training from the data folders to the files that ship, the same for the model and for every fold."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.features import Floats, Probe
from safemt.moderation.detectors.embedded.head import INTENT, LINKAGE, SCENARIOS, TURN, Head
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
"""Share of harmless dialogues that the default threshold may flag, at any turn, in calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a training may spend."""

    epochs: int
    scale: float
    """Size of one epoch; 1 is about 22,000 texts of the whole pool."""
    head_scale: float
    """The same for the dialogues that the head learns from; 1 is about 6,000."""
    head_epochs: int = 10
    seed: int = 0


MODEL: Final = Recipe(epochs=3, scale=1.0, head_scale=1.0)
FOLD: Final = Recipe(epochs=2, scale=0.6, head_scale=0.5)
"""A fold gets less than half of the training of the model: there are several of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A whole moderator, as it will run."""

    encoder: Path
    probe: Probe
    head: Head
    calibrations: Mapping[str, Platt]
    """`risk`, `turn_risk`, `linkage`, `scenarios`: the curve of each output."""
    thresholds: Mapping[str, float]

    def read(self, vectors: Vectors, dialogues: Sequence[Sequence[str]]) -> list["Reading"]:
        """What it makes of dialogues of user turns."""
        found = []
        for features in vectors.features(dialogues, self.probe):
            logits = run_head(self.head, features)
            found.append(
                Reading(
                    risk=self.calibrations["risk"].risk(logits[:, INTENT].astype(np.float64)),
                    turn_risk=self.calibrations["turn_risk"].risk(logits[:, TURN].astype(np.float64)),
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
    features = vectors.features(
        [[turn.text for turn in dialogue.turns] for dialogue in dialogues], tuned.probe
    )
    head = train_head(features, dialogues, epochs=recipe.head_epochs, seed=recipe.seed, tell=tell)
    checked = head_dialogues(pool.part([Share.CALIBRATION]), scale=1.0, chance=_chance(recipe, "calibration"))
    return _calibrated(encoder, tuned.probe, head, vectors, checked)


def _for_head(pool: Pool, recipe: Recipe) -> list[Dialogue]:
    """Mostly groups that the encoder has not seen: on those that it has it is surer than it will be again."""
    found: list[Dialogue] = []
    for number, (share, scale) in enumerate(((Share.HEAD, 1.0), (Share.ENCODER, 0.15))):
        part, chance = pool.part([share]), _chance(recipe, f"head {number}")
        found += head_dialogues(part, scale=scale * recipe.head_scale, chance=chance)
    return found


def _calibrated(
    encoder: Path, probe: Probe, head: Head, vectors: Vectors, checked: Sequence[Dialogue]
) -> Trained:
    texts = [[turn.text for turn in dialogue.turns] for dialogue in checked]
    logits = [run_head(head, features).astype(np.float64) for features in vectors.features(texts, probe)]
    read = list(zip(logits, checked, strict=True))
    # A dialogue whose label is doubtful teaches calibration nothing.
    sure = [(rows, dialogue) for rows, dialogue in read if not 0.0 < dialogue.turns[-1].intent < 0.8]
    turns = [pair for rows, dialogue in read for pair in zip(rows, dialogue.turns, strict=True)]
    alone = [
        (row[TURN], turn.own) for row, turn in turns if turn.own_weight >= 0.5 and not 0 < turn.own < 0.8
    ]
    linked = [(row[LINKAGE], turn.risk) for row, turn in turns if turn.intent >= 0.8]
    named = [
        (row[SCENARIOS + place], float(place == dialogue.scenario))
        for rows, dialogue in sure
        if dialogue.scenario is not None and dialogue.turns[-1].risk >= 0.8
        for row in rows[-1:]
        for place in range(len(Scenario))
    ]
    risk = fit_platt(*_columns([(rows[-1, INTENT], dialogue.turns[-1].intent) for rows, dialogue in sure]))
    peaks = [risk.risk(rows[:, INTENT]).max() for rows, dialogue in sure if dialogue.harmful < 0.1]
    return Trained(
        encoder=encoder,
        probe=probe,
        head=head,
        calibrations={
            "risk": risk,
            "turn_risk": fit_platt(*_columns(alone)),
            "linkage": fit_platt(*_columns(linked), base_rate=0.5),
            "scenarios": fit_platt(*_columns(named), base_rate=1 / len(Scenario)),
        },
        thresholds={
            name: round(threshold_at(peaks, share), 6)
            for name, share in (("default", DEFAULT_FALSE_ALARMS), ("fpr_0.01", 0.01), ("fpr_0.05", 0.05))
        },
    )


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [float(one) for one, _ in pairs], [float(other) for _, other in pairs]


def _chance(recipe: Recipe, use: str) -> random.Random:
    return random.Random(f"{recipe.seed}:{use}")
