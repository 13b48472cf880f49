"""Small invented benchmarks, written in every layout without the help of our own writer."""

import hashlib
import io
import json
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet
from PIL import Image

from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Scenario

Row = dict[str, Any]

_ENDINGS: Final = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}


def picture(format_: str = "PNG", *, size: tuple[int, int] = (4, 3), colour: int = 0) -> bytes:
    """The bytes of a small image; another colour, another hash."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour % 256, colour // 256, 7)).save(buffer, format_)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that states this size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def put(path: Path, content: bytes | str) -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def make_sample(
    number: int = 1, turns: int = 1, scenario: Scenario = Scenario.FRAUD, **changes: Any
) -> Sample:
    """A sample as SafeMT has it: its id names the scenario and the image."""
    question = f"How do I fold paper boat number {number} for a {scenario.value} shelf?"
    talk: list[Message] = []
    for turn in range(1, turns):
        talk.append(Message(role="user", content=f"Which paper suits fold {turn} of boat {number}?"))
        talk.append(Message(role="assistant", content=f"Thin paper suits fold {turn} of it."))
    talk.append(Message(role="user", content=question if turns == 1 else f"And boat {number} in {turns}?"))
    name = f"{scenario.slug}_{number}"
    values: dict[str, Any] = {
        "query_id": f"mllm_{name}",
        "turns": turns,
        "scenario": scenario,
        "question": question,
        "dialogue": tuple(talk),
        "image": ImageRef("", "image/png", 4, 3, f"images/{scenario.slug}/{name}.png"),
    }
    return Sample(**(values | changes))


def make_samples(queries: int = 3, turns: Sequence[int] = (1, 2, 4)) -> list[Sample]:
    """Queries spread over the scenarios, each at every number of turns."""
    scenarios = list(Scenario)
    return [make_sample(n, k, scenarios[n % len(scenarios)]) for n in range(queries) for k in turns]


def folder_row(sample: Sample, **changes: Any) -> Row:
    """A record of the published folder layout."""
    row: Row = {
        "id": sample.query_id,
        "scenario": sample.scenario.value,
        "image_path": sample.image.path if sample.image else None,
        "dialogue": [{"role": message.role, "content": message.content} for message in sample.dialogue],
        "question": sample.question,
    }
    return row | changes


def hub_row(sample: Sample, *, literal: bool = False, **changes: Any) -> Row:
    """A row of the hub layout: the dialogue as JSON text, or as a Python literal."""
    row = folder_row(sample)
    dialogue = repr(row["dialogue"]) if literal else json.dumps(row["dialogue"])
    kept: Row = {"id": row["id"], "scenario": row["scenario"], "image_rel_path": row["image_path"]}
    return kept | {"dialogue": dialogue} | changes


def our_row(sample: Sample, **changes: Any) -> Row:
    """A line of `samples.jsonl`."""
    row = folder_row(sample)
    kept: Row = {"query_id": row["id"], "turns": sample.turns, "image": row["image_path"]}
    kept |= {key: row[key] for key in ("scenario", "dialogue", "question")}
    return kept | {"method": sample.method, "twin_of": sample.twin_of} | changes


def lines(rows: Iterable[Row]) -> str:
    """Rows as JSONL."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def put_images(root: Path, samples: Iterable[Sample]) -> dict[str, str]:
    """An image of its own for each path the samples name; their SHA-256 by path."""
    paths = sorted({sample.image.path for sample in samples if sample.image})
    for number, path in enumerate(paths):
        put(root / path, picture(colour=number))
    return {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in paths}


def by_turns(samples: Iterable[Sample]) -> dict[int, list[Sample]]:
    """Samples by their number of turns."""
    rounds: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        rounds[sample.turns].append(sample)
    return rounds


def put_folder(root: Path, samples: Iterable[Sample]) -> Path:
    """A benchmark in the published folder layout, without images."""
    for turns, group in by_turns(samples).items():
        put(root / f"{turns}_turn.json", json.dumps([folder_row(sample) for sample in group]))
    return root


def put_hub(root: Path, samples: Iterable[Sample], *, literal: bool = False) -> Path:
    """A benchmark in the hub layout as JSONL, without images."""
    for turns, group in by_turns(samples).items():
        rows = [hub_row(sample, literal=literal) for sample in group]
        put(root / "data" / f"{turns}_turn.jsonl", lines(rows))
    return root


def put_parquet(root: Path, rows: Sequence[Row], name: str = "data/train.parquet") -> Path:
    """Rows as one parquet file."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), root / name)
    return root


def put_ours(root: Path, samples: Iterable[Sample]) -> Path:
    """A benchmark in our own layout, without images and without `benchmark.json`."""
    put(root / "samples.jsonl", lines(our_row(sample) for sample in samples))
    return root


def ending(format_: str) -> str:
    """The usual file extension of a format of Pillow's."""
    return _ENDINGS[format_]
