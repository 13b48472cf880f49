"""The whole way from files of queries to a finished benchmark."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from safemt.benchmark.findings import errors_of
from safemt.benchmark.layouts import Layout
from safemt.benchmark.read import read_benchmark, sample_key
from safemt.benchmark.write import write_benchmark
from safemt.build import output
from safemt.build.cards import KINDS, Card
from safemt.build.compose import Composer, Group, Written
from safemt.build.croissant import croissant
from safemt.build.datasheet import datasheet
from safemt.build.dedup import merge_queries
from safemt.build.gates import Gates
from safemt.build.generators import template
from safemt.build.generators.llm import LLMGenerator
from safemt.build.phrases import key_phrase
from safemt.build.pictures import Picture, PictureFolder
from safemt.build.plan import MethodPlan, selection_order
from safemt.build.progress import Progress
from safemt.build.queries import Ledger, Query, RawQuery
from safemt.build.scenario import assign_scenario, lexicons, topic_of
from safemt.build.screening import screen
from safemt.build.sources.read import QueryFormat, read_queries
from safemt.build.stats import failed_balance, statistics
from safemt.build.twins import pair_twins
from safemt.core.errors import BenchmarkError, UsageError
from safemt.core.identity import content_key
from safemt.core.taxonomy import PUBLISHED_TURNS, Method

_DESCRIPTION: Final = (
    "Dialogues of several lengths, grown from the same queries and images, that test how safe a multimodal "
    "model "
    "stays over a conversation. Made by safemt build. Holds harmful requests on purpose."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What to build, and from what."""

    queries: Sequence[Path]
    out: Path
    layout: QueryFormat = QueryFormat.AUTO
    images: Path | None = None
    turns: Sequence[int] = PUBLISHED_TURNS
    methods: Sequence[Method] = field(default_factory=lambda: tuple(Method))
    count: int = 2_000
    seed: int = 0
    language: str = "en"
    twins: bool = False
    allow_fewer: bool = False
    folder_layout: bool = False
    resume: bool = False


def build(plan: BuildPlan, *, progress: Progress, generator: LLMGenerator | None = None) -> dict[str, Any]:
    """Build a benchmark at `plan.out` and give its figures. Without a `generator`, templates write all.

    Raises:
        UsageError: the options do not fit, or `plan.out` is taken.
        BenchmarkError: the sources cannot be read, or do not hold enough.
        RunError: something cannot be written.
        RunStopped: the chat model's endpoint failed for good; `--resume` continues.
    """
    if plan.language != "en" and generator is None:
        raise UsageError(
            f"The templates are in English; --language {plan.language} needs a chat model: --generator "
            "openai/MODEL."
        )
    MethodPlan(plan.methods, plan.turns)  # says at once what cannot be
    with output.finished_at_once(plan.out) as folder:
        ledger = Ledger()
        candidates = _candidates(plan, ledger, progress)
        order = selection_order(candidates, plan.seed)
        _require_enough(len(order), plan, ledger)
        gates = Gates(query.text for query in candidates)
        composer = Composer(
            turns=plan.turns,
            methods=plan.methods,
            gates=gates,
            ledger=ledger,
            seed=plan.seed,
            language=plan.language,
            twins=plan.twins,
            written=_written(plan, order, gates, generator, progress),
        )
        progress.stage("writing dialogues", min(plan.count, len(order)))
        groups = composer.compose(order, plan.count, progress.advance)
        _require_enough(len(groups), plan, ledger)
        built = _with_pictures(groups, folder, ledger, plan, progress)
        return _finish(plan, folder, built, candidates, composer, ledger, generator, progress)


def _candidates(plan: BuildPlan, ledger: Ledger, progress: Progress) -> list[Query]:
    """Every query that could be used, merged, with its scenario."""
    progress.stage("reading queries", None)
    rows: list[RawQuery] = []
    for path in plan.queries:
        found = read_queries(path, layout=plan.layout, images=plan.images, ledger=ledger)
        rows += screen(found, language=plan.language, ledger=ledger)
    twins = pair_twins(rows)
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
        raise BenchmarkError(f"No query is left of {rows:,} rows ({why}). Check the files and --language.")
    raise BenchmarkError(
        f"Only {found:,} queries are left of {rows:,} rows, {plan.count:,} were asked for (left out: {why}). "
        f"Add sources, lower --count to {found:,}, or build with what there is: --allow-fewer."
    )


def _written(
    plan: BuildPlan,
    order: Sequence[Query],
    gates: Gates,
    generator: LLMGenerator | None,
    progress: Progress,
) -> Mapping[tuple[str, int], Written]:
    """The chat model's dialogues for the queries that come first in the order."""
    if generator is None:
        return {}
    methods = MethodPlan(plan.methods, plan.turns)
    planned = [(query, methods.assign(query.scenario)) for query in order[: plan.count]]
    return generator.write_all(
        planned,
        store=output.work_folder(plan.out),
        gates=gates,
        language=plan.language,
        twins=plan.twins,
        seed=plan.seed,
        progress=progress,
    )


