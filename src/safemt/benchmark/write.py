"""Writing a benchmark in our own layout (docs/file-formats.md)."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from safemt.benchmark.layouts import ABOUT_FILE, FORMAT, SAMPLES_FILE
from safemt.core.schema import Sample
from safemt.io.files import PUBLIC, new_file, write_file


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

    `samples.jsonl` appears whole or not at all, so half a benchmark never passes for one.

    Raises:
        FileError: the folder cannot be written to.
    """
    document = json.dumps({"format": FORMAT, **about}, ensure_ascii=False, indent=2) + "\n"
    write_file(folder / ABOUT_FILE, document.encode(), mode=PUBLIC)
    with new_file(folder / SAMPLES_FILE, mode=PUBLIC) as lines:
        for sample in samples:
            lines.write(json.dumps(sample_row(sample), ensure_ascii=False).encode() + b"\n")
