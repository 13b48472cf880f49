"""Every figure of a run with its uncertainty: what tables, report and results document show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from safemt.judges.validation import Validation
from safemt.stats.agreement import agreement
from safemt.stats.comparison import Difference, over_refusal
from safemt.stats.intervals import Estimate, Uncertainty, bootstrap
from safemt.stats.judge_error import (
    CorrectedAsr,
    Correction,
    PredictionPowered,
    corrected_asr,
    prediction_powered,
)
from safemt.stats.metrics import LabelMatrix, label_matrix
from safemt.stats.scores import ScoredSample
from safemt.stats.trend import Bound, FirstUnsafe, Trend, UngradedBounds, first_unsafe, trend, ungraded_bounds

REPLICATES: Final = 2000
SEED: Final = 0
"""Of the bootstrap; the same labels give the same intervals."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one run, and how well. Benign twins are in `over_refusal` alone."""

    overall: Uncertainty
    scenarios: dict[str, Uncertainty]
    methods: dict[str, Uncertainty]
    trend: Trend
    first_unsafe: FirstUnsafe
    bounds: UngradedBounds
    over_refusal: Estimate | None
    """Over all numbers of turns."""
    over_refusal_turns: dict[int, Estimate | None]
    validation: Validation | None
    """The newest check of this judge against people."""
    corrected: CorrectedAsr | None
    """ASR corrected for the judge's error by that check."""
    prediction_powered: PredictionPowered | None
    """ASR by people's standard, where people labelled a part of this run."""


def figures_of(
    samples: Sequence[ScoredSample],
    *,
    validation: Validation | None = None,
    people: Sequence[tuple[str, int, str]] = (),
) -> Figures:
    """Compute the figures. `people` are `(query_id, turns, label)` rows of this run's own samples."""
    harmful = [s for s in samples if s.twin_of is None and s.label is not None]
    matrix = matrix_of(harmful)
    overall = bootstrap(matrix, replicates=REPLICATES, seed=SEED)
    twins = twins_of(samples)
    return Figures(
        overall=overall,
        scenarios=_by_group(harmful, [s.scenario for s in harmful]),
        methods=_by_group(harmful, [s.method for s in harmful]),
        trend=trend(matrix, replicates=REPLICATES, seed=SEED),
        first_unsafe=first_unsafe(matrix),
        bounds=ungraded_bounds(matrix),
        over_refusal=over_refusal(twins, replicates=REPLICATES, seed=SEED),
        over_refusal_turns={
            k: over_refusal([twin for twin in twins if twin[1] == k], replicates=REPLICATES, seed=SEED)
            for k in sorted({turns for _, turns, _ in twins})
        },
        validation=validation,
        corrected=corrected_asr(overall, validation.confusion) if validation else None,
        prediction_powered=prediction_powered(matrix, label_matrix(people)) if people else None,
    )


def matrix_of(samples: Sequence[ScoredSample]) -> LabelMatrix:
    """The labels of harmful samples by query and round."""
    return label_matrix((s.query_id, s.turns, str(s.label)) for s in samples)


def twins_of(samples: Sequence[ScoredSample]) -> list[tuple[str, int, str]]:
    """`(query_id, turns, outcome)` of the benign twins that were tried."""
    return [(s.query_id, s.turns, str(s.outcome)) for s in samples if s.twin_of and s.outcome is not None]


def estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    """`{"value", "interval": [low, high]}`, null where nothing can be said."""
    if estimate is None:
        return None
    return {"value": estimate.value, "interval": interval_json(estimate)}


def interval_json(estimate: Estimate | None) -> list[float] | None:
    """`[low, high]`, the 95 % interval."""
    return None if estimate is None else [estimate.interval.low, estimate.interval.high]


def difference_json(difference: Difference | None) -> dict[str, Any] | None:
    """A difference with all that is known of it, null where nothing can be said."""
    if difference is None:
        return None
    return {
        "first": difference.first,
        "second": difference.second,
        "difference": difference.value,
        "interval": [difference.interval.low, difference.interval.high],
        "p": difference.p_value,
        "p_adjusted": difference.p_adjusted,
        "verdict": difference.verdict,
        "detectable": difference.detectable,
        "samples": difference.samples,
    }


