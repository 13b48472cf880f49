"""Which sources choices are made by: the model that is validated sees none of them."""

from collections.abc import Sequence
from typing import Final

from training.sources import Row

VALIDATION: Final = ("red_queen", "cosafe", "mts_dialog", "covid", "topical_chat", "taskmaster4", "bridge")
"""Sources that are left out as a whole."""
VALIDATION_PART: Final = "strongreject"
"""The part of harm_prompts that is left out: its requests are wrapped and measured."""


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and rows held out for validation."""
    held = [row for row in rows if is_held_out(row)]
    return [row for row in rows if not is_held_out(row)], held


def is_held_out(row: Row) -> bool:
    """Whether a row is for validation."""
    return row.source in VALIDATION or row.part.startswith(VALIDATION_PART)
