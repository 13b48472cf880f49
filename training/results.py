"""From scores to figures: what the card and issue 15 ask of a model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from safemt.moderation.detectors.baselines.turns import COMBINATIONS
from training.calibrate import BASE_RATE
from training.measure import Scored, compare, share
from training.weak import sorted_as
from training.wrapping import WRAPS

Rows = Sequence[Mapping[str, Any]]

MEASURED: Final[Mapping[str, Mapping[str, int]]] = {
    "harmful": {"red_queen": 160, "cosafe": 300, "safedialbench_zh": 100},
    "harmless": {
        "annomi": 128, "mts_dialog": 200, "mathdial": 120, "bridge": 120, "covid": 200,
        "topical_chat": 100, "mtbench101": 150, "taskmaster4": 120, "sgd": 80,
    },
}  # fmt: skip
"""Sources of conversations, and how many of each are read."""
DISTRESS: Final = ("annomi", "mts_dialog", "covid")
LANGUAGES: Final = ("en", "de", "fr", "es", "it", "hi", "zh", "ko", "ru", "fa", "ar")
BANDS: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.01)
"""Of risk, in which forecasts are held against what came true."""


def summary(scores: Mapping[str, Rows], threshold: float) -> dict[str, Any]:
    """All figures; shares, AUROC and recall as [value, low, high] with 95 % intervals."""
    talk = scores["validation"]
    calm = [row for row in talk if row["label"] == "harmless"]
    harmful = {part: _of(talk, part) for part in MEASURED["harmful"]}
    unsafe = [row for row in scores["xstest"] if row["label"] == "harmful"]
    safe = [row for row in scores["xstest"] if row["label"] != "harmful"]
    every = [row for rows in harmful.values() for row in rows]
    read = [row for row in harmful["cosafe"] if sorted_as(row["cluster"]) == "harmful"]
    return {
        "threshold": threshold,
        "harmful": {part: _against(rows, calm, threshold) for part, rows in harmful.items()},
        "cosafe_read": _against(read, calm, threshold),
        "harmless": {part: _flagged(_of(calm, part), threshold) for part in MEASURED["harmless"]}
        | {
            "all": _flagged(calm, threshold),
            "distress": _flagged([row for row in calm if row["part"] in DISTRESS], threshold),
        },
        "harmless_dialogues": len(calm),
        "xstest": _against(unsafe, safe, threshold) | {"false_alarms": _flagged(safe, threshold)},
        "msts": _by_language(scores["msts"], threshold),
        "dilution": _kept(scores["dilution"], threshold),
        "same_forms": _same_forms(scores["composed"]),
        "brier": {part: _brier(rows, calm) for part, rows in harmful.items()},
        "reliability": _reliability(every, calm),
    }


def _against(
    harmful: Rows, harmless: Rows, threshold: float, score: Callable[[Mapping[str, Any]], float] | None = None
) -> dict[str, Any]:
    read = score or _peak
    found = compare([(_scored(harmful, read), _scored(harmless, read))])
    return {"n": len(harmful), **found, "at_threshold": _flagged(harmful, threshold)}


def _flagged(rows: Rows, threshold: float) -> list[float]:
    """The share with an alarm at any turn."""
    return share(_scored(rows, lambda row: float(_peak(row) >= threshold)), 0.5)


def _by_language(rows: Rows, threshold: float) -> dict[str, Any]:
    """MSTS against the harmless requests of the same language, or the English ones where there are none."""
    found = {}
    for language in LANGUAGES:
        spoken = [row for row in rows if row["language"] == language]
        asked = [row for row in spoken if row["label"] == "harmful"]
        own = [row for row in spoken if row["label"] != "harmful"]
        english = [row for row in rows if row["label"] != "harmful" and row["language"] == "en"]
        found[language] = _against(asked, own or english, threshold) | {
            "against": language if own else "en",
            "false_alarms": _flagged(own, threshold) if own else None,
        }
    return found


def _kept(rows: Rows, threshold: float) -> dict[str, Any]:
    """Of the requests that are flagged as they are: the share that is still flagged inside each wrap."""
    flagged = {row["cluster"] for row in _of(rows, "as it is") if _peak(row) >= threshold}
    found: dict[str, Any] = {"requests": len(_of(rows, "as it is")), "flagged": len(flagged)}
    for name in WRAPS:
        inside = [row for row in _of(rows, name) if row["cluster"] in flagged]
        found[name] = {
            "kept": round(sum(_peak(row) >= threshold for row in inside) / max(1, len(inside)), 3),
            "false_alarms": _flagged(_of(rows, f"{name}, harmless"), threshold)[0],
        }
    return found


def _same_forms(rows: Rows) -> dict[str, Any]:
    """The moderator and the baselines over its single turns, asked at the end of dialogues of like forms."""
    harmful = [row for row in rows if row["label"] == "harmful"]
    harmless = [row for row in rows if row["label"] == "harmless"]
    ways: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "embedded": lambda row: float(row["risks"][-1]),
        **{name: _combined(combine) for name, combine in COMBINATIONS.items()},
    }
    return {name: _against(harmful, harmless, 1.0, score) for name, score in ways.items()}


def _combined(combine: Callable[[Sequence[float]], float]) -> Callable[[Mapping[str, Any]], float]:
    return lambda row: float(combine(row["own"]))


def _brier(harmful: Rows, harmless: Rows) -> float:
    """Brier score at the stated base rate; a constant forecast has `BASE_RATE` * (1 - `BASE_RATE`), 0.09."""
    missed = np.mean([(1 - _peak(row)) ** 2 for row in harmful])
    alarmed = np.mean([_peak(row) ** 2 for row in harmless])
    return round(float(BASE_RATE * missed + (1 - BASE_RATE) * alarmed), 4)


def _reliability(harmful: Rows, harmless: Rows) -> list[dict[str, float]]:
    """For each band of risk: its mean, and the share of harmful dialogues at the stated base rate."""
    weighted = [(_peak(row), BASE_RATE / len(harmful), 1.0) for row in harmful]
    weighted += [(_peak(row), (1 - BASE_RATE) / len(harmless), 0.0) for row in harmless]
    found = []
    for low, high in pairwise(BANDS):
        inside = [each for each in weighted if low <= each[0] < high]
        total = sum(weight for _, weight, _ in inside)
        if total:
            mean = sum(risk * weight for risk, weight, _ in inside) / total
            true = sum(weight * harm for _, weight, harm in inside) / total
            found.append({"from": low, "risk": round(mean, 3), "harmful": round(true, 3)})
    return found


def _peak(row: Mapping[str, Any]) -> float:
    return float(max(row["risks"]))


def _of(rows: Rows, part: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["part"] == part]


def _scored(rows: Iterable[Mapping[str, Any]], score: Callable[[Mapping[str, Any]], float]) -> Scored:
    kept = list(rows)
    return Scored.of([score(row) for row in kept], [f"{row['part']}:{row['cluster']}" for row in kept])
