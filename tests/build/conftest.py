"""Mild queries as a file, and a progress that shows nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from mild_queries import MILD
from safemt.build.progress import Progress


@pytest.fixture
def mild() -> list[tuple[str, str]]:
    return MILD


@pytest.fixture
def queries_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes mild queries as JSONL: all of them, or rows of one's own."""

    def write(rows: list[dict[str, object]] | None = None, *, name: str = "mild.jsonl") -> Path:
        if rows is None:
            rows = [{"query": text, "scenario": scenario} for text, scenario in MILD]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(quiet=True))
