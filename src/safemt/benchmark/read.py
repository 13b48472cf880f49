"""Reading a benchmark: records become samples, and every quirk becomes a finding or is deliberately kept.

Kept silently, as they stand: blanks at the ends of a turn, typographic escapes, two questions in one.
Kept and reported: empty turns, holes where a placeholder was stripped, `<image>` or a NUL in a text, a
question that is itself a refusal, a wrong file extension, a question that had to be guessed.
Refused: everything that would change what is asked or how it is counted.
"""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from safemt.benchmark.findings import MISSING_IMAGE, Finding, Level, errors_of
from safemt.benchmark.layouts import (
    ABOUT_FILE,
    Layout,
    RawRecord,
    Source,
    find_source,
    parse_dialogue_text,
    printable,
    read_about,
    read_records,
)
from safemt.core.errors import BenchmarkError
from safemt.core.identity import Json, content_key
from safemt.core.schema import ImageRef, Message, Role, Sample
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Method, Scenario
from safemt.io.images import ImageProblem, has_wrong_extension, inspect_image, locate_image, shown

_ID_FIELD: Final = {Layout.FOLDER: "id", Layout.HUB: "id", Layout.JSONL: "query_id"}
_IMAGE_FIELDS: Final = {
    Layout.FOLDER: ("image_path", "image_rel_path"),
    Layout.HUB: ("image_rel_path", "image_path"),
    Layout.JSONL: ("image",),
}
_ROLES: Final[dict[object, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_KINDS: Final = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
_SAFEMT_ID: Final = re.compile(r"^(?:mm|jbv|beaver|guard|mllm)_([a-z_]+?)_(\d+)$")
_HOLE: Final = re.compile(r"\b(?:Given|In|From|Using|With|Based on|Considering) ,", re.IGNORECASE)
_REFUSAL: Final = re.compile(
    r"^\W*(?:i['\u2019]m sorry|sorry|i can(?:no|['\u2019])t|i am unable|as an ai\b)", re.IGNORECASE
)
_MAX_ID: Final = 200
META: Final = ("source", "licence", "generator", "act_class", "image_role", "image_words")
"""What a record may say about a sample's making. It is carried along and never sent to a model."""

_OLD_VERSION: Final = (
    "{bad:,} of {all:,} records carry the id and image of another record (in {files}; first: the id {id!r} "
    "stands beside the scenario {scenario!r}). The older published version of SafeMT, whose records have "
    "no `question`, is misaligned like this in its 2- and 4-turn files, so that its figures by scenario "
    "and its images are wrong. Use the newer version, whose records carry `question`, or mend the ids."
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


def read_benchmark(
    path: Path, *, text_only: bool = False, boundary: Path | None = None, name: str = ""
) -> Benchmark:
    """Read and check the benchmark at `path` (a folder, or one file of it).

    `text_only` leaves all images aside: they are neither looked for nor checked. `boundary` is the folder
    that the links in a hub cache lead into, `name` what to call a benchmark that does not name itself (by
    default its folder or file).

    Raises:
        BenchmarkError: there is no benchmark, or a file as a whole cannot be read or is a link out of it.
            What is wrong with single records is in the result's `findings` instead.
    """
    source = find_source(path)
    _require_inside(source, boundary, named=path)
    about = read_about(source.root) if source.layout is Layout.JSONL else {}
    reader = _Reader(source, text_only=text_only, boundary=boundary)
    samples = tuple(reader.read())
    return Benchmark(
        path=source.root,
        boundary=boundary,
        layout=source.layout,
        name=printable(about.get("name") or name or path.resolve().name),
        samples=samples,
        findings=reader.ordered_findings(),
        imageless=frozenset(reader.imageless),
    )


def _require_inside(source: Source, boundary: Path | None, *, named: Path) -> None:
    """Whoever packed a benchmark must not have it read other files; the one `named` may be anywhere."""
    limit = (boundary or source.root).resolve()
    for file in (*source.files, source.root / ABOUT_FILE):
        if file != named and file.is_file() and not file.resolve().is_relative_to(limit):
            raise BenchmarkError(
                f"{file} is a link out of the benchmark; put the file itself there, or give its own path."
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
        ids = sorted({f.id or f.place for f in missing})
        names = ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
        raise BenchmarkError(
            f"{len(missing):,} of {len(benchmark.samples):,} samples have no image ({names}). Put the "
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


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a record is, as findings say it."""

    file: str
    index: int
    id: str | None


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
        self._seen: dict[str, _Place] = {}
        self._queries: dict[str, tuple[Scenario, str | None, _Place]] = {}
        self._questions: dict[str, str] = {}
        self._images: dict[str, ImageRef | ImageProblem] = {}
        self._aligned = 0
        self._misaligned: list[tuple[_Place, str]] = []

    def read(self) -> list[Sample]:
        samples: list[Sample] = []
        for raw in read_records(self._source):
            place = _Place(raw.file, raw.index, _readable_id(raw, self._source.layout))
            try:
                sample = self._sample(raw, place)
            except _BadRecord as error:
                self._report(Level.ERROR, error.code, str(error), place)
                continue
            self._seen[sample.id] = place
            if sample.turns == 1:
                self._questions[sample.query_id] = sample.question or sample.dialogue[0].content
            samples.append(sample)
        self._report_misaligned()
        samples = [self._with_question(sample) for sample in samples]
        self._report_orphans(samples)
        return samples

    def ordered_findings(self) -> tuple[Finding, ...]:
        """The findings in the order of the records."""
        order = {self._source.name_of(path): n for n, path in enumerate(self._source.files)}
        return tuple(sorted(self.findings, key=lambda f: (order[f.file], -1 if f.index is None else f.index)))

    def _sample(self, raw: RawRecord, place: _Place) -> Sample:
        fields = raw.fields
        if fields is None:
            raise _BadRecord("broken_record", raw.problem)
        layout = self._source.layout
        query_id = _text(fields, _ID_FIELD[layout])
        if not query_id.strip() or len(query_id) > _MAX_ID or not query_id.isprintable():
            raise _BadRecord("bad_id", f"the id must be 1 to {_MAX_ID} printable characters; rename it")
        scenario = _scenario(fields)
        dialogue = _dialogue(fields)
        turns = _turns(fields, dialogue, raw.file_turns)
        sample = Sample(
            query_id=query_id,
            turns=turns,
            scenario=scenario,
            question=_question(fields),
            dialogue=dialogue,
            method=_method(fields),
            twin_of=_optional_text(fields, "twin_of"),
            language=_optional_text(fields, "language") or "en",
            meta={k: v for k in META if (v := _optional_text(fields, k))},
        )
        if sample.id in self._seen:
            first = self._seen[sample.id]
            raise _BadRecord(
                "duplicate_id",
                f"the id occurs twice at {turns} turns (first in {first.file}, record {first.index}); "
                "remove or rename one",
            )
        self._check_query(sample, fields, place)
        self._report_quirks(dialogue, place)
        return sample if self._text_only else replace(sample, image=self._image(sample, fields, place))

    def _check_query(self, sample: Sample, fields: dict[str, Any], place: _Place) -> None:
        """Hold the record to its id: what the id says in SafeMT, and what its other rounds said."""
        if self._is_misaligned(sample, fields):
            self._misaligned.append((place, sample.scenario.value))
            return
        scenario, twin_of, first = self._queries.setdefault(
            sample.query_id, (sample.scenario, sample.twin_of, place)
        )
        if (scenario, twin_of) != (sample.scenario, sample.twin_of):
            what = "scenario" if scenario != sample.scenario else "`twin_of`"
            raise _BadRecord(
                "mixed_query",
                f"the {what} is another than in {first.file}, record {first.index}, of the same id; "
                "mend one, or rename this query",
            )

    def _is_misaligned(self, sample: Sample, fields: dict[str, Any]) -> bool:
        """In SafeMT the id `<prefix>_<slug>_<n>` names the scenario, and the image's stem is `<slug>_<n>`."""
        match = _SAFEMT_ID.match(sample.query_id)
        if match is None or match.group(1) not in SCENARIO_BY_SLUG:
            return False
        slug, number = match.groups()
        image = None if self._source.layout is Layout.JSONL else self._image_name(fields)
        stem = PurePosixPath(image).stem if image else f"{slug}_{number}"
        if slug == sample.scenario.slug and stem == f"{slug}_{number}":
            self._aligned += 1
            return False
        return True

    def _with_question(self, sample: Sample) -> Sample:
        """The sample with the question of its 1-turn record, as the hub's rows need it."""
        place = self._seen[sample.id]
        question = sample.question or self._questions.get(sample.query_id)
        if question is None:
            message = (
                "the record has no `question` and there is no 1-turn record of the same id to take it from; "
                "the judge will be given the last user turn instead, so add the question or the 1-turn file"
            )
            self._report(Level.WARNING, "no_question", message, place)
            question = sample.dialogue[-1].content
        if not question.strip():
            message = "there is no question to judge the response by; add `question` to the record"
            self._report(Level.ERROR, "empty_question", message, place)
        if _REFUSAL.match(question):
            message = "the question is itself a refusal; kept as it stands"
            self._report(Level.WARNING, "question_is_refusal", message, place)
        return sample if question is sample.question else replace(sample, question=question)

    def _image(self, sample: Sample, fields: dict[str, Any], place: _Place) -> ImageRef | None:
        name = self._image_name(fields)
        if not name:
            self.imageless.append(sample.id)
            field_name = _IMAGE_FIELDS[self._source.layout][0]
            self._report(Level.ERROR, MISSING_IMAGE, f"the record names no image; add `{field_name}`", place)
            return None
        if name not in self._images:
            self._images[name] = self._inspect(name)
        image = self._images[name]
        if isinstance(image, ImageProblem):
            if image.code == MISSING_IMAGE:
                self.imageless.append(sample.id)
            self._report(Level.ERROR, image.code, str(image), place)
            return None
        expected = _optional_text(fields, "image_sha256")
        if expected is not None and expected.lower() != image.sha256:
            message = f"the image {shown(name)} is not the one recorded (its SHA-256 differs); fetch it again"
            self._report(Level.ERROR, "image_changed", message, place)
            return None
        if has_wrong_extension(image):
            message = f"the image {shown(name)} is really {image.media_type}; it is sent as what it is"
            self._report(Level.WARNING, "wrong_extension", message, place)
        return image

    def _image_name(self, fields: dict[str, Any]) -> str | None:
        """The image's path as the record has it, with forward slashes."""
        for name in _IMAGE_FIELDS[self._source.layout]:
            if path := _optional_text(fields, name):
                return path.replace("\\", "/")
        return None

    def _inspect(self, name: str) -> ImageRef | ImageProblem:
        try:
            path = locate_image(self._source.root, name, boundary=self._boundary)
            if path is None:
                return ImageProblem(MISSING_IMAGE, f"the image {shown(name)} is missing; put it in place")
            return inspect_image(path, name)
        except ImageProblem as problem:
            return problem

    def _report_misaligned(self) -> None:
        """One finding where a whole version is shifted, one for each record where a few are wrong."""
        bad = len(self._misaligned)
        if bad >= 5 and bad >= 0.1 * (bad + self._aligned):
            place, scenario = self._misaligned[0]
            message = _OLD_VERSION.format(
                bad=bad,
                all=bad + self._aligned,
                files=", ".join(Counter(place.file for place, _ in self._misaligned)),
                id=place.id,
                scenario=scenario,
            )
            self._report(Level.ERROR, "misaligned_version", message, place)
            return
        for place, scenario in self._misaligned:
            message = (
                f"id, image and scenario ({scenario}) do not belong together: in SafeMT the id "
                "`<prefix>_<scenario>_<n>` names the scenario and the image; mend the wrong one"
            )
            self._report(Level.ERROR, "misaligned", message, place)

    def _report_orphans(self, samples: list[Sample]) -> None:
        harmful = {sample.query_id for sample in samples if sample.twin_of is None}
        for sample in samples:
            if sample.twin_of is not None and sample.twin_of not in harmful:
                message = (
                    f"is the benign twin of {sample.twin_of[:_MAX_ID]!r}, and there is no harmful query "
                    "of that id; add it, or remove the twin"
                )
                self._report(Level.ERROR, "orphan_twin", message, self._seen[sample.id])

    def _report_quirks(self, dialogue: tuple[Message, ...], place: _Place) -> None:
        for position, message in enumerate(dialogue):
            content = message.content
            quirks = []
            if not content.strip():
                quirks.append(("empty_turn", "is empty; kept as it stands"))
            if "<image>" in content:
                what = "holds the text <image>; kept as it stands, the image is sent apart"
                quirks.append(("image_placeholder", what))
            if " ," in content and _HOLE.search(content):
                what = "has a hole where a placeholder was stripped; kept as it stands"
                quirks.append(("stripped_placeholder", what))
            if "\0" in content:
                what = "holds a NUL character, which some endpoints refuse; kept as it stands"
                quirks.append(("nul", what))
            for code, what in quirks:
                text = f"{message.role} message {position + 1} {what}"
                self._report(Level.WARNING, code, text, place)

    def _report(self, level: Level, code: str, message: str, place: _Place) -> None:
        self.findings.append(Finding(level, code, message, place.file, place.index, place.id))


def _readable_id(raw: RawRecord, layout: Layout) -> str | None:
    value = (raw.fields or {}).get(_ID_FIELD[layout])
    return value[:_MAX_ID] if isinstance(value, str) and value.isprintable() else None


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise _BadRecord("bad_field", f"`{name}` is missing; add it")
    if not isinstance(value, str):
        kind = _KINDS.get(type(value), "an object")
        raise _BadRecord("bad_field", f"`{name}` must be a text, not {kind}; mend it")
    return value


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _question(fields: dict[str, Any]) -> str:
    question = _optional_text(fields, "question") or ""
    return question if question.strip() else ""


def _scenario(fields: dict[str, Any]) -> Scenario:
    text = _text(fields, "scenario")
    scenario = SCENARIO_BY_SLUG.get("_".join(re.split(r"[\s_-]+", text.strip().lower())))
    if scenario is None:
        known = ", ".join(Scenario)
        raise _BadRecord(
            "unknown_scenario", f"the scenario {text[:60]!r} is not one of the 17; use one of: {known}"
        )
    return scenario


def _method(fields: dict[str, Any]) -> Method | None:
    text = _optional_text(fields, "method")
    if text is None:
        return None
    try:
        return Method(text)
    except ValueError:
        known = ", ".join(Method)
        raise _BadRecord(
            "unknown_method", f"the method {text[:60]!r} is not known; use none, or one of: {known}"
        ) from None


def _dialogue(fields: dict[str, Any]) -> tuple[Message, ...]:
    value: object = fields.get("dialogue")
    if isinstance(value, str):
        try:
            value = parse_dialogue_text(value)
        except ValueError as error:
            raise _BadRecord("bad_dialogue", str(error)) from error
    if not isinstance(value, list) or not value:
        raise _BadRecord("bad_dialogue", "`dialogue` must be a list of messages; give it at least one")
    messages = tuple(_message(item, position) for position, item in enumerate(value))
    for position, message in enumerate(messages):
        expected = "user" if position % 2 == 0 else "assistant"
        if message.role != expected:
            raise _BadRecord(
                "wrong_order",
                f"message {position + 1} has role {message.role!r} where {expected!r} belongs; a dialogue "
                "goes user, assistant, …, user, with no system message",
            )
    if messages[-1].role != "user":
        raise _BadRecord("wrong_order", "the dialogue ends on the assistant; it must end on a user turn")
    return messages


def _message(item: object, position: int) -> Message:
    fields = item if isinstance(item, dict) else {}
    role, content = fields.get("role"), fields.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise _BadRecord("wrong_role", f"message {position + 1} needs a `role`: user or assistant")
    if not isinstance(content, str):
        raise _BadRecord("bad_dialogue", f"message {position + 1} needs a text `content`")
    if not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError as error:
            # Only a Python literal can hold one; no request and no file of ours can.
            raise _BadRecord(
                "bad_dialogue",
                f"message {position + 1} holds half a character (a lone surrogate); fetch the record again",
            ) from error
    # Our own text for the role, so that the file's is not kept once for every message.
    return Message(role=_ROLES[role], content=content)


def _turns(fields: dict[str, Any], dialogue: tuple[Message, ...], file_turns: int | None) -> int:
    turns = (len(dialogue) + 1) // 2
    stated = fields.get("turns")
    if stated is not None and (not isinstance(stated, int) or isinstance(stated, bool)):
        raise _BadRecord("bad_field", "`turns` must be a whole number; mend or remove it")
    for number, where in ((stated, "`turns` states"), (file_turns, "the file's name states")):
        if number is not None and number != turns:
            raise _BadRecord(
                "wrong_length",
                f"the dialogue has {turns} user turns where {where} {number}; mend one of the two",
            )
    return turns
