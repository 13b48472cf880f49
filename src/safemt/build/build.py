"""The whole way from files of queries to a finished benchmark."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from safemt.benchmark.findings import errors_of
from safemt.benchmark.layouts import Layout
from safemt.benchmark.read import read_benchmark, sample_key
from safemt.benchmark.write import write_benchmark
from safemt.build import output
from safemt.build.compose import TEMPLATE, Composer, Group, Written
from safemt.build.croissant import croissant
from safemt.build.datasheet import datasheet
from safemt.build.dedup import merge_queries
from safemt.build.gates import Gates
from safemt.build.generators.llm import LLMGenerator
from safemt.build.generators.pilot import PilotOptions, pilot
from safemt.build.pictures.folder import Picture, PictureFolder
from safemt.build.pictures.plan import PicturePlan
from safemt.build.pictures.scenes import require_pictograms
from safemt.build.plan import BALANCED, MethodPlan, selection_order
from safemt.build.progress import Progress
from safemt.build.queries import Ledger, Query, RawQuery
from safemt.build.scenario import assign_scenario
from safemt.build.screening import screen
from safemt.build.sources.read import QueryFormat, read_queries
from safemt.build.stats import Facts, statistics
from safemt.build.understanding.parse import MODEL, open_parser
from safemt.core.errors import BenchmarkError, UsageError
from safemt.core.identity import content_key
from safemt.core.taxonomy import PUBLISHED_TURNS, Method

_DESCRIPTION: Final = (
    "Dialogues of several lengths, grown from the same queries and images, that test how safe a multimodal "
    "model stays over a conversation. Made by safemt build. Holds harmful requests on purpose."
)
CONTROL_FOLDER: Final = "text_control"
"""The benchmark of the same dialogues without pictures, inside the built one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What to build, and from what."""

    queries: Sequence[Path]
    out: Path
    layout: QueryFormat = QueryFormat.AUTO
    images: Path | None = None
    turns: Sequence[int] = PUBLISHED_TURNS
    methods: Sequence[Method] = field(default_factory=lambda: tuple(Method))
    method_mix: str = BALANCED
    count: int = 2_000
    seed: int = 0
    language: str = "en"
    twins: bool = False
    text_control: bool = False
    allow_fewer: bool = False
    folder_layout: bool = False
    resume: bool = False


def build(
    plan: BuildPlan,
    *,
    progress: Progress,
    generator: LLMGenerator | None = None,
    piloted: PilotOptions | None = None,
) -> dict[str, Any]:
    """Build a benchmark at `plan.out` and return its figures.

    Without a `generator`, templates write all of it. With `piloted`, a model is asked its first queries.

    Raises:
        UsageError: the options do not fit, a package is missing, or `plan.out` is taken.
        BenchmarkError: the sources cannot be read, or do not hold enough.
        RunError: something cannot be written.
        RunStopped: the chat model's endpoint failed for good; `resume` continues.
    """
    _require_fit(plan, generator)
    methods = MethodPlan(plan.methods, plan.turns, plan.method_mix)  # says at once what cannot be
    with output.finished_at_once(plan.out) as folder:
        ledger = Ledger()
        candidates = _candidates(plan, ledger, progress)
        order = selection_order(candidates, plan.seed)
        _require_enough(len(order), plan, ledger)
        pictures = PictureFolder(folder, ledger)
        own = _SourcePictures(pictures)
        composer = Composer(
            turns=plan.turns,
            methods=methods,
            gates=Gates(query.text for query in candidates),
            ledger=ledger,
            seed=plan.seed,
            language=plan.language,
            twins=plan.twins,
            has_picture=own.has,
        )
        written = _written(plan, order, composer, generator, progress)
        progress.stage("writing dialogues", min(plan.count, len(order)))
        groups = composer.compose(order, plan.count, written, progress.advance)
        _require_enough(len(groups), plan, ledger)
        built = _with_pictures(groups, pictures, own, plan, progress)
        pictures.forget_unused(
            {sample.image.path for item in built for sample in item.samples if sample.image}
        )
        _write(plan, folder, built, progress)
        generation: dict[str, Any] = generator.report() if generator else {"generator": TEMPLATE}
        if piloted is not None:
            generation["pilot"] = pilot(folder, piloted, progress=progress)
        facts = Facts(
            build=_build_id(built),
            requested=plan.count,
            quotas=methods.quotas,
            candidates=Counter(query.scenario for query in candidates),
            measures=composer.measures,
            ledger=ledger,
            generation=generation,
            options=_options(plan, generator),
            inputs=[_input(path) for path in plan.queries],
            data=data_hashes(),
        )
        return _papers(folder, built, facts, progress)


def _require_fit(plan: BuildPlan, generator: LLMGenerator | None) -> None:
    """Say at once what cannot be built in a language, or without a package."""
    if plan.language != "en" and (generator is None or plan.twins):
        raise UsageError(
            "english_only",
            f"Templates and twins are in English; `language` {plan.language} needs a chat model as "
            "`generator`, and no `benign_twins`.",
            language=plan.language,
        )
    open_parser(MODEL)
    require_pictograms()


class _SourcePictures:
    """The sources' own pictures, each read once, when its query is planned."""

    def __init__(self, folder: PictureFolder) -> None:
        self._folder = folder
        self._known: dict[str, Picture | None] = {}

    def of(self, query: Query) -> Picture | None:
        if query.id not in self._known:
            source = query.raw.picture
            found = self._folder.from_source(source, query.raw.place) if source is not None else None
            self._known[query.id] = found
        return self._known[query.id]

    def need(self, query: Query) -> Picture:
        """The picture of a query whose plan shows the source's own."""
        found = self.of(query)
        if found is None:
            raise KeyError(query.id)
        return found

    def has(self, query: Query) -> bool:
        return self.of(query) is not None


