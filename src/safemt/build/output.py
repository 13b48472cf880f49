"""Writing a finished benchmark: our JSONL layout, the published folder layout, Parquet. All or nothing."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from safemt.build.compose import Group, Side
from safemt.build.pictures.card import ImageRole
from safemt.build.pictures.folder import Picture
from safemt.build.queries import Reject
from safemt.core.errors import RunError, UsageError
from safemt.core.schema import Sample

PARQUET_FILE: Final = "parquet/samples.parquet"
QUERIES_FILE: Final = "queries.jsonl"
REJECTS_FILE: Final = "rejects.jsonl"
STATS_FILE: Final = "stats.json"
DATASHEET_FILE: Final = "DATASHEET.md"
CROISSANT_FILE: Final = "croissant.json"
_ROWS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Built:
    """An accepted query with its images and its samples."""

    group: Group
    picture: Picture
    twin_picture: Picture | None
    samples: tuple[Sample, ...]


def samples_of(
    group: Group, picture: Picture, twin_picture: Picture | None, language: str, *, control: bool = False
) -> tuple[Sample, ...]:
    """The samples of a query by number of turns, then those of its twin.

    With `control`, the same dialogues with the picture's words in the text, and no picture.
    """
    sides: list[tuple[str, str | None, Side, Picture]] = [(group.query.id, None, group.harmful, picture)]
    if group.twin is not None and twin_picture is not None:
        sides.append((f"{group.query.id}_twin", group.query.id, group.twin, twin_picture))
    return tuple(
        Sample(
            query_id=query_id,
            turns=turns,
            scenario=group.query.scenario,
            question=side.question,
            dialogue=dialogue.control if control else dialogue.messages,
            image=None if control else shown.ref,
            method=dialogue.method,
            twin_of=twin_of,
            language=language,
            meta={
                "source": group.query.raw.source,
                "licence": group.query.raw.licence,
                "generator": dialogue.generator,
                "act_class": group.understood.act.act.id,
                **({} if control else _image_meta(side, turns)),
            },
        )
        for query_id, twin_of, side, shown in sides
        for turns, dialogue in side.dialogues.items()
    )


def _image_meta(side: Side, turns: int) -> dict[str, str]:
    """What the picture does for one sample. The one-turn question says everything itself."""
    role, words = side.picture.role, side.picture.shown.words
    if turns == 1 and role is ImageRole.CARRIES:
        role, words = ImageRole.ILLUSTRATES, ""
    return {"image_role": role.value, "image_words": words}


def query_row(built: Built) -> dict[str, Any]:
    """Where a query comes from and how it was treated: one line of `queries.jsonl`."""
    query, raw, plan = built.group.query, built.group.query.raw, built.group.understood.picture
    act, request = built.group.understood.act, built.group.understood.request
    return {
        "query_id": query.id,
        "question": query.text,
        "scenario": query.scenario.value,
        "scenario_by": query.assigned_by,
        "confidence": round(query.confidence, 4),
        "act_class": act.act.id,
        "act_class_by": act.by,
        "act_class_confidence": round(act.confidence, 4),
        "form": request.form.value,
        "category": raw.category,
        "source": raw.source,
        "source_id": raw.source_id,
        "place": raw.place,
        "licence": raw.licence,
        "merged": list(query.merged),
        "image": built.picture.ref.path,
        "image_origin": built.picture.origin,
        "image_role": plan.role.value,
        "image_words": plan.shown.words,
        "image_prints_request": plan.prints_request,
        "twin_by": built.group.twin_by or None,
    }


def reject_row(reject: Reject) -> dict[str, Any]:
    """One line of `rejects.jsonl`."""
    return {
        "stage": reject.stage.value,
        "reason": reject.reason,
        "place": reject.place,
        "detail": reject.detail,
        "kept": reject.kept or None,
        "cost_a_query": reject.fatal,
        "dialogue": list(reject.dialogue) or None,
    }


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """One JSON document, for people too."""
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_folder_layout(folder: Path, samples: Sequence[Sample]) -> None:
    """The published layout, `{k}_turn.json`. It knows no benign twins, so those stay out of it."""
    for turns in sorted({sample.turns for sample in samples}):
        records = [
            {
                "id": sample.query_id,
                "scenario": sample.scenario.value,
                "image_path": sample.image.path if sample.image else None,
                "dialogue": [{"role": m.role, "content": m.content} for m in sample.dialogue],
                "question": sample.question,
            }
            for sample in samples
            if sample.turns == turns and sample.twin_of is None
        ]
        (folder / f"{turns}_turn.json").write_text(
            json.dumps(records, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def write_parquet(folder: Path, samples: Sequence[Sample]) -> None:
    """One Parquet file that `datasets.load_dataset` opens; images by path and hash, not by bytes.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "needs_pyarrow", "The Parquet export needs pyarrow: pip install 'safemt[build]'."
        ) from error
    text = pyarrow.string()
    schema = pyarrow.schema(
        [
            pyarrow.field("id", text),
            pyarrow.field("query_id", text),
            pyarrow.field("turns", pyarrow.int32()),
            pyarrow.field("scenario", text),
            pyarrow.field("method", text),
            pyarrow.field("question", text),
            pyarrow.field("dialogue", pyarrow.list_(pyarrow.struct([("role", text), ("content", text)]))),
            pyarrow.field("image", text),
            pyarrow.field("image_sha256", text),
            pyarrow.field("twin_of", text),
            pyarrow.field("language", text),
            pyarrow.field("source", text),
            pyarrow.field("licence", text),
            pyarrow.field("generator", text),
            pyarrow.field("act_class", text),
            pyarrow.field("image_role", text),
            pyarrow.field("image_words", text),
        ]
    )
    path = folder / PARQUET_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(samples), _ROWS_AT_ONCE):
            rows = [_parquet_row(sample) for sample in samples[start : start + _ROWS_AT_ONCE]]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _parquet_row(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "query_id": sample.query_id,
        "turns": sample.turns,
        "scenario": sample.scenario.value,
        "method": sample.method.value if sample.method else None,
        "question": sample.question,
        "dialogue": [{"role": message.role, "content": message.content} for message in sample.dialogue],
        "image": sample.image.path if sample.image else None,
        "image_sha256": sample.image.sha256 if sample.image else None,
        "twin_of": sample.twin_of,
        "language": sample.language,
        **sample.meta,
    }


