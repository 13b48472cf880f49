"""The dialogues of runs as data for the page's script: an index of rows, texts in pieces, and thumbnails.

Nothing here is markup: the script shows every text as text. A redacted index holds no text and no image.
"""

import base64
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from PIL import Image, ImageOps

from safemt.core.errors import BenchmarkError
from safemt.core.schema import ImageRef
from safemt.io.images import ImageFolder
from safemt.report.runs import ReportRun
from safemt.report.stored import StoredSample
from safemt.stats.scores import ScoredSample

MESSAGE_LIMIT: Final = 4_000
ANSWER_LIMIT: Final = 8_000
"""Characters of one message, and of one response or judgement, that the page carries."""
TEXT_LIMIT: Final = 80_000_000
THUMBNAIL_LIMIT: Final = 16_000_000
"""Characters of all texts, and of all thumbnails together, that the page carries."""
PIECE: Final = 100
"""Texts per piece of data."""
SIDE: Final = 96
"""Longest side of a thumbnail, in pixels."""
_QUALITY: Final = 60

_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


@dataclass(frozen=True, slots=True)
class DialogueData:
    """What the page carries of all dialogues, each part as JSON that is safe within a script element."""

    index: Markup
    dialogues: tuple[Markup, ...]
    """Pieces of questions and messages, shared by runs on the same sample."""
    answers: tuple[Markup, ...]
    """Pieces of responses and judges' words, one per row of the index."""
    thumbnails: Markup
    rows: int
    clipped: int
    """Texts cut to their limit."""
    left_out: int
    """Texts not carried because the page would be too large."""


@dataclass(slots=True)
class _Texts:
    """Collects texts up to the page's limits."""

    room: int
    thumbnail_room: int = THUMBNAIL_LIMIT
    clipped: int = 0
    left_out: int = 0
    dialogues: list[Any] = field(default_factory=list)
    thumbnails: list[str] = field(default_factory=list)
    dialogue_at: dict[str, int] = field(default_factory=dict)
    thumbnail_at: dict[str, int] = field(default_factory=dict)

    def take(self, text: str, limit: int) -> Any:
        """The text; `[beginning, characters cut]` where it is too long; null where there is no room left."""
        kept = text[:limit]
        if len(kept) > self.room:
            self.left_out += 1
            return None
        self.room -= len(kept)
        if len(kept) == len(text):
            return text
        self.clipped += 1
        return [kept, len(text) - len(kept)]

    def add_dialogue(self, found: StoredSample) -> int:
        """The place of a sample's dialogue: `[question, [message, …]]`."""
        if found.key not in self.dialogue_at:
            self.dialogue_at[found.key] = len(self.dialogues)
            messages = [self.take(message.content, MESSAGE_LIMIT) for message in found.sample.dialogue]
            self.dialogues.append([self.take(found.sample.question, MESSAGE_LIMIT), messages])
        return self.dialogue_at[found.key]

    def answer(self, found: StoredSample, judge: str) -> list[Any]:
        """`[[response], the judge's words]`; `[null, …]` where there is no response."""
        response = None if found.reply is None else [self.take(found.reply.text, ANSWER_LIMIT)]
        judgement = found.labels.get(judge)
        return [response, self.take(judgement.reasoning if judgement else "", ANSWER_LIMIT)]

    def add_thumbnail(self, reference: ImageRef | None, images: ImageFolder) -> int:
        """The place of the thumbnail; -1 where there is no image, -2 where it cannot be shown."""
        if reference is None:
            return -1
        if reference.sha256 not in self.thumbnail_at:
            small = thumbnail(images, reference) if self.thumbnail_room > 0 else None
            self.thumbnail_at[reference.sha256] = -2 if small is None else len(self.thumbnails)
            if small is not None:
                self.thumbnail_room -= len(small)
                self.thumbnails.append(small)
        return self.thumbnail_at[reference.sha256]


def dialogue_data(runs: Sequence[ReportRun], *, redact: bool, text_limit: int = TEXT_LIMIT) -> DialogueData:
    """Collect the rows and texts of the runs. Label files and redacted pages have rows only.

    Raises:
        RunError: a store cannot be read.
    """
    texts = _Texts(room=text_limit)
    names = _Names()
    rows: list[list[Any]] = []
    answers: list[Any] = []
    for number, run in enumerate(runs):
        # In the order of the plan, like the scored samples, and from the same snapshot.
        stored = iter(() if redact else run.samples())
        judge = run.invocations[-1].judge if run.invocations else ""
        images = ImageFolder(run.images, boundary=Path(run.images.anchor))
        for sample in run.results.samples:
            found = next(stored, None)
            rows.append(
                [
                    number,
                    sample.query_id,
                    sample.turns,
                    names.at("scenarios", sample.scenario),
                    names.at("methods", sample.method),
                    names.at("labels", _label(sample)),
                    names.at("outcomes", sample.outcome.value if sample.outcome else None),
                    names.at("causes", sample.cause or None),
                    -1 if found is None else texts.add_dialogue(found),
                    -1 if found is None else texts.add_thumbnail(found.sample.image, images),
                ]
            )
            answers.append(None if found is None else texts.answer(found, judge))
    index = {"runs": [run.chart_name for run in runs], **names.lists, "piece": PIECE, "rows": rows}
    return DialogueData(
        index=script_json(index),
        dialogues=_pieces(texts.dialogues),
        answers=_pieces(answers) if texts.dialogues else (),
        thumbnails=script_json(texts.thumbnails),
        rows=len(rows),
        clipped=texts.clipped,
        left_out=texts.left_out,
    )


def script_json(content: Any) -> Markup:
    """JSON for a script element: nothing in it ends the element or opens a comment.

    Lone surrogates, which no encoding of the page could hold, become JSON escapes.
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
    return Markup(text.encode("utf-8", "backslashreplace").decode("utf-8"))  # noqa: S704, escaped above


def thumbnail(folder: ImageFolder, image: ImageRef) -> str | None:
    """A data URI of at most `SIDE` × `SIDE` pixels; None where there is no such file now."""
    try:
        content = base64.b64decode(folder.data_uri(image).partition(b",")[2])
    except BenchmarkError:
        return None
    try:
        with warnings.catch_warnings():
            # The check before the run held the file to our own limits, and by its hash it is still that file.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as picture:
                picture.draft("RGB", (SIDE, SIDE))
                small = ImageOps.exif_transpose(picture).convert("RGBA")
    except Exception:  # noqa: BLE001, Pillow raises nearly anything; the page says what is missing
        return None
    small.thumbnail((SIDE, SIDE))
    flat = Image.new("RGB", small.size, "white")
    flat.paste(small, mask=small.getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


class _Names:
    """Each name once; rows hold its number."""

    def __init__(self) -> None:
        self.lists: dict[str, list[str]] = {
            k: [] for k in ("scenarios", "methods", "labels", "outcomes", "causes")
        }

    def at(self, kind: str, name: str | None) -> int:
        """The number of `name`, -1 for none."""
        if name is None:
            return -1
        listed = self.lists[kind]
        if name not in listed:
            listed.append(name)
        return listed.index(name)


def _label(sample: ScoredSample) -> str:
    if sample.label is None:
        return "still to do"
    return sample.label.value if sample.twin_of is None else "benign twin"


def _pieces(texts: Sequence[Any]) -> tuple[Markup, ...]:
    return tuple(script_json(texts[start : start + PIECE]) for start in range(0, len(texts), PIECE))
