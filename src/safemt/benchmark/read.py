"""Reading a benchmark: records become samples, and every quirk becomes a finding or is deliberately kept.

Kept silently, as they stand: blanks at the ends of a turn, typographic escapes, two questions in one.
Kept and reported: empty turns, holes where a placeholder was stripped, `<image>` in a text, a question
that is itself a refusal, a wrong file extension, a question that had to be guessed.
Refused: everything that would change what is asked or how it is counted.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from safemt.benchmark.findings import MISSING_IMAGE, Finding, Level, errors_of
from safemt.benchmark.images import ImageProblem, has_wrong_extension, inspect_image, locate_image
from safemt.benchmark.layouts import (
    Layout,
    RawRecord,
    Source,
    find_source,
    parse_dialogue_text,
    read_about,
    read_records,
)
from safemt.core.errors import BenchmarkError
from safemt.core.identity import Json, content_key
from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Method, Scenario

_ID_FIELD: Final = {Layout.FOLDER: "id", Layout.HUB: "id", Layout.JSONL: "query_id"}
_IMAGE_FIELD: Final = {Layout.FOLDER: "image_path", Layout.HUB: "image_rel_path", Layout.JSONL: "image"}
_SAFEMT_ID = re.compile(r"^(?:mm|jbv|beaver|guard|mllm)_([a-z_]+?)_(\d+)$")
_HOLE = re.compile(r"\b(?:Given|In|From|Using|With|Based on|Considering) ,", re.IGNORECASE)
_REFUSAL = re.compile(
    r"^\W*(?:i['\u2019]m sorry|sorry|i can(?:no|['\u2019])t|i am unable|as an ai\b)", re.IGNORECASE
)
_MAX_ID = 200

_OLD_VERSION = (
    "ids and images belong to other records than scenario and dialogue in {bad:,} of {all:,} records "
    "(first: id {id!r} beside scenario {scenario!r}). This is how the older published version of SafeMT, "
    "whose records have no `question`, is misaligned in its 2- and 4-turn files: its figures by scenario "
    "and its images would be wrong. Use the newer version, whose records carry `question`."
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as read: its samples, and what the check found."""

    path: Path
    """The folder that image paths are relative to."""
    boundary: Path | None
    """The folder that images may lie in when it is wider than `path` (a hub cache)."""
    layout: Layout
    name: str
    samples: tuple[Sample, ...]
    """Records that could be read; one with an image error has no image."""
    findings: tuple[Finding, ...]
    imageless: frozenset[str] = field(default_factory=frozenset)
    """Ids of the samples whose image is missing."""

    @property
    def rounds(self) -> tuple[int, ...]:
        """The numbers of turns that occur, ascending."""
        return tuple(sorted({sample.turns for sample in self.samples}))

    @property
    def query_count(self) -> int:
        """How many queries there are, benign twins not counted."""
        return len({sample.query_id for sample in self.samples if sample.twin_of is None})

    @property
    def sha256(self) -> str:
        """Identifies the content: every sample with its image's hash, whatever the layout or file order."""
        return content_key(sorted(sample_key(sample) for sample in self.samples))


def sample_key(sample: Sample) -> str:
    """The content key of one sample: everything that is asked, shown, judged or counted."""
    content: dict[str, Json] = {
        "query_id": sample.query_id,
        "turns": sample.turns,
        "scenario": sample.scenario.value,
        "question": sample.question,
        "dialogue": [[message.role, message.content] for message in sample.dialogue],
        "image": sample.image.sha256 if sample.image else None,
        "method": sample.method,
        "twin_of": sample.twin_of,
    }
    return content_key(content)


def read_benchmark(path: Path, *, text_only: bool = False, boundary: Path | None = None) -> Benchmark:
    """Read and check the benchmark at `path` (a folder, or one file of it).

    `text_only` leaves all images aside: they are neither looked for nor checked.

    Raises:
        BenchmarkError: there is no benchmark, or a file as a whole cannot be read. What is wrong with
            single records is in the result's `findings` instead.
    """
    source = find_source(path)
    about = read_about(source.root) if source.layout is Layout.JSONL else {}
    reader = _Reader(source, text_only=text_only, boundary=boundary)
    samples = tuple(reader.read())
    return Benchmark(
        path=source.root,
        boundary=boundary,
        layout=source.layout,
        name=str(about.get("name") or path.resolve().name),
        samples=samples,
        findings=(*reader.findings, *_twins_without_original(samples, source)),
        imageless=frozenset(reader.imageless),
    )


