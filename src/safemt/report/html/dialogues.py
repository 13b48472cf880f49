"""The dialogues of runs as data for the page's script: an index of rows, texts in pieces, and thumbnails.

Nothing here is markup: the script shows every text as text. A redacted index holds no text and no image.
"""

import base64
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from PIL import Image, ImageOps

from safemt.core.errors import BenchmarkError
from safemt.core.schema import ImageRef
from safemt.io.images import ImageFolder
from safemt.report.runs import ReportRun
from safemt.report.text import count
from safemt.run.rows import StoredSample
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


@dataclass(slots=True)
class DialogueData:
    """Collects what the page carries of all dialogues, up to its limits."""

    room: int
    """Characters of texts that may still come."""
    thumbnail_room: int = THUMBNAIL_LIMIT
    clipped: int = 0
    """Texts cut to their limit."""
    left_out: int = 0
    """Texts not carried because the page would be too large."""
    rows: list[list[Any]] = field(default_factory=list)
    dialogues: list[Any] = field(default_factory=list)
    """Questions and messages, shared by runs on the same sample."""
    answers: list[Any] = field(default_factory=list)
    """Responses and the judge's words, one for each row."""
    thumbnails: list[str] = field(default_factory=list)
    _dialogue_at: dict[str, int] = field(default_factory=dict)
    _thumbnail_at: dict[str, int] = field(default_factory=dict)

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

    def add(
        self, run: int, scored: ScoredSample, found: StoredSample | None, judge: str, images: ImageFolder
    ) -> None:
        """Add a sample: `[run, id, turns, scenario, method, label, outcome, cause, dialogue, thumbnail]`.

        The last two are places; −1 is none.
        """
        label = "benign twin" if scored.twin_of else scored.label
        self.rows.append(
            [
                run, scored.query_id, scored.turns, scored.scenario, scored.method,
                "still to do" if scored.label is None else label, scored.outcome, scored.cause or None,
                -1 if found is None else self._add_dialogue(found),
                -1 if found is None else self._add_thumbnail(found.sample.image, images),
            ]
        )  # fmt: skip
        self.answers.append(None if found is None else self._answer(found, judge))

    def documents(self, names: Sequence[str]) -> Iterator[tuple[str, Markup]]:
        """The data by id, in pieces that the script reads as it needs them; `names` are those of the runs."""
        index = {"runs": names, "piece": PIECE, "texts": bool(self.dialogues), "rows": self.rows}
        yield "index", script_json(index)
        yield "thumbnails", script_json(self.thumbnails)
        for kind, texts in (("dialogues", self.dialogues), ("answers", self.answers)):
            for at, start in enumerate(range(0, len(texts) if self.dialogues else 0, PIECE)):
                yield f"{kind}-{at}", script_json(texts[start : start + PIECE])

    @property
    def limits(self) -> Iterator[str]:
        """What the page does not show whole, in sentences."""
        if self.dialogues:
            cut = f" ({count(self.clipped, 'text')})" if self.clipped else ""
            yield (
                f"Pictures are at most {SIDE} pixels wide and high. Messages longer than {MESSAGE_LIMIT:,} "
                f"characters and responses longer than {ANSWER_LIMIT:,} are cut and say so{cut}. The run’s "
                "`run.sqlite` has the whole text."
            )
        if self.left_out:
            are, most = "is" if self.left_out == 1 else "are", TEXT_LIMIT // 1_000_000
            left = f"{count(self.left_out, 'text')} {are} left out"
            yield f"{left}, because a page holds at most {most} million characters."

    def _add_dialogue(self, found: StoredSample) -> int:
        """The place of a sample's dialogue: `[question, [message, …]]`."""
        if found.key not in self._dialogue_at:
            self._dialogue_at[found.key] = len(self.dialogues)
            messages = [self.take(message.content, MESSAGE_LIMIT) for message in found.sample.dialogue]
            self.dialogues.append([self.take(found.sample.question, MESSAGE_LIMIT), messages])
        return self._dialogue_at[found.key]

    def _answer(self, found: StoredSample, judge: str) -> list[Any]:
        """`[[response], the judge's words]`; `[null, …]` where there is no response."""
        response = None if found.reply is None else [self.take(found.reply.text, ANSWER_LIMIT)]
        judgement = found.labels.get(judge)
        return [response, self.take(judgement.reasoning if judgement else "", ANSWER_LIMIT)]

    def _add_thumbnail(self, reference: ImageRef | None, images: ImageFolder) -> int:
        """The place of the thumbnail; −1 where there is no image, −2 where it cannot be shown."""
        if reference is None:
            return -1
        if reference.sha256 not in self._thumbnail_at:
            small = thumbnail(images, reference) if self.thumbnail_room > 0 else None
            self._thumbnail_at[reference.sha256] = -2 if small is None else len(self.thumbnails)
            if small is not None:
                self.thumbnail_room -= len(small)
                self.thumbnails.append(small)
        return self._thumbnail_at[reference.sha256]


def dialogue_data(runs: Sequence[ReportRun], *, redact: bool, text_limit: int = TEXT_LIMIT) -> DialogueData:
    """Collect the samples and texts of the runs. Label files and redacted pages have rows only.

    Raises:
        RunError: a store cannot be read.
    """
    data = DialogueData(room=text_limit)
    for number, run in enumerate(runs):
        # In the order of the plan, like the scored samples, and from the same snapshot.
        stored = iter(() if redact else run.samples())
        judge = run.invocations[-1].judge if run.invocations else ""
        images = ImageFolder(run.images, boundary=Path(run.images.anchor))
        for scored in run.results.samples:
            data.add(number, scored, next(stored, None), judge, images)
    return data


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
