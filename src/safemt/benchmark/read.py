"""Reading a benchmark: records become samples, and what is wrong or odd about them becomes findings."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from safemt.benchmark.findings import MISSING_IMAGE, MOST_LISTED, Finding, Level, errors_of
from safemt.benchmark.layouts import (
    ABOUT_FILE,
    About,
    Layout,
    RawRecord,
    Source,
    find_source,
    printable,
    read_about,
    read_records,
)
from safemt.benchmark.records import (
    MAX_ID,
    BadRecord,
    image_field,
    image_name,
    optional_text,
    quirks_of,
    readable_id,
    sample_of,
)
from safemt.core.errors import BenchmarkError
from safemt.core.identity import Json, content_key
from safemt.core.schema import ImageRef, Sample
from safemt.core.taxonomy import SCENARIO_BY_SLUG, Scenario
from safemt.io.images import ImageProblem, has_wrong_extension, inspect_image, locate_image, shown

_SAFEMT_ID: Final = re.compile(r"^(?:mm|jbv|beaver|guard|mllm)_([a-z_]+?)_(\d+)$")
_REFUSAL: Final = re.compile(
    r"^\W*(?:i['\u2019]m sorry|sorry|i can(?:no|['\u2019])t|i am unable|as an ai\b)", re.IGNORECASE
)
_OLD_VERSION: Final = (
    "{bad:,} of {all:,} records carry the id and image of another record (in {files}; the first is {id!r} "
    "with the scenario {scenario!r}). The older published version of SafeMT is misaligned in this way in its "
    "2- and 4-turn files: its records have no `question`, and its images and figures by scenario are wrong. "
    "Use the newer version, whose records have a `question`, or fix the ids."
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as read: its samples, and what the check found."""

    path: Path
    """The folder that image paths are relative to."""
    boundary: Path | None
    """The folder that images may lie in, where it is wider than `path` (a hub cache)."""
    layout: Layout
    name: str
    samples: tuple[Sample, ...]
    """The records that could be read; one whose image has an error has no image."""
    findings: tuple[Finding, ...]
    """In the order of the records; of each code no more than `MOST_LISTED`."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many findings of each code there are, most frequent first."""
    imageless: frozenset[str] = field(default_factory=frozenset)
    """Ids of the samples whose image is missing."""

    @property
    def rounds(self) -> tuple[int, ...]:
        """The numbers of turns that occur, ascending."""
        return tuple(sorted({sample.turns for sample in self.samples}))

    @property
    def query_count(self) -> int:
        """How many queries there are, without benign twins."""
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
    """Read and check the benchmark at `path`, a folder or one file.

    `text_only` neither looks for images nor checks them. `boundary` is the folder that the links in a hub
    cache lead into. `name` is for a benchmark that does not name itself; by default it is that of the folder
    or file.

    Raises:
        BenchmarkError: `link_outside`, or as for `find_source`, `read_records` and `read_about`: there is no
            benchmark, or a file as a whole cannot be read. What is wrong with single records is in the
            result's `findings`.
    """
    source = find_source(path)
    _require_inside(source, boundary, named=path)
    about = read_about(source.root) if source.layout is Layout.JSONL else About()
    reader = _Reader(source, text_only=text_only, boundary=boundary)
    samples = tuple(reader.read())
    findings = reader.ordered_findings()
    codes = dict.fromkeys(finding.code for finding in findings)
    return Benchmark(
        path=source.root,
        boundary=boundary,
        layout=source.layout,
        name=printable(about.name or name or path.resolve().name),
        samples=samples,
        findings=findings,
        counts=dict(Counter({code: reader.counts[code] for code in codes}).most_common()),
        imageless=frozenset(reader.imageless),
    )