def require_usable(benchmark: Benchmark, *, skip_missing_images: bool = False) -> Benchmark:
    """The benchmark as a run may use it; with `skip_missing_images`, less the samples without an image.

    Raises:
        BenchmarkError: the check found errors, or images are missing and nothing was said about that.
    """
    missing = [f for f in benchmark.findings if f.code == MISSING_IMAGE]
    other = [f for f in errors_of(benchmark.findings) if f.code != MISSING_IMAGE]
    if other:
        more = f" (and {len(other) - 1:,} more)" if len(other) > 1 else ""
        raise BenchmarkError(
            f"The benchmark has errors. {other[0]}{more}\nList them all with: safemt check {benchmark.path}"
        )
    if missing and not skip_missing_images:
        names = ", ".join(sorted({f.id or f.place for f in missing})[:5])
        raise BenchmarkError(
            f"{len(missing):,} of {len(benchmark.samples):,} samples have no image ({names}, …). Put the "
            "images in place, or choose: --text-only asks every sample without its image, "
            "--skip-missing-images leaves these samples out."
        )
    kept = tuple(sample for sample in benchmark.samples if sample.id not in benchmark.imageless)
    if not kept:
        raise BenchmarkError(
            f"Nothing is left to ask: every sample of {benchmark.path} lacks its image. "
            "Put the images in place, or use --text-only."
        )
    return replace(benchmark, samples=kept)


def _twins_without_original(samples: Sequence[Sample], source: Source) -> Iterator[Finding]:
    queries = {sample.query_id for sample in samples if sample.twin_of is None}
    orphans = {s.query_id: s.twin_of for s in samples if s.twin_of is not None and s.twin_of not in queries}
    for query_id, original in orphans.items():
        yield Finding(
            level=Level.ERROR,
            code="orphan_twin",
            message=f"is a benign twin of {original!r}, which is not in the benchmark",
            file=source.files[0].name,
            id=query_id,
        )