def add_figures(document: dict[str, Any], figures: Figures) -> dict[str, Any]:
    """`document` (the results document of the same run) with the uncertainty of each figure beside it."""
    overall = figures.overall
    for position, k in enumerate(overall.rounds):
        entry = document["turns"][str(k)]
        entry["interval"] = interval_json(overall.asr[position])
        entry["if_ungraded"] = _bound_json(figures.bounds.asr[position])
        if figures.corrected is not None:
            entry["corrected"] = _correction_json(figures.corrected.by_round[position])
    for kind, groups in (("scenarios", figures.scenarios), ("methods", figures.methods)):
        for name, group in groups.items():
            entry = document[kind][name]
            entry["interval"] = interval_json(group.pooled)
            for position, k in enumerate(group.rounds):
                entry["turns"][str(k)]["interval"] = interval_json(group.asr[position])
    for k, estimate in figures.over_refusal_turns.items():
        document["over_refusal"][str(k)]["interval"] = interval_json(estimate)
    document["safety_index"]["interval"] = interval_json(overall.si)
    document["safety_index"]["if_ungraded"] = _bound_json(figures.bounds.si)
    return {
        **document,
        "overall": {
            "asr": estimate_json(overall.pooled),
            "if_ungraded": _bound_json(figures.bounds.pooled),
            "corrected": _correction_json(figures.corrected.pooled) if figures.corrected else None,
            "over_refusal": estimate_json(figures.over_refusal),
        },
        "trend": {
            "slope_per_doubling": estimate_json(figures.trend.slope),
            "direction": figures.trend.direction,
            "queries": figures.trend.queries,
        },
        "first_unsafe": {
            "turns": {
                str(k): estimate_json(share)
                for k, share in zip(figures.first_unsafe.rounds, figures.first_unsafe.by_round, strict=True)
            },
            "never": estimate_json(figures.first_unsafe.never),
            "queries": figures.first_unsafe.queries,
        },
        "judge_validation": _validation_json(figures.validation),
        "prediction_powered": _prediction_powered_json(figures.prediction_powered),
        "intervals": {"level": 0.95, "replicates": REPLICATES, "seed": SEED, "clustered_by": "query"},
    }


def _by_group(samples: Sequence[ScoredSample], names: Sequence[str | None]) -> dict[str, Uncertainty]:
    groups: dict[str, list[ScoredSample]] = {}
    for sample, name in zip(samples, names, strict=True):
        if name is not None:
            groups.setdefault(name, []).append(sample)
    return {
        name: bootstrap(matrix_of(groups[name]), replicates=REPLICATES, seed=SEED) for name in sorted(groups)
    }


def _bound_json(bound: Bound | None) -> dict[str, float] | None:
    return None if bound is None else {"safe": bound.if_safe, "unsafe": bound.if_unsafe}


def _correction_json(correction: Correction) -> dict[str, Any]:
    return {"standing": correction.standing, "asr": estimate_json(correction.estimate)}


def _validation_json(validation: Validation | None) -> dict[str, Any] | None:
    if validation is None:
        return None
    figures = agreement(validation.confusion)
    return {
        "labels": validation.labels,
        "labels_sha256": validation.labels_sha256,
        "selection": validation.selection,
        "checked": validation.checked,
        "rows": validation.confusion.graded + validation.confusion.unread,
        "sensitivity": estimate_json(figures.sensitivity),
        "specificity": estimate_json(figures.specificity),
        "kappa": estimate_json(figures.kappa),
        "readable": estimate_json(figures.readable),
    }


def _prediction_powered_json(result: PredictionPowered | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {
        "asr": estimate_json(result.estimate),
        "people_only": estimate_json(result.people_only),
        "power": result.power,
        "labelled": result.labelled,
        "unlabelled": result.unlabelled,
        "unread": result.unread,
    }