def _with_pictures(
    groups: Sequence[Group], folder: Path, ledger: Ledger, plan: BuildPlan, progress: Progress
) -> list[output.Built]:
    progress.stage("making images", len(groups))
    pictures = PictureFolder(folder, ledger)
    built = []
    for place, group in enumerate(groups):
        picture = _picture(group.query, pictures, place, plan.seed)
        built.append(output.Built(group, picture, output.samples_of(group, picture, plan.language)))
        progress.advance()
    return built


def _picture(query: Query, pictures: PictureFolder, place: int, seed: int) -> Picture:
    if query.raw.picture is not None:
        found = pictures.from_source(query.raw.picture, query.raw.place)
        if found is not None:
            return found
    lexicon = lexicons()[query.scenario]
    kind = KINDS[place % len(KINDS)]
    lines: tuple[str, ...] = (topic_of(query, seed),)
    if query.raw.picture_text:
        kind, lines = "document", tuple(query.raw.picture_text.split("\n"))
    elif kind == "text":
        lines = (key_phrase(query.raw.key_phrase or query.text),)
    elif kind == "diagram":
        start = place % len(lexicon.aspects)
        lines += (*lexicon.aspects[start:], *lexicon.aspects[:start])[:4]
    return pictures.drawn(Card(kind, lines, f"{seed}:{query.id}"))


def _finish(
    plan: BuildPlan,
    folder: Path,
    built: Sequence[output.Built],
    candidates: Sequence[Query],
    composer: Composer,
    ledger: Ledger,
    generator: LLMGenerator | None,
    progress: Progress,
) -> dict[str, Any]:
    """Write everything, read it back, and let the figures and papers come from what was read."""
    progress.stage("writing files", None)
    samples = [sample for item in built for sample in item.samples]
    build_id = content_key(sorted(sample_key(sample) for sample in samples))
    name = f"safemt-build-{build_id[:12]}"
    licences = sorted({item.group.query.raw.licence for item in built})
    about = {
        "name": name,
        "build": build_id,
        "language": plan.language,
        "licence": "; ".join(licences),
        "description": _DESCRIPTION,
    }
    write_benchmark(folder, samples, about=about)
    output.write_lines(folder / output.QUERIES_FILE, (output.query_row(item) for item in built))
    output.write_lines(folder / output.REJECTS_FILE, (output.reject_row(reject) for reject in ledger.rejects))
    if plan.folder_layout:
        output.write_folder_layout(folder, samples)
    output.write_parquet(folder, samples)
    progress.stage("checking", None)
    _require_clean(folder, build_id)
    stats = statistics(
        built,
        build=build_id,
        requested=plan.count,
        methods=plan.methods,
        candidates=Counter(query.scenario for query in candidates),
        measures=composer.measures,
        ledger=ledger,
        generation=generator.report() if generator else {"generator": template.NAME},
        options=_options(plan, generator),
        inputs=[_input(path) for path in plan.queries],
        data=template.data_hashes(),
    )
    unbalanced = failed_balance(stats)
    if unbalanced and generator is None and len(built) >= len(plan.methods) * len(plan.turns):
        raise BenchmarkError(f"The methods are out of balance: {'; '.join(unbalanced)}.")
    stats["balance"]["failed"] = unbalanced
    output.write_json(folder / output.STATS_FILE, stats)
    (folder / output.DATASHEET_FILE).write_text(datasheet(name, stats), encoding="utf-8")
    metadata = croissant(folder, name=name, build=build_id, description=_DESCRIPTION, licences=licences)
    output.write_json(folder / output.CROISSANT_FILE, metadata)
    return stats


def _require_clean(folder: Path, build_id: str) -> None:
    """What was written is what a run will read."""
    benchmark = read_benchmark(folder)
    errors = errors_of(benchmark.findings)
    if errors or benchmark.layout is not Layout.JSONL or benchmark.sha256 != build_id:
        raise BenchmarkError(
            "The built benchmark does not pass its own check: "
            f"{errors[0] if errors else 'its hash differs'}. "
            "This is a fault of the builder; please report it."
        )


def _options(plan: BuildPlan, generator: LLMGenerator | None) -> dict[str, Any]:
    return {
        "safemt": version("safemt"),
        "format": plan.layout.value,
        "turns": list(plan.turns),
        "methods": [method.value for method in plan.methods],
        "count": plan.count,
        "seed": plan.seed,
        "language": plan.language,
        "benign_twins": plan.twins,
        "allow_fewer": plan.allow_fewer,
        "generator": generator.name if generator else template.NAME,
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