class _BadRecord(Exception):
    """One record cannot be used."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Reader:
    """Turns raw records into samples and keeps what only the whole can tell."""

    def __init__(self, source: Source, *, text_only: bool, boundary: Path | None) -> None:
        self.findings: list[Finding] = []
        self.imageless: list[str] = []
        self._source = source
        self._text_only = text_only
        self._boundary = boundary
        self._seen: dict[str, str] = {}
        self._first_turns: dict[str, str] = {}
        self._images: dict[str, ImageRef | ImageProblem] = {}
        self._aligned = 0
        self._misaligned: list[tuple[RawRecord, str, str]] = []

    def read(self) -> list[Sample]:
        samples: list[Sample] = []
        places: list[RawRecord] = []
        for raw in read_records(self._source):
            query_id = _readable_id(raw, self._source.layout)
            try:
                sample = self._sample(raw)
            except _BadRecord as error:
                self._report(Level.ERROR, error.code, str(error), raw, query_id)
                continue
            if sample.id in self._seen:
                message = (
                    f"the id occurs twice at {sample.turns} turns (first in {self._seen[sample.id]}); "
                    "remove or rename one"
                )
                self._report(Level.ERROR, "duplicate_id", message, raw, query_id)
                continue
            self._seen[sample.id] = f"{raw.file}, record {raw.index}"
            samples.append(sample)
            places.append(raw)
        self._report_misaligned()
        return [
            sample if sample.question else self._with_question(sample, raw)
            for sample, raw in zip(samples, places, strict=True)
        ]

    def _sample(self, raw: RawRecord) -> Sample:
        fields = raw.fields
        if fields is None:
            raise _BadRecord("broken_record", raw.problem)
        layout = self._source.layout
        query_id = _text(fields, _ID_FIELD[layout])
        if not query_id.strip() or len(query_id) > _MAX_ID or not query_id.isprintable():
            raise _BadRecord("bad_id", f"the id must be 1 to {_MAX_ID} printable characters")
        scenario = _scenario(fields)
        dialogue = _dialogue(fields, layout)
        turns = _turns(fields, dialogue, raw.file_turns)
        twin_of = _optional_text(fields, "twin_of")
        self._check_alignment(raw, query_id, scenario)
        question = _optional_text(fields, "question") or ""
        if turns == 1:
            self._first_turns[query_id] = dialogue[0].content
        self._report_quirks(raw, query_id, question, dialogue)
        image = None if self._text_only else self._image(fields, f"{query_id}@{turns}", query_id, raw)
        return Sample(
            query_id=query_id,
            turns=turns,
            scenario=scenario,
            question=question,
            dialogue=dialogue,
            image=image,
            method=_method(fields),
            twin_of=twin_of,
            language=_optional_text(fields, "language") or "en",
            meta={k: v for k in ("source", "licence") if (v := _optional_text(fields, k))},
        )

    def _with_question(self, sample: Sample, raw: RawRecord) -> Sample:
        """The sample with the question of its 1-turn record, as the hub's rows need it."""
        question = self._first_turns.get(sample.query_id)
        if question is None:
            self._report(
                Level.WARNING,
                "no_question",
                "the record has no `question` and there is no 1-turn record of the same id to take it from; "
                "the judge will be given the last user turn instead",
                raw,
                sample.query_id,
            )
        return replace(sample, question=question or sample.dialogue[-1].content)

    def _image(
        self, fields: dict[str, Any], sample_id: str, query_id: str, raw: RawRecord
    ) -> ImageRef | None:
        name = _optional_text(fields, _IMAGE_FIELD[self._source.layout])
        if not name:
            self.imageless.append(sample_id)
            self._report(Level.ERROR, MISSING_IMAGE, "the record names no image", raw, query_id)
            return None
        if name not in self._images:
            self._images[name] = self._inspect(name)
        image = self._images[name]
        if isinstance(image, ImageProblem):
            if image.code == MISSING_IMAGE:
                self.imageless.append(sample_id)
            self._report(Level.ERROR, image.code, str(image), raw, query_id)
            return None
        expected = _optional_text(fields, "image_sha256")
        if expected is not None and expected != image.sha256:
            message = f"the image {name} is not the one recorded (its SHA-256 differs); fetch it again"
            self._report(Level.ERROR, "image_changed", message, raw, query_id)
            return None
        if has_wrong_extension(image):
            message = f"the image {name} is really {image.media_type}; it is sent as what it is"
            self._report(Level.WARNING, "wrong_extension", message, raw, query_id)
        return image

    def _inspect(self, name: str) -> ImageRef | ImageProblem:
        try:
            path = locate_image(self._source.root, name, boundary=self._boundary)
            if path is None:
                return ImageProblem(MISSING_IMAGE, f"the image {name} is missing")
            return inspect_image(path, name)
        except ImageProblem as problem:
            return problem

    def _check_alignment(self, raw: RawRecord, query_id: str, scenario: Scenario) -> None:
        """In SafeMT the id `<prefix>_<slug>_<n>` names the scenario, and the image's stem is `<slug>_<n>`."""
        match = _SAFEMT_ID.match(query_id)
        if match is None or match.group(1) not in SCENARIO_BY_SLUG:
            return
        slug, number = match.groups()
        image = raw.fields and raw.fields.get(_IMAGE_FIELD[self._source.layout])
        stem = (
            Path(image).stem if isinstance(image, str) and self._source.layout is not Layout.JSONL else None
        )
        if slug != scenario.slug or (stem is not None and stem != f"{slug}_{number}"):
            self._misaligned.append((raw, query_id, scenario.value))
        else:
            self._aligned += 1

    def _report_misaligned(self) -> None:
        bad = len(self._misaligned)
        if bad >= 2 and bad >= 0.02 * (bad + self._aligned):
            raw, query_id, scenario = self._misaligned[0]
            message = _OLD_VERSION.format(bad=bad, all=bad + self._aligned, id=query_id, scenario=scenario)
            files = Counter(record.file for record, _, _ in self._misaligned)
            self.findings.append(
                Finding(level=Level.ERROR, code="misaligned_version", message=message, file=", ".join(files))
            )
            return
        for raw, query_id, scenario in self._misaligned:
            message = (
                f"id, image and scenario ({scenario}) do not belong together: "
                "`<prefix>_<scenario>_<n>` should name the scenario and the image"
            )
            self._report(Level.ERROR, "misaligned", message, raw, query_id)

    def _report_quirks(
        self, raw: RawRecord, query_id: str, question: str, dialogue: tuple[Message, ...]
    ) -> None:
        for position, message in enumerate(dialogue):
            turn = f"{message.role} message {position + 1}"
            if not message.content.strip():
                self._report(
                    Level.WARNING, "empty_turn", f"{turn} is empty; kept as it stands", raw, query_id
                )
            if "<image>" in message.content:
                text = f"{turn} holds the text <image>; kept as it stands, the image is sent apart"
                self._report(Level.WARNING, "image_placeholder", text, raw, query_id)
            if _HOLE.search(message.content):
                text = f"{turn} has a hole where a placeholder was stripped; kept as it stands"
                self._report(Level.WARNING, "stripped_placeholder", text, raw, query_id)
        if _REFUSAL.match(question):
            text = "the question is itself a refusal; kept as it stands"
            self._report(Level.WARNING, "question_is_refusal", text, raw, query_id)

    def _report(self, level: Level, code: str, message: str, raw: RawRecord, query_id: str | None) -> None:
        self.findings.append(
            Finding(level=level, code=code, message=message, file=raw.file, index=raw.index, id=query_id)
        )