def require_usable(benchmark: Benchmark, *, skip_missing_images: bool = False) -> Benchmark:
    """The benchmark as a run may use it; `skip_missing_images` drops the samples without an image.

    Raises:
        BenchmarkError: `benchmark_has_errors`, `missing_images` or `no_samples_left`.
    """
    errors = [finding for finding in errors_of(benchmark.findings) if finding.code != MISSING_IMAGE]
    if errors:
        count = sum(benchmark.counts[code] for code in {finding.code for finding in errors})
        more = f" It is the first of {count:,} errors." if count > 1 else ""
        raise BenchmarkError(
            "benchmark_has_errors",
            f"The benchmark has an error. {errors[0]}.{more}",
            path=benchmark.path,
            count=count,
            first=errors[0],
        )
    if benchmark.imageless and not skip_missing_images:
        ids = sorted({sample_id.rpartition("@")[0] for sample_id in benchmark.imageless})
        names = ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
        raise BenchmarkError(
            "missing_images",
            f"{len(benchmark.imageless):,} of {len(benchmark.samples):,} samples have no image ({names}). "
            "Put the images in place, or set `selection.text_only` to ask every sample without its image, or "
            "`selection.skip_missing_images` to leave these samples out.",
            path=benchmark.path,
            count=len(benchmark.imageless),
        )
    kept = tuple(sample for sample in benchmark.samples if sample.id not in benchmark.imageless)
    if not kept:
        raise BenchmarkError(
            "no_samples_left",
            f"No sample of {benchmark.path} has its image. Put the images in place, or set "
            "`selection.text_only`.",
            path=benchmark.path,
        )
    return replace(benchmark, samples=kept)