def _candidates(plan: BuildPlan, ledger: Ledger, progress: Progress) -> list[Query]:
    """Every query that could be used, merged, with its scenario."""
    progress.stage("reading queries", None)
    rows: list[RawQuery] = []
    for path in plan.queries:
        found = read_queries(path, layout=plan.layout, images=plan.images, ledger=ledger)
        rows += screen(found, language=plan.language, ledger=ledger)
    twins = _pair_twins(rows)
    progress.stage("merging duplicates", None)
    used: Counter[str] = Counter()
    queries = []
    for row in rows:
        if not row.harmful:
            continue
        partners = twins.get(row.pair, []) if row.pair else []
        twin = partners[used[row.pair]] if used[row.pair] < len(partners) else ""
        used[row.pair] += 1
        queries.append(_as_query(row, twin))
    return merge_queries(queries, ledger)


def _pair_twins(rows: Iterable[RawQuery]) -> Mapping[str, list[str]]:
    """The benign sides of the contrast pairs, by pair, in their order."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.pair and not row.harmful:
            found.setdefault(row.pair, []).append(row.text)
    return found


def _as_query(row: RawQuery, twin: str) -> Query:
    found = assign_scenario(row)
    return Query(
        text=" ".join(row.text.split()),
        scenario=found.scenario,
        assigned_by=found.by,
        confidence=found.confidence,
        raw=row,
        twin_text=" ".join(twin.split()),
    )


def _require_enough(found: int, plan: BuildPlan, ledger: Ledger) -> None:
    if found >= plan.count or (plan.allow_fewer and found):
        return
    reasons = Counter(reject.reason for reject in ledger.rejects if reject.fatal)
    why = (
        ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "nothing was left out"
    )
    rows = sum(ledger.rows.values())
    if not found:
        raise BenchmarkError(
            "no_queries", f"No query is left of {rows:,} rows ({why}). Check the files and `language`."
        )
    raise BenchmarkError(
        "too_few_queries",
        f"Only {found:,} queries are left of {rows:,} rows, {plan.count:,} were asked for (left out: {why}). "
        f"Add sources, lower `count` to {found:,}, or build with what there is (`allow_fewer`).",
        found=found,
        wanted=plan.count,
    )


def _written(
    plan: BuildPlan,
    order: Sequence[Query],
    composer: Composer,
    generator: LLMGenerator | None,
    progress: Progress,
) -> Mapping[tuple[str, int], Written]:
    """The chat model's dialogues for the queries that come first in the order."""
    if generator is None:
        return {}
    return generator.write_all(
        order[: plan.count],
        composer=composer,
        store=output.work_folder(plan.out),
        plan=plan,
        progress=progress,
    )


def _with_pictures(
    groups: Sequence[Group],
    pictures: PictureFolder,
    own: _SourcePictures,
    plan: BuildPlan,
    progress: Progress,
) -> list[output.Built]:
    progress.stage("making images", len(groups))

    def picture(group: Group, planned: PicturePlan) -> Picture:
        if planned.card is not None:
            return pictures.drawn(planned.card)
        return own.need(group.query)

    built = []
    for group in groups:
        first = picture(group, group.harmful.picture)
        second = picture(group, group.twin.picture) if group.twin is not None else None
        samples = output.samples_of(group, first, second, plan.language)
        built.append(output.Built(group, first, second, samples))
        progress.advance()
    return built


