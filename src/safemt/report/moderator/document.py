"""An evaluation of moderators as one document, described in docs/moderator-evaluation.md."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from safemt.moderation.measuring.evaluate import EARLY, LATE
from safemt.moderation.measuring.labelled import Truth
from safemt.report.figures import REPLICATES, SEED, difference_json, estimate_json
from safemt.report.moderator.evaluation import Evaluation
from safemt.report.moderator.figures import LATENCY_SHARES, Counts, Group, ModeratorFigures, TurnFigures
from safemt.stats.alerts import Alerts, FalseAlarms
from safemt.stats.detection import AtThreshold, Ranking
from safemt.stats.reliability import Reliability

SCHEMA: Final = "safemt.moderator-eval/1"


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """The whole evaluation. It holds no text of any dialogue."""
    data = evaluation.data
    first = evaluation.moderators[0].name
    return {
        "schema": SCHEMA,
        "safemt": version("safemt"),
        "data": {
            "files": [
                {"path": str(file.path), "sha256": file.sha256, "dialogues": file.dialogues}
                for file in data.files
            ],
            **{truth.value: data.count(truth) for truth in Truth},
            "clusters": len({each.cluster for each in data.dialogues}),
            "unlabelled": data.unlabelled,
            "without_user": data.without_user,
            "bad_rows": list(data.bad_rows),
        },
        "intervals": {"level": 0.95, "replicates": REPLICATES, "seed": SEED, "clustered_by": "cluster"},
        "moderators": [_moderator_json(figures) for figures in evaluation.moderators],
        "comparisons": [
            {
                "first": first,
                "second": figures.name,
                "dialogues": comparison.dialogues,
                "auroc": difference_json(comparison.auroc),
                "recall": {
                    f"{rate:g}": difference_json(each)
                    for rate, each in zip(comparison.rates, comparison.recalls, strict=True)
                },
            }
            for figures, comparison in zip(evaluation.moderators[1:], evaluation.comparisons, strict=True)
        ],
    }


def _moderator_json(figures: ModeratorFigures) -> dict[str, Any]:
    rates = [recall.rate for recall in figures.ranking.recalls]
    return {
        "name": figures.name,
        "identity": figures.identity,
        "threshold": figures.threshold,
        "every_turn": figures.every_turn,
        "asked_now": figures.asked,
        "coverage": {truth.value: _counts_json(counts) for truth, counts in figures.counts.items()},
        **_ranking_json(figures.ranking),
        "peak": _ranking_json(figures.peak),
        "at_threshold": _at_threshold_json(figures.at_default),
        "harmful": _kinds_json(figures.harmful, rates),
        "benign": _kinds_json(figures.benign, rates),
        "borderline": {group.name: _group_json(group, rates) for group in figures.borderline},
        "turns": {str(turn.turn): _turn_json(turn) for turn in figures.turns},
        "alerts": _alerts_json(figures.alerts),
        "false_alarms": _false_alarms_json(figures.false_alarms),
        "borderline_alarms": _false_alarms_json(figures.borderline_alarms),
        "reliability": _reliability_json(figures.reliability),
        "latency_ms": {
            "verdicts": figures.latency.verdicts,
            **{
                f"p{100 * share:g}": estimate_json(each)
                for share, each in zip(LATENCY_SHARES, figures.latency.quantiles, strict=True)
            },
            f"turn_{EARLY}": estimate_json(figures.latency.early),
            f"turn_{LATE}": estimate_json(figures.latency.late),
            "ratio": estimate_json(figures.latency.ratio),
        },
        "tokens": {"prompt": figures.prompt_tokens, "completion": figures.completion_tokens},
    }


def _counts_json(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in Counts.__slots__}


def _ranking_json(ranking: Ranking) -> dict[str, Any]:
    return {
        "auroc": estimate_json(ranking.auroc),
        "auprc": estimate_json(ranking.auprc),
        "prevalence": ranking.prevalence,
        "recall": {
            f"{each.rate:g}": {
                "above": each.above,
                "recall": estimate_json(each.estimate),
                "independent_benign": each.benign,
                "needed": each.needed,
            }
            for each in ranking.recalls
        },
    }


def _at_threshold_json(figures: AtThreshold) -> dict[str, Any]:
    return {
        "found": figures.found,
        "harmful": figures.harmful,
        "alarms": figures.alarms,
        "benign": figures.benign,
        **{
            name: estimate_json(getattr(figures, name))
            for name in ("recall", "false_alarm_rate", "precision", "f1")
        },
    }


def _kinds_json(kinds: Mapping[str, Sequence[Group]], rates: Sequence[float]) -> dict[str, Any]:
    return {
        kind: {group.name: _group_json(group, rates) for group in groups} for kind, groups in kinds.items()
    }


def _group_json(group: Group, rates: Sequence[float]) -> dict[str, Any]:
    return {
        "dialogues": group.dialogues,
        "against": group.against,
        "auroc": estimate_json(group.auroc),
        "alarmed": estimate_json(group.alarmed),
        "alarmed_at": {
            f"{rate:g}": estimate_json(each) for rate, each in zip(rates, group.alarmed_at, strict=True)
        },
    }


def _turn_json(turn: TurnFigures) -> dict[str, Any]:
    return {
        "harmful": turn.harmful,
        "benign": turn.benign,
        **{
            name: estimate_json(getattr(turn, name))
            for name in ("auroc", "recall", "false_alarm_rate", "harmful_risk", "benign_risk")
        },
    }


def _alerts_json(found: Alerts) -> dict[str, Any]:
    return {
        "dialogues": found.dialogues,
        "ever": estimate_json(found.ever),
        "by_turn": {str(turn): estimate_json(share) for turn, share in found.by_turn},
        "first_alert_turn": estimate_json(found.turn),
        "turns_before_the_last": estimate_json(found.lead),
        "before_the_last_turn": estimate_json(found.early),
    }


def _false_alarms_json(alarms: FalseAlarms) -> dict[str, Any]:
    return {
        "turns": alarms.turns,
        "alarmed_turns": alarms.alarmed_turns,
        "per_1000_turns": estimate_json(alarms.per_1000_turns),
        "dialogues": alarms.dialogues,
        "alarmed_dialogues": alarms.alarmed_dialogues,
        "per_dialogue": estimate_json(alarms.per_dialogue),
    }


def _reliability_json(found: Reliability) -> dict[str, Any]:
    return {
        "calibration_error": estimate_json(found.error),
        "brier": estimate_json(found.brier),
        "bins": [
            {
                "low": each.low,
                "high": each.high,
                "dialogues": each.dialogues,
                "risk": each.risk,
                "harmful": estimate_json(each.harmful),
            }
            for each in found.bins
        ],
    }
