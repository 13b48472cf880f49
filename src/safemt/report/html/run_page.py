"""The page of one or more runs."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from safemt.report import plots
from safemt.report import result_tables as tables
from safemt.report.compare import ABOUT_DIFFERENCES, Compared, difference_table
from safemt.report.figures import JudgeValidation
from safemt.report.html.dialogues import (
    ANSWER_LIMIT,
    MESSAGE_LIMIT,
    SIDE,
    TEXT_LIMIT,
    DialogueData,
    dialogue_data,
)
from safemt.report.html.page import Banner, Card, Fact, render
from safemt.report.protection import Protection, settings
from safemt.report.runs import ReportRun
from safemt.report.table import Table
from safemt.report.text import count, counted, date, in_words, index, share

_WHY_UNCORRECTED: Final = {
    "does not fit": (
        "no true rate could make a judge with these errors report this one, so it errs differently here"
    )
}


@dataclass(frozen=True, slots=True)
class JudgedRuns:
    """The runs that one judge labelled, and what is known about that judge."""

    runs: list[ReportRun]
    name: str | None
    """None for label files."""

    @property
    def validation(self) -> JudgeValidation | None:
        """Its newest check against people."""
        return self.runs[0].results.judge_validation

    @property
    def about(self) -> str:
        """Which rows it was checked on, and when."""
        known = self.validation
        return f"{known.selection}; {count(known.rows, 'row')}; {known.checked[:10]}" if known else ""

    @property
    def table(self) -> Table | None:
        """How well it agrees with people."""
        return tables.judge_table(self.validation) if self.validation else None

    @property
    def uncorrected(self) -> Iterable[tuple[ReportRun, str]]:
        """The runs whose ASR cannot be corrected for its error, and why."""
        for run in self.runs:
            corrected = run.results.overall.corrected
            if corrected is not None and corrected.estimate is None:
                yield run, _WHY_UNCORRECTED.get(corrected.standing, corrected.standing)


def run_page(runs: Sequence[ReportRun], compared: Compared | None, unfair: str, *, redact: bool) -> str:
    """The page as text. `unfair` says why the runs are not compared; `redact` leaves out texts and images.

    Raises:
        RunError: a store cannot be read.
    """
    many = len(runs) > 1
    moderated = [(run, run.results.moderation) for run in runs if run.results.moderation is not None]
    data = dialogue_data(runs, redact=redact)
    simulated = "SIMULATED – " if any(run.results.simulated for run in runs) else ""
    return render(
        "run.html.j2",
        script=True,
        nav=list(_nav(many=many, moderated=bool(moderated))),
        title=f"{simulated}Safety report: {', '.join(run.name for run in runs)}",
        eyebrow="multi-turn safety report",
        cluster="query",
        banners=list(_banners(runs, redact=redact)),
        cards=[_card(run) for run in runs],
        many=many,
        charts={name: plot(runs) for name, plot in plots.PLOTS.items() if name != "scenarios"}
        | {"differences": plots.differences(compared, runs) if compared else None},
        tables=_tables(runs, compared),
        missing_rounds=[
            (run, tables.missing_rounds(run.results))
            for run in runs
            if run.results.safety_index.missing_rounds and run.results.safety_index.rounds
        ],
        scenarios=[(run, tables.group_table([run], "scenario")) for run in runs],
        outcomes=any(run.results.outcomes for run in runs),
        moderated=[(run, list(_moderator_facts(run, found))) for run, found in moderated],
        ungraded=[(run, _ungraded(run), tables.bounds_table(run)) for run in runs if run.results.ungraded.n],
        judges=_judged(runs),
        compared=compared,
        unfair=unfair,
        about_differences=ABOUT_DIFFERENCES,
        redact=redact,
        data=data,
        limits=_limits(data),
        left_out=_left_out(data),
        search=f"Search in {'texts and ' if data.dialogues else ''}ids",
        filters=[
            (name.lower(), name)
            for name in (*(["Run"] if many else []), "Scenario", "Turns", "Method", "Label", "Outcome")
        ],
        provenance=[(run, list(provenance(run)), _configuration(run)) for run in runs],
    )


def provenance(run: ReportRun) -> Iterable[Fact]:
    """Where the figures of a run come from."""
    p = run.results.provenance
    if not p:
        yield Fact("Source", f"label files in {run.folder.name if run.folder else 'memory'}")
        return
    benchmark, judge, moderator = p["benchmark"], p["judge"], p.get("moderator")
    size = f"{count(benchmark['samples'], 'sample')} of {count(benchmark['queries'], 'query', 'queries')}"
    yield Fact(
        "Benchmark", f"{benchmark['name']}, {size} at {', '.join(map(str, benchmark['rounds']))} turns"
    )
    yield Fact("Content, SHA-256", benchmark["sha256"], code=True)
    yield Fact("Selection, SHA-256", str(benchmark.get("selection")), code=True)
    yield Fact("Target", f"{run.results.target}{_at(p, 'target')}{_simulated(run)}")
    yield Fact("Judge", f"{judge['name']}{_at(p, 'judge')}")
    yield Fact("Judge’s configuration, SHA-256", judge["id"], code=True)
    if moderator:
        yield Fact("Moderator", f"{moderator['name']} ({settings(moderator)})")
        yield Fact("Its verdicts, kept under", moderator["id"], code=True)
    live = (
        ": the target’s own replies, in place of the scripted ones shown here"
        if p["history"] == "live"
        else ""
    )
    yield Fact("Assistant turns", p["history"] + live)
    yield Fact("Seed", str(p.get("seed")))
    yield Fact("Tokens", f"{p['tokens']['prompt']:,} in, {p['tokens']['completion']:,} out")
    for each in run.invocations:
        yield Fact("Worked on", f"{date(each.started)} to {date(each.ended)}: {each.ending or 'not ended'}")
    yield Fact("Versions", f"safemt {p['safemt']}, Python {p.get('python')}, {p.get('platform')}")
    yield Fact("Command", shlex.join(map(str, p.get("command") or ())), code=True)


def _nav(*, many: bool, moderated: bool) -> Iterable[tuple[str, str]]:
    yield from (
        ("asr", "ASR by turns"), ("si", "Safety Index"), ("over-refusal", "Over-refusal"),
        ("scenarios", "Scenarios"), ("methods", "Methods"), ("outcomes", "Outcomes"),
    )  # fmt: skip
    if moderated:
        yield "moderator", "Moderator"
    yield from (("trend", "Trend"), ("ungraded", "Ungraded"), ("judge", "Judge"))
    if many:
        yield "comparison", "Comparison"
    yield from (("dialogues", "Dialogues"), ("provenance", "Provenance"))


def _banners(runs: Sequence[ReportRun], *, redact: bool) -> Iterable[Banner]:
    simulated = [run.name for run in runs if run.results.simulated]
    if simulated:
        one = len(simulated) == 1
        yield Banner(
            "SIMULATED.",
            f"{', '.join(simulated)} {'is not a real model' if one else 'are not real models'}: "
            f"{'it reads' if one else 'they read'} nothing and {'follows' if one else 'follow'} a known "
            "curve. Nothing here is about any real model.",
            "simulated",
        )
    for run in runs:
        if run.results.pending:
            left = f"{count(run.results.pending, 'sample')} still to do, which are in no figure"
            yield Banner("PARTIAL.", f"{run.name} has {left}. The same command finishes the run.", "partial")
    if redact:
        yield Banner(
            "REDACTED.", "This page holds figures and labels only: no dialogue, response or picture."
        )


def _card(run: ReportRun) -> Card:
    results = run.results
    tiles = (
        ("Safety Index", in_words(results.safety_index.value, index)),
        ("ASR over all turns", share(results.overall.asr)),
        ("Over-refusal", share(results.over_refusal.rate)),
    )
    return Card(run.shown, tiles, " ".join(tables.summary(results)))


def _tables(runs: Sequence[ReportRun], compared: Compared | None) -> dict[str, Any]:
    pairs = zip(runs[1:], compared.comparisons, strict=True) if compared else ()
    return {
        "turns": tables.turn_table(runs),
        "index": tables.index_table(runs),
        "over_refusal": tables.over_refusal_table(runs),
        "methods": tables.group_table(runs, "method"),
        "outcomes": tables.outcome_table(runs),
        "moderation": tables.moderation_table(runs),
        "trend": tables.trend_table(runs),
        "first_unsafe": tables.first_unsafe_table(runs),
        "differences": [difference_table(str(run.shown), str(runs[0].shown), each) for run, each in pairs],
    }


def _moderator_facts(run: ReportRun, found: Protection) -> Iterable[Fact]:
    entry = run.results.provenance["moderator"]
    yield Fact("Moderator", f"{entry['name']} ({settings(entry)})")
    yield Fact("Looked at", str(found.coverage))
    yield Fact("Degraded verdicts", counted(found.degraded.causes) or "none")
    yield Fact("Cost", found.cost)


def _ungraded(run: ReportRun) -> str:
    causes = run.results.ungraded
    are = "is" if causes.n == 1 else "are"
    return (
        f"{count(causes.n, 'sample')} could not be graded and {are} in no figure: {counted(causes.causes)}."
    )


def _judged(runs: Sequence[ReportRun]) -> list[JudgedRuns]:
    """The runs by who labelled them."""
    groups: dict[str | None, JudgedRuns] = {}
    for run in runs:
        judge = run.results.provenance.get("judge") or {"id": None, "name": None}
        groups.setdefault(judge["id"], JudgedRuns([], judge["name"])).runs.append(run)
    return list(groups.values())


def _limits(data: DialogueData) -> str:
    clipped = f" ({count(data.clipped, 'text')})" if data.clipped else ""
    return (
        f"Pictures are at most {SIDE} pixels wide and high. Messages longer than {MESSAGE_LIMIT:,} "
        f"characters and responses longer than {ANSWER_LIMIT:,} are cut and say so{clipped}. The run’s "
        "run.sqlite has the whole text."
    )


def _left_out(data: DialogueData) -> str:
    if not data.left_out:
        return ""
    are = "is" if data.left_out == 1 else "are"
    most = f"{TEXT_LIMIT // 1_000_000} million characters"
    return f"{count(data.left_out, 'text')} {are} left out, because a page holds at most {most}."


def _configuration(run: ReportRun) -> str:
    p = run.results.provenance
    parts = {key: p.get(key) for key in ("target", "judge", "moderator")}
    return json.dumps(parts, indent=2, ensure_ascii=False) if p else ""


def _at(provenance: Mapping[str, Any], role: str) -> str:
    url = provenance.get(f"{role}_base_url")
    return f" at {url}" if url else ""


def _simulated(run: ReportRun) -> str:
    return " (simulated)" if run.results.simulated else ""