def _readable_id(raw: RawRecord, layout: Layout) -> str | None:
    value = (raw.fields or {}).get(_ID_FIELD[layout])
    return value[:_MAX_ID] if isinstance(value, str) else None


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        what = "is missing" if value is None else f"must be a text, not {type(value).__name__}"
        raise _BadRecord("bad_field", f"`{name}` {what}")
    return value


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _scenario(fields: dict[str, Any]) -> Scenario:
    text = _text(fields, "scenario")
    scenario = SCENARIO_BY_SLUG.get("_".join(re.split(r"[\s_-]+", text.strip().lower())))
    if scenario is None:
        known = ", ".join(Scenario)
        raise _BadRecord("unknown_scenario", f"the scenario {text[:60]!r} is not one of the 17: {known}")
    return scenario


def _method(fields: dict[str, Any]) -> Method | None:
    text = _optional_text(fields, "method")
    if text is None:
        return None
    try:
        return Method(text)
    except ValueError:
        known = ", ".join(Method)
        raise _BadRecord("unknown_method", f"the method {text[:60]!r} is not one of: {known}") from None


def _dialogue(fields: dict[str, Any], layout: Layout) -> tuple[Message, ...]:
    value: object = fields.get("dialogue")
    if isinstance(value, str) and layout is Layout.HUB:
        try:
            value = parse_dialogue_text(value)
        except ValueError as error:
            raise _BadRecord("bad_dialogue", str(error)) from error
    if not isinstance(value, list) or not value:
        raise _BadRecord("bad_dialogue", "`dialogue` must be a list of messages with at least one")
    messages = tuple(_message(item, position) for position, item in enumerate(value))
    for position, message in enumerate(messages):
        expected = "user" if position % 2 == 0 else "assistant"
        if message.role != expected:
            raise _BadRecord(
                "wrong_order",
                f"message {position + 1} has role {message.role!r} where {expected!r} belongs "
                "(a dialogue goes user, assistant, …, user, with no system message)",
            )
    if messages[-1].role != "user":
        raise _BadRecord("wrong_order", "the dialogue must end on a user turn")
    return messages


def _message(item: object, position: int) -> Message:
    role = item.get("role") if isinstance(item, dict) else None
    content = item.get("content") if isinstance(item, dict) else None
    if role not in ("user", "assistant", "system"):
        raise _BadRecord("wrong_role", f"message {position + 1} has no role `user` or `assistant`")
    if not isinstance(content, str):
        raise _BadRecord("bad_dialogue", f"message {position + 1} has no text `content`")
    return Message(role=role, content=content)


def _turns(fields: dict[str, Any], dialogue: tuple[Message, ...], file_turns: int | None) -> int:
    turns = (len(dialogue) + 1) // 2
    stated = fields.get("turns", file_turns)
    if stated is not None and stated != turns:
        raise _BadRecord(
            "wrong_length",
            f"the dialogue has {turns} user turns where {stated} are stated; mend one of the two",
        )
    return turns