def _require_inside(source: Source, boundary: Path | None, *, named: Path) -> None:
    """Refuse links that lead out: a packed benchmark must not read other files. `named` may be anywhere."""
    limit = (boundary or source.root).resolve()
    for file in (*source.files, source.root / ABOUT_FILE):
        if file != named and file.is_file() and not file.resolve().is_relative_to(limit):
            raise BenchmarkError(
                "link_outside",
                f"{file} is a link out of the benchmark. Put the file itself there, or give its own path.",
                path=file,
            )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a record is, as findings state it."""

    file: str
    row: str
    index: int
    id: str | None

    def __str__(self) -> str:
        return f"{self.file}, {self.row}"


class _Reader:
    """Turns raw records into samples, and keeps what only the whole can tell."""

    def __init__(self, source: Source, *, text_only: bool, boundary: Path | None) -> None:
        self.counts: Counter[str] = Counter()
        self.imageless: list[str] = []
        self._findings: list[Finding] = []
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
        for record in read_records(self._source):
            row_id = readable_id(record, self._source.layout)
            place = _Place(record.file, record.row.place, record.row.number - 1, row_id)
            try:
                sample = self._sample(record, place)
            except BadRecord as error:
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
        return tuple(sorted(self._findings, key=lambda finding: (order[finding.file], finding.index)))

    def _sample(self, record: RawRecord, place: _Place) -> Sample:
        sample = sample_of(record, self._source.layout)
        fields = record.row.fields or {}
        if sample.id in self._seen:
            raise BadRecord(
                "duplicate_id",
                f"the id occurs twice at {sample.turns} turns (first in {self._seen[sample.id]}); "
                "remove or rename one",
            )
        self._check_query(sample, fields, place)
        for code, message in quirks_of(sample.dialogue):
            self._report(Level.WARNING, code, message, place)
        return sample if self._text_only else replace(sample, image=self._image(sample, fields, place))

    def _check_query(self, sample: Sample, fields: dict[str, Any], place: _Place) -> None:
        """Hold the record to its id: to what the id says in SafeMT, and to the query's other rounds."""
        if self._is_misaligned(sample, fields):
            self._misaligned.append((place, sample.scenario.value))
            return
        scenario, twin_of, first = self._queries.setdefault(
            sample.query_id, (sample.scenario, sample.twin_of, place)
        )
        if (scenario, twin_of) != (sample.scenario, sample.twin_of):
            what = "scenario" if scenario != sample.scenario else "`twin_of`"
            raise BadRecord(
                "mixed_query",
                f"the {what} differs from that in {first}, with the same id; fix one, or rename this query",
            )

    def _is_misaligned(self, sample: Sample, fields: dict[str, Any]) -> bool:
        """In SafeMT the id `<prefix>_<slug>_<n>` names the scenario, and the image's stem is `<slug>_<n>`."""
        match = _SAFEMT_ID.match(sample.query_id)
        if match is None or match.group(1) not in SCENARIO_BY_SLUG:
            return False
        slug, number = match.groups()
        layout = self._source.layout
        image = None if layout is Layout.JSONL else image_name(fields, layout)
        stem = PurePosixPath(image).stem if image else f"{slug}_{number}"
        if slug == sample.scenario.slug and stem == f"{slug}_{number}":
            self._aligned += 1
            return False
        return True

    def _with_question(self, sample: Sample) -> Sample:
        """The sample with the question of its 1-turn record, which the hub's rows need."""
        place = self._seen[sample.id]
        question = sample.question or self._questions.get(sample.query_id)
        if question is None:
            message = (
                "the record has no `question`, and no 1-turn record of the same id provides one; the judge "
                "will get the last user turn instead, so add the question or the 1-turn file"
            )
            self._report(Level.WARNING, "no_question", message, place)
            question = sample.dialogue[-1].content
        if not question.strip():
            message = "there is no question to judge the response by; add `question` to the record"
            self._report(Level.ERROR, "empty_question", message, place)
        if _REFUSAL.match(question):
            message = "the question is itself a refusal; kept as it is"
            self._report(Level.WARNING, "question_is_refusal", message, place)
        return sample if question is sample.question else replace(sample, question=question)

    def _image(self, sample: Sample, fields: dict[str, Any], place: _Place) -> ImageRef | None:
        name = image_name(fields, self._source.layout)
        if not name:
            self.imageless.append(sample.id)
            message = f"the record names no image; add `{image_field(self._source.layout)}`"
            self._report(Level.ERROR, MISSING_IMAGE, message, place)
            return None
        if name not in self._images:
            self._images[name] = self._inspect(name)
        image = self._images[name]
        if isinstance(image, ImageProblem):
            if image.code == MISSING_IMAGE:
                self.imageless.append(sample.id)
            self._report(Level.ERROR, image.code, str(image), place)
            return None
        expected = optional_text(fields, "image_sha256")
        if expected is not None and expected.lower() != image.sha256:
            message = f"the image {shown(name)} is not the recorded one (its SHA-256 differs); fetch it again"
            self._report(Level.ERROR, "image_changed", message, place)
            return None
        if has_wrong_extension(image):
            message = f"the image {shown(name)} is really {image.media_type}; it is sent as what it is"
            self._report(Level.WARNING, "wrong_extension", message, place)
        return image

    def _inspect(self, name: str) -> ImageRef | ImageProblem:
        try:
            path = locate_image(self._source.root, name, boundary=self._boundary)
            if path is None:
                return ImageProblem(MISSING_IMAGE, f"the image {shown(name)} is missing; put it in place")
            return inspect_image(path, name)
        except ImageProblem as problem:
            return problem

    def _report_misaligned(self) -> None:
        """Report one finding where a whole version is shifted, one per record where a few are wrong."""
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
                "`<prefix>_<scenario>_<n>` names the scenario and the image; fix the wrong one"
            )
            self._report(Level.ERROR, "misaligned", message, place)

    def _report_orphans(self, samples: list[Sample]) -> None:
        harmful = {sample.query_id for sample in samples if sample.twin_of is None}
        for sample in samples:
            if sample.twin_of is not None and sample.twin_of not in harmful:
                message = (
                    f"this is the benign twin of {sample.twin_of[:MAX_ID]!r}, but no harmful query has that "
                    "id; add it, or remove the twin"
                )
                self._report(Level.ERROR, "orphan_twin", message, self._seen[sample.id])

    def _report(self, level: Level, code: str, message: str, place: _Place) -> None:
        self.counts[code] += 1
        if self.counts[code] <= MOST_LISTED:
            where = (place.file, place.row, place.index, place.id)
            self._findings.append(Finding(level, code, message, *where))
