"""Writing a benchmark in our own layout (docs/file-formats.md)."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from safemt.benchmark.layouts import ABOUT_FILE, FORMAT, SAMPLES_FILE
from safemt.core.errors import BenchmarkError
from safemt.core.schema import Sample


def sample_row(sample: Sample) -> dict[str, object]:
    """One line of `samples.jsonl`."""
    return {
        "query_id": sample.query_id,
        "turns": sample.turns,
        "scenario": sample.scenario.value,
        "method": sample.method,
        "question": sample.question,
        "dialogue": [{"role": message.role, "content": message.content} for message in sample.dialogue],
        "image": sample.image.path if sample.image else None,
        "image_sha256": sample.image.sha256 if sample.image else None,
        "twin_of": sample.twin_of,
        "language": sample.language,
        **sample.meta,
    }


def write_benchmark(folder: Path, samples: Iterable[Sample], *, about: Mapping[str, str]) -> None:
    """Write `benchmark.json` and `samples.jsonl` into `folder`; the caller puts the images beside them.

    `samples.jsonl` is there whole or not at all, so that nobody takes half a benchmark for one.

    Raises:
        BenchmarkError: the folder cannot be written to.
    """
    part = folder / f"{SAMPLES_FILE}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ABOUT_FILE).write_text(
            json.dumps({"format": FORMAT, **about}, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
        with part.open("w", encoding="utf-8", newline="\n") as lines:
            for sample in samples:
                lines.write(json.dumps(sample_row(sample), ensure_ascii=False) + "\n")
        part.replace(folder / SAMPLES_FILE)
    except OSError as error:
        raise BenchmarkError(
            f"The benchmark cannot be written to {folder}: {error.strerror}. "
            "Choose another folder or make room."
        ) from error
