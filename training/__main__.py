"""`python -m training`: makes the moderator that ships, and measures its recipe on unseen sources."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from training.blind import score_blind
from training.card import write_card
from training.folds import run_fold
from training.pipeline import MODEL, train
from training.ship import save
from training.sources import BLIND, LICENCES, read_source
from training.split import FOLDS

STAGES: Final = ("model", "folds", "blind", "card")
ROOT: Final = Path(__file__).parent.parent


def main() -> None:
    """Read the command line and do the stages in their order."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=("all", *STAGES), help="all: these in their order")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the data sets")
    parser.add_argument("--model", type=Path, default=ROOT / "src/safemt/moderation/detectors/embedded/model")
    parser.add_argument("--scores", type=Path, default=ROOT / "build/moderator", help="scores, by fold")
    parser.add_argument(
        "--fold", choices=tuple(FOLDS), action="append", help="only this fold; may be repeated"
    )
    parser.add_argument("--card", type=Path, default=ROOT / "docs" / "moderator-card.md")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stages = STAGES if options.stage == "all" else (options.stage,)
    options.scores.mkdir(parents=True, exist_ok=True)
    if "model" in stages:
        _make_model(options)
    if "folds" in stages:
        for fold in options.fold or FOLDS:
            run_fold(
                options.data, fold, options.scores, threads=options.threads, tell=_teller(f"fold {fold}")
            )
    if "blind" in stages:
        score_blind(options.data, options.model, options.scores / "blind.json")
    if "card" in stages:
        write_card(options.card, scores=options.scores, model=options.model)


def _make_model(options: argparse.Namespace) -> None:
    """Train on every source, and write the files that ship."""
    tell = _teller("model")
    rows = [row for source in LICENCES for row in read_source(options.data, source)]
    blind = [row for source in BLIND for row in read_source(options.data, source)]
    options.model.mkdir(parents=True, exist_ok=True)
    encoder = options.model / "encoder.onnx"
    trained = train(rows, blind, MODEL, encoder=encoder, threads=options.threads, tell=tell)
    save(trained, options.model, MODEL, options.data)
    tell("done")


def _teller(name: str) -> Callable[[str], None]:
    began = time.monotonic()

    def tell(line: str) -> None:
        sys.stdout.write(f"[{name} {time.monotonic() - began:6.0f} s] {line}\n")
        sys.stdout.flush()

    return tell


main()