def _about(plan: BuildPlan, built: Sequence[output.Built], build_id: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "build": build_id,
        "language": plan.language,
        "licence": "; ".join(_licences(built)),
        "description": _DESCRIPTION,
    }


def _licences(built: Sequence[output.Built]) -> list[str]:
    return sorted({item.group.query.raw.licence for item in built})


def _build_id(built: Sequence[output.Built]) -> str:
    return content_key(sorted(sample_key(sample) for item in built for sample in item.samples))


def _write(plan: BuildPlan, folder: Path, built: Sequence[output.Built], progress: Progress) -> None:
    """The samples in every layout that is asked for."""
    progress.stage("writing files", None)
    samples = [sample for item in built for sample in item.samples]
    build_id = _build_id(built)
    name = _name(build_id)
    write_benchmark(folder, samples, about=_about(plan, built, build_id, name))
    if plan.folder_layout:
        output.write_folder_layout(folder, samples)
    output.write_parquet(folder, samples)
    if plan.text_control:
        control = [
            sample
            for item in built
            for sample in output.samples_of(
                item.group, item.picture, item.twin_picture, plan.language, control=True
            )
        ]
        about = _about(plan, built, content_key(sorted(map(sample_key, control))), f"{name}-text-control")
        (folder / CONTROL_FOLDER).mkdir()
        write_benchmark(folder / CONTROL_FOLDER, control, about=about)


def _papers(folder: Path, built: Sequence[output.Built], facts: Facts, progress: Progress) -> dict[str, Any]:
    """Read the benchmark back, and write what documents it."""
    progress.stage("checking", None)
    _require_clean(folder, facts.build)
    output.write_lines(folder / output.QUERIES_FILE, (output.query_row(item) for item in built))
    rejects = (output.reject_row(reject) for reject in facts.ledger.rejects)
    output.write_lines(folder / output.REJECTS_FILE, rejects)
    stats = statistics(built, facts)
    name = _name(facts.build)
    output.write_json(folder / output.STATS_FILE, stats)
    (folder / output.DATASHEET_FILE).write_text(datasheet(name, stats), encoding="utf-8")
    metadata = croissant(
        folder, name=name, build=facts.build, description=_DESCRIPTION, licences=_licences(built)
    )
    output.write_json(folder / output.CROISSANT_FILE, metadata)
    return stats


def _name(build_id: str) -> str:
    return f"safemt-build-{build_id[:12]}"


@cache
def data_hashes() -> dict[str, str]:
    """The SHA-256 of every data file of the builder, ladders and prompts too, by name."""
    root = Path(str(files("safemt.build"))) / "data"
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found
    }


def _require_clean(folder: Path, build_id: str) -> None:
    """What was written is what a run will read."""
    benchmark = read_benchmark(folder)
    errors = errors_of(benchmark.findings)
    if errors or benchmark.layout is not Layout.JSONL or benchmark.sha256 != build_id:
        raise BenchmarkError(
            "built_not_clean",
            "The built benchmark does not pass its own check: "
            f"{errors[0] if errors else 'its hash differs'}. This is a fault of the builder; please report "
            f"it.",
        )


def _options(plan: BuildPlan, generator: LLMGenerator | None) -> dict[str, Any]:
    return {
        "safemt": version("safemt"),
        "format": plan.layout.value,
        "turns": list(plan.turns),
        "methods": [method.value for method in plan.methods],
        "method_mix": plan.method_mix,
        "count": plan.count,
        "seed": plan.seed,
        "language": plan.language,
        "benign_twins": plan.twins,
        "text_control": plan.text_control,
        "allow_fewer": plan.allow_fewer,
        "generator": generator.name if generator else TEMPLATE,
    }


def _input(path: Path) -> dict[str, Any]:
    """A source by name and content: no folder of this machine stands in what is published."""
    files = [path] if path.is_file() else sorted(_data_files(path))
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return {"name": path.name, "files": len(files), "sha256": digest.hexdigest()}


def _data_files(folder: Path) -> Iterable[Path]:
    suffixes = {".jsonl", ".json", ".gz", ".csv", ".tsv", ".parquet"}
    return (file for file in folder.rglob("*") if file.is_file() and file.suffix in suffixes)