def work_folder(out: Path) -> Path:
    """Where a build for `out` lies until it is whole."""
    return out.with_name(out.name + ".building")


@contextmanager
def finished_at_once(out: Path) -> Iterator[Path]:
    """A folder to build in, renamed to `out` when the block ends well and removed when it does not.

    Raises:
        UsageError: `out` exists and is not an empty folder.
        RunError: something cannot be written (no space, no permission), or another process builds the same.
    """
    part = work_folder(out) / "benchmark"
    lock = FileLock(work_folder(out) / "build.lock")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(
                "output_exists",
                f"The folder {out} exists already. A build is never mixed into something else: choose "
                f"another `out`, "
                "or remove it first.",
                path=out,
            )
        part.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        yield part
        if out.is_dir():
            out.rmdir()
        part.rename(out)
        shutil.rmtree(part.parent, ignore_errors=True)
    except Timeout:
        raise RunError(
            "build_locked",
            f"Another safemt process is building {out}. Wait for it, or choose another `out`.",
            path=out,
        ) from None
    except OSError as error:
        raise RunError(
            "cannot_write",
            f"The benchmark cannot be written at {out}: {error.strerror or error}. Nothing was left under "
            f"that name; "
            "make room or choose another `out`, and build again.",
            path=out,
        ) from error
    finally:
        if lock.is_locked:
            shutil.rmtree(part, ignore_errors=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
            if part.parent.is_dir() and not any(part.parent.iterdir()):
                part.parent.rmdir()
