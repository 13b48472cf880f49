"""placeholder"""
from pathlib import Path


def write_card(card: Path, *, scores: Path, model: Path) -> None:
    raise NotImplementedError
