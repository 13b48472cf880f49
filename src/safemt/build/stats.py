"""The figures of a build: counts, balance, gates, rejects. The datasheet is made from them alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from safemt.build.compose import Group, Measures
from safemt.build.gates import GATES
from safemt.build.output import Built
from safemt.build.plan import Quotas
from safemt.build.queries import Ledger
from safemt.build.words import words
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Scenario

SMALL_SCENARIO: Final = 30
"""Queries of a scenario below which its figures say little:

the 95 % interval of a rate is ±18 points at 30.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the figures need besides the samples."""

    build: str
    requested: int
    quotas: Quotas
    candidates: Mapping[Scenario, int]
    measures: Measures
    ledger: Ledger
    generation: Mapping[str, Any]
    options: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]
    data: Mapping[str, str]


def statistics(built: Sequence[Built], facts: Facts) -> dict[str, Any]:
    """All figures, as `stats.json` has them."""
    samples = [sample for item in built for sample in item.samples]
    harmful = [sample for sample in samples if sample.twin_of is None]
    ledger = facts.ledger
    return {
        "build": facts.build,
        "options": dict(facts.options),
        "inputs": [dict(entry) for entry in facts.inputs],
        "samples": len(samples),
        "harmful_samples": len(harmful),
        "queries": len(built),
        "queries_requested": facts.requested,
        "by_turns": _counts(sample.turns for sample in harmful),
        **_of_queries([item.group for item in built], facts),
        "by_generator": _counts(sample.meta["generator"] for sample in harmful),
        "rows_read": dict(sorted(ledger.rows.items())),
        "images": _images(built),
        "methods": _method_shares(harmful),
        "balance": {**_balance(harmful), "off_quota": _off_quota(harmful, facts.quotas)},
        "gates": {
            name: {"rule": rule, "drafts_redrawn": facts.measures.redrawn.get(name, 0)}
            for name, rule in GATES.items()
        },
        "measures": facts.measures.summary(),
        "rejects": {stage: dict(reasons) for stage, reasons in ledger.counts().items()},
        "queries_given_up": _counts(r.reason for r in ledger.rejects if r.fatal and r.stage == "dialogues"),
        "minors_and_sex_refused": sum(
            r.reason == "minors_and_sex" and r.stage == "screening" for r in ledger.rejects
        ),
        "twins": _twins(built),
        "generation": dict(facts.generation),
        "data_files": dict(facts.data),
    }


def _of_queries(groups: Sequence[Group], facts: Facts) -> dict[str, Any]:
    """Scenarios, act classes and sources."""
    queries = [group.query for group in groups]
    scenarios = Counter(query.scenario.value for query in queries)
    return {
        "by_scenario": dict(sorted(scenarios.items())),
        "small_scenarios": {
            name: count for name, count in sorted(scenarios.items()) if count < SMALL_SCENARIO
        },
        "absent_scenarios": {
            scenario.value: _why_absent(facts.candidates.get(scenario, 0))
            for scenario in Scenario
            if scenario.value not in scenarios
        },
        "candidates_by_scenario": {s.value: facts.candidates.get(s, 0) for s in Scenario},
        "scenario_assigned_by": _counts(query.assigned_by for query in queries),
        "low_confidence": sum(query.confidence < 0.2 for query in queries),
        "by_act_class": _counts(group.understood.act.act.id for group in groups),
        "act_class_by": _counts(group.understood.act.by for group in groups),
        "by_form": _counts(group.understood.request.form.value for group in groups),
        "not_understood": sum(not group.understood.request.understood for group in groups),
        "by_source": _counts(query.raw.source for query in queries),
        "licences": {
            source: sorted({q.raw.licence for q in queries if q.raw.source == source})
            for source in sorted({q.raw.source for q in queries})
        },
    }


def _images(built: Sequence[Built]) -> dict[str, Any]:
    plans = [item.group.understood.picture for item in built]
    shown = [item.picture for item in built] + [item.twin_picture for item in built if item.twin_picture]
    return {
        "files": len({picture.ref.sha256 for picture in shown}),
        "by_origin": _counts(item.picture.origin for item in built),
        "by_role": _counts(plan.role.value for plan in plans),
        "prints_request": sum(plan.prints_request for plan in plans),
    }


def _off_quota(samples: Sequence[Sample], quotas: Quotas) -> list[str]:
    """Sentences on the methods whose share lies more than five points off the wanted one."""
    found = []
    for turns, quota in quotas.items():
        own = [sample for sample in samples if sample.turns == turns]
        for method, share in quota.items():
            have = sum(sample.method is method for sample in own) / max(1, len(own))
            if len(own) >= 40 and abs(have - share) > 0.05:
                found.append(f"{method.value} makes up {have:.1%} at {turns} turns ({share:.1%} wanted)")
    return found


def _method_shares(samples: Sequence[Sample]) -> dict[str, Any]:
    longer = [sample for sample in samples if sample.method is not None]
    shares = {}
    for method in sorted({sample.method for sample in longer if sample.method}):
        own = [sample for sample in longer if sample.method is method]
        shares[method.value] = {
            "samples": len(own),
            "share": round(len(own) / len(longer), 4),
            "by_turns": _counts(sample.turns for sample in own),
        }
    return shares


def _balance(samples: Sequence[Sample]) -> dict[str, Any]:
    """How far the methods within a scenario and a number of turns lie from their share over all scenarios."""
    cells = Counter((s.scenario, s.turns, s.method) for s in samples if s.method)
    rows = Counter((s.scenario, s.turns) for s in samples if s.method)
    whole = Counter((s.turns, s.method) for s in samples if s.method)
    rounds = Counter(s.turns for s in samples if s.method)
    off = [
        abs(cells[scenario, turns, method] - rows[scenario, turns] * whole[turns, method] / rounds[turns])
        for scenario, turns in rows
        for other, method in whole
        if other == turns
    ]
    return {"most_samples_off_in_a_cell": round(max(off, default=0.0), 2), "cells": len(off)}


def _twins(built: Sequence[Built]) -> dict[str, Any]:
    pairs = [
        (mine.dialogue, other.dialogue)
        for item in built
        for mine in item.samples
        for other in item.samples
        if mine.twin_of is None and other.twin_of == mine.query_id and mine.turns == other.turns
    ]
    ratios = sorted(_length(other) / _length(mine) for mine, other in pairs if len(mine) > 1)
    same = [mine[:-1] == other[:-1] for mine, other in pairs if len(mine) >= 7]
    return {
        "queries": sum(item.group.twin is not None for item in built),
        "by": _counts(item.group.twin_by for item in built if item.group.twin),
        "median_length_ratio": round(ratios[len(ratios) // 2], 2) if ratios else None,
        "within_20_percent": round(sum(0.8 <= r <= 1.2 for r in ratios) / len(ratios), 4) if ratios else None,
        "same_history_from_4_turns": round(sum(same) / len(same), 4) if same else None,
    }


def _length(dialogue: Sequence[Message]) -> int:
    return sum(len(words(message.content)) for message in dialogue) or 1


def _why_absent(candidates: int) -> str:
    if candidates:
        return f"all {candidates} candidates were left out by the gates or the selection"
    return "no row of the sources was assigned to it"


def _counts(values: Any) -> dict[str, int]:
    return {str(key): count for key, count in sorted(Counter(values).items())}
