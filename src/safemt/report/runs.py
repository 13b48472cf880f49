"""The runs of a report: their names, figures and texts, each from one snapshot of its store."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from safemt.core.errors import UsageError
from safemt.report.compare import Compared, compare_runs, unlike
from safemt.report.figures import Results
from safemt.report.protection import settings
from safemt.report.results import results_of, results_of_store
from safemt.report.table import Name
from safemt.report.text import count, date, visible
from safemt.run.database import STORE_FILE
from safemt.run.rows import Invocation, StoredSample
from safemt.run.store import Store


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run of a report."""

    name: str
    """Unlike the other runs' names: the target, with the folder where targets are alike."""
    results: Results
    slot: int = 0
    """Its colour."""
    folder: Path | None = None
    invocations: tuple[Invocation, ...] = ()
    """Oldest first; none for label files."""
    samples: Callable[[], Iterable[StoredSample]] = tuple
    """Reads its samples with their texts, as long as the runs are open; none for label files."""

    @property
    def shown(self) -> Name:
        """Its name with all that must be said wherever a table names it."""
        marks = (("simulated", self.results.simulated), ("partial", not self.results.complete))
        return Name(self.name, self.slot, tuple(mark for mark, holds in marks if holds))

    @property
    def chart_name(self) -> str:
        """Its name in charts, which says where a run is simulated."""
        return visible(self.name) + (" (simulated)" if self.results.simulated else "")

    def provenance(self) -> Iterator[tuple[str, str]]:
        """Where its figures come from: terms, and what there is to say."""
        p = self.results.provenance
        if not p:
            yield "Source", f"label files in {self.folder.name if self.folder else 'memory'}"
            return
        benchmark, judge, moderator = p["benchmark"], p["judge"], p.get("moderator")
        queries = count(benchmark["queries"], "query", "queries")
        size = f"{count(benchmark['samples'], 'sample')} of {queries}"
        yield "Benchmark", f"{benchmark['name']}, {size} at {', '.join(map(str, benchmark['rounds']))} turns"
        yield "Its content, SHA-256", benchmark["sha256"]
        yield "Selection, SHA-256", str(benchmark.get("selection"))
        for role, name in (("target", self.results.target), ("judge", judge["name"])):
            url = p.get(f"{role}_base_url")
            yield role.capitalize(), f"{name} at {url}" if url else name
        yield "Judge’s configuration, SHA-256", judge["id"]
        if moderator:
            yield "Moderator", f"{moderator['name']} ({settings(moderator)})"
            yield "Its verdicts are kept under", moderator["id"]
        live = ": the target’s own replies, in place of the scripted ones" if p["history"] == "live" else ""
        yield "Assistant turns", p["history"] + live
        yield "Seed", str(p.get("seed"))
        yield "Tokens", f"{p['tokens']['prompt']:,} in, {p['tokens']['completion']:,} out"
        for each in self.invocations:
            yield "Worked on", f"{date(each.started)} to {date(each.ended)}: {each.ending or 'not ended'}"
        yield "Versions", f"safemt {p['safemt']}, Python {p.get('python')}, {p.get('platform')}"
        yield "Command", shlex.join(map(str, p.get("command") or ()))

    @property
    def images(self) -> Path:
        """The benchmark's folder, where it was at the time of the run."""
        benchmark = self.results.provenance.get("benchmark") or {}
        return Path(benchmark.get("path") or self.folder or "")


@contextmanager
def open_runs(folders: Sequence[Path]) -> Iterator[tuple[ReportRun, ...]]:
    """Read runs, or folders of published labels; their texts can be read within the block.

    Raises:
        RunError: a store cannot be read.
        LabelsError: there is nothing to report.
        UsageError: a run is named twice.
    """
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("named_twice", "A run is named twice. Name each run once.")
    with ExitStack() as stack:
        runs = [_read(folder, slot, stack) for slot, folder in enumerate(folders)]
        names = _names(folders, [run.results.target for run in runs])
        yield tuple(replace(run, name=name) for name, run in zip(names, runs, strict=True))


def compare_if_fair(runs: Sequence[ReportRun], *, force: bool) -> tuple[Compared | None, str]:
    """The comparison of all runs with the first, or why there is none."""
    if len(runs) < 2:
        return None, ""
    if (differing := unlike([run.results for run in runs])) and not force:
        return None, "; ".join(differing)
    return compare_runs([(run.name, run.results) for run in runs], force=True), ""


def _read(folder: Path, slot: int, stack: ExitStack) -> ReportRun:
    if not (folder / STORE_FILE).is_file():
        return ReportRun("", results_of(folder), slot, folder)
    store = stack.enter_context(Store.open_for_reading(folder))
    found = tuple(store.invocations())
    newest = store.invocation()
    setup, judge = newest.setup, newest.judge
    return ReportRun(
        "", results_of_store(store), slot, folder, found, lambda: store.samples(setup=setup, judge=judge)
    )


def _names(folders: Sequence[Path], targets: Sequence[str]) -> list[str]:
    """Each run's target; with its folder, or at last its number, where that tells no two apart."""
    names = list(targets)
    with_folder = [
        f"{target}, {folder.name or folder}" for target, folder in zip(targets, folders, strict=True)
    ]
    numbered = [f"{name} ({number})" for number, name in enumerate(with_folder, start=1)]
    for longer in (with_folder, numbered):
        counts = Counter(names)
        names = [long if counts[name] > 1 else name for name, long in zip(names, longer, strict=True)]
    return names
