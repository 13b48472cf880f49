"""The figures of a build: counts, balance, gates, rejects. All that the datasheet says comes from here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from safemt.build.compose import Measures
from safemt.build.gates import GATES
from safemt.build.output import Built
from safemt.build.queries import Ledger
from safemt.build.twins import length_ratio
from safemt.core.schema import Sample
from safemt.core.taxonomy import Method, Scenario

LEAST_METHOD_SHARE: Final = 0.8
"""Of an equal share: with four methods, each must make up 20 % of the dialogues of two turns or more."""


def statistics(
    built: Sequence[Built],
    *,
    build: str,
    requested: int,
    methods: Sequence[Method],
    candidates: Mapping[Scenario, int],
    measures: Measures,
    ledger: Ledger,
    generation: Mapping[str, Any],
    options: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    data: Mapping[str, str],
) -> dict[str, Any]:
    """All figures, as `stats.json` has them."""
    samples = [sample for item in built for sample in item.samples]
    harmful = [sample for sample in samples if sample.twin_of is None]
    queries = [item.group.query for item in built]
    return {
        "build": build,
        "options": dict(options),
        "inputs": [dict(entry) for entry in inputs],
        "samples": len(samples),
        "harmful_samples": len(harmful),
        "queries": len(built),
        "queries_requested": requested,
        "by_turns": _counts(sample.turns for sample in harmful),
        "by_scenario": _counts(query.scenario.value for query in queries),
        "absent_scenarios": {
            scenario.value: _why_absent(candidates.get(scenario, 0))
            for scenario in Scenario
            if scenario not in {query.scenario for query in queries}
        },
        "candidates_by_scenario": {s.value: candidates.get(s, 0) for s in Scenario},
        "scenario_assigned_by": _counts(query.assigned_by for query in queries),
        "low_confidence": sum(query.confidence < 0.2 for query in queries),
        "by_source": _counts(query.raw.source for query in queries),
        "licences": {
            source: sorted({q.raw.licence for q in queries if q.raw.source == source})
            for source in sorted({q.raw.source for q in queries})
        },
        "by_generator": _counts(sample.meta["generator"] for sample in harmful),
        "rows_read": dict(sorted(ledger.rows.items())),
        "images": {
            "files": len({item.picture.ref.sha256 for item in built}),
            "by_origin": _counts(item.picture.origin for item in built),
        },
        "methods": _method_shares(harmful, methods),
        "balance": _balance(harmful),
        "gates": {
            name: {"rule": rule, "passed": len(samples), "drafts_rejected": measures.redrawn.get(name, 0)}
            for name, rule in GATES.items()
        },
        "measures": measures.summary(),
        "rejects": {stage: dict(reasons) for stage, reasons in ledger.counts().items()},
        "queries_given_up": _counts(r.reason for r in ledger.rejects if r.fatal and r.stage == "dialogues"),
        "minors_and_sex_refused": sum(
            r.reason == "minors_and_sex" and r.stage == "screening" for r in ledger.rejects
        ),
        "twins": _twins(built),
        "generation": dict(generation),
        "data_files": dict(data),
    }


def failed_balance(stats: Mapping[str, Any]) -> list[str]:
    """Sentences on the balance of the whole that was not reached; empty if all is well."""
    shares = stats["methods"]
    if not shares:
        return []
    least = LEAST_METHOD_SHARE / len(shares)
    return [
        f"{name} makes up {entry['share']:.1%} of the dialogues of two turns or more (at least {least:.0%})"
        for name, entry in shares.items()
        if entry["share"] < least
    ]


def _method_shares(samples: Sequence[Sample], methods: Sequence[Method]) -> dict[str, Any]:
    longer = [sample for sample in samples if sample.method is not None]
    shares = {}
    for method in methods if longer else ():
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
    twins = [item.group for item in built if item.group.twin]
    ratios = sorted(length_ratio(g.query.text, g.twin.question) for g in twins if g.twin)
    return {
        "queries": len(twins),
        "by": _counts(group.twin_by for group in twins),
        "median_length_ratio": round(ratios[len(ratios) // 2], 2) if ratios else None,
    }


def _why_absent(candidates: int) -> str:
    if candidates:
        return f"all {candidates} candidates were left out by the gates or the selection"
    return "no row of the sources was assigned to it"


def _counts(values: Any) -> dict[str, int]:
    return {str(key): count for key, count in sorted(Counter(values).items())}
