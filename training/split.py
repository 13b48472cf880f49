"""What each fold holds out."""

import re
from collections.abc import Sequence
from typing import Final

from training.sources import Row

FOLDS: Final = {
    "A": ("red_queen", "mtbench101"),
    "B": ("sgd", "taskmaster4", "advbench", "malicious_instruct", "phtest"),
    "C": ("topical_chat", "mtbench", "harmbench", "figstep", "cyber_frr"),
    "D": ("strongreject", "do-not-answer", "openai_moderation", "alpaca_harmless"),
    "E": ("red_queen occupation",),
    "F": ("red_queen relation",),
}
"""What each fold holds out: sources, and parts of a source by how their names begin.

A to D hold every source out once, as a whole. E and F ask what half of Red Queen's templates, and its other
actions, teach about the other half.
"""


def split(rows: Sequence[Row], fold: str) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and rows held out."""
    held = [row for row in rows if is_held_out(row, fold)]
    return [row for row in rows if not is_held_out(row, fold)], held


def is_held_out(row: Row, fold: str) -> bool:
    """Whether a fold holds a row out."""
    return row.source in FOLDS[fold] or any(re.match(rf"{name}(?:[ _]|$)", row.part) for name in FOLDS[fold])
