"""From the scores of all folds to the figures of the card."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from training.measure import Scored, compare, share

Score = dict[str, Any]
WHOLE: Final = ("A", "B", "C", "D")
"""Folds that hold out whole sources."""
TEMPLATES: Final = "E"
"""The fold that holds out half of Red Queen's templates."""
HALF: Final = "red_queen occupation"
"""That half."""
CHATS: Final = ("mtbench101", "sgd", "taskmaster4", "topical_chat", "mtbench")
REQUESTS: Final = ("alpaca_harmless", "cyber_frr", "openai_moderation", "phtest")
AT_THE_END: Final = ("embedded", "last-turn", "max-turn", "peak-accumulation", "keyword")
AT_ANY_TURN: Final = ("embedded, worst turn", "max-turn", "peak-accumulation", "keyword")
"""A filter of the last turn that is asked at every turn has given the alarms of the worst one."""


def results(scores: Path) -> dict[str, Any]:
    """All figures.

    Raises:
        FileNotFoundError: a stage was not run.
    """
    rows = [row for name in WHOLE for row in _read(scores, f"fold_{name}")]
    halves = _read(scores, f"fold_{TEMPLATES}")
    shipped = _read(scores, "blind")
    chats = [row for row in rows if row["source"] in CHATS and row["turns"] > 1]
    queen = _of(rows, "red_queen")
    composed = [row for row in rows if row["source"].startswith("composed") and row["turns"] > 1]
    harmful = [row for row in composed if row["label"] == "harmful"]
    twins = [row for row in composed if row["label"] == "benign"]
    single = [row for row in rows if row["turns"] == 1 and row["source"] != "composed prevention"]
    requests = [row for row in single if row["label"] != "harmful" and row["source"] in REQUESTS]
    prompts = [row for row in single if row["label"] == "harmful" and row["source"] == "harm_prompts"]
    sets = {
        "Red Queen, attacks": [row for row in queen if row["part"] != "red_queen direct"],
        "Red Queen, direct over three turns": [row for row in queen if row["part"] == "red_queen direct"],
        **{f"composed, {form}": found for form, found in _by("source", harmful).items()},
    }
    everything = [*queen, *harmful]
    safe = [row for row in _of(shipped, "xstest") if row["label"] != "harmful"]
    contrasts = [row for row in _of(shipped, "xstest") if row["label"] == "harmful"]
    return {
        "multi_turn": {
            "all": _against(everything, chats),
            **{name: _against(found, chats) for name, found in sets.items()},
        },
        "by_template": {
            "at_default": _alarms(_of(halves, "red_queen")),
            "whole_source_at_default": _alarms([row for row in queen if row["part"].startswith(HALF)]),
        },
        "same_form": {
            form: _against(found, [row for row in twins if row["source"] == found[0]["source"]])
            for form, found in _by("source", harmful).items()
        },
        "at_the_end": {name: _against(everything, chats, _score_of(name)) for name in AT_THE_END},
        "at_any_turn": {name: _against(everything, chats, _score_of(name)) for name in AT_ANY_TURN},
        "at_the_end_pooled": {
            name: _against(everything, chats, _score_of(name), pooled=True) for name in AT_THE_END
        },
        "same_form_baselines": {name: _against(harmful, twins, _score_of(name)) for name in AT_THE_END},
        "shortcuts": {
            "number of turns": _against(everything, chats, lambda row: row["turns"]),
            "number of words": _against(everything, chats, lambda row: row["words"]),
            "number of turns, same forms": _against(harmful, twins, lambda row: row["turns"]),
            "number of words, same forms": _against(harmful, twins, lambda row: row["words"]),
        },
        "single_turn": {part: _against(found, requests) for part, found in _by("part", prompts).items()},
        "false_alarms": {
            **{source: _alarms(found) for source, found in _by("source", chats).items()},
            "all chats of several turns": _alarms(chats),
            **{source: _alarms(found) for source, found in _by("source", requests).items()},
            "prevention questions": _alarms(_of(rows, "composed prevention")),
            "composed, harmless": _alarms(twins),
        },
        "found_at_default": {
            **{name: _alarms(found) for name, found in sets.items()},
            "all of several turns": _alarms(everything),
        },
        "at_the_looser_threshold": {
            "all chats of several turns": _alarms(_loosely(chats)),
            "composed, harmless": _alarms(_loosely(twins)),
            **{name: _alarms(_loosely(found)) for name, found in sets.items()},
        },
        "xstest": _against(contrasts, safe),
        "shipped_on": {
            "XSTest, safe prompts": _alarms(safe),
            "XSTest, contrasts": _alarms(contrasts),
            "MSTS, English, text only": _alarms(_of(shipped, "msts")),
            "SafeDialBench, Chinese": _alarms(_of(shipped, "safedialbench_zh")),
        },
    }  # fmt: skip


def _against(
    harmful: Sequence[Score],
    harmless: Sequence[Score],
    score: Callable[[Score], float] | None = None,
    *,
    pooled: bool = False,
) -> dict[str, Any]:
    """Compared within each fold that has both; `pooled`, as if one model had given all scores."""
    read = score or _score_of("embedded")
    folds = sorted({row["fold"] for row in harmful} & {row["fold"] for row in harmless})
    pairs = [
        ([row for row in harmful if row["fold"] == fold], [row for row in harmless if row["fold"] == fold])
        for fold in folds
    ]
    if pooled:
        pairs = [([row for one, _ in pairs for row in one], [row for _, other in pairs for row in other])]
    return {
        "folds": folds,
        "harmful": sum(len(one) for one, _ in pairs),
        "harmless": sum(len(other) for _, other in pairs),
        **compare([(_scored(one, read), _scored(other, read)) for one, other in pairs]),
    }


def _alarms(rows: Sequence[Score]) -> dict[str, Any]:
    """Shares flagged at the default threshold of each row's own model: at any turn, and at the end."""
    ever = _scored(rows, lambda row: float(max(row["risks"]) >= row["threshold"]))
    end = _scored(rows, lambda row: float(row["risks"][-1] >= row["threshold"]))
    turns = sum(row["turns"] for row in rows)
    alarms = sum(sum(risk >= row["threshold"] for risk in row["risks"]) for row in rows)
    return {
        "dialogues": len(rows),
        "ever": share(ever, 0.5),
        "at_end": share(end, 0.5),
        "per_1000_turns": round(1000 * alarms / turns, 2),
    }


def _score_of(moderator: str) -> Callable[[Score], float]:
    if moderator == "embedded":
        return lambda row: float(row["risks"][-1])
    if moderator == "embedded, worst turn":
        return lambda row: float(max(row["risks"]))
    return lambda row: float(row["baselines"][moderator])


def _scored(rows: Sequence[Score], score: Callable[[Score], float]) -> Scored:
    return Scored.of([score(row) for row in rows], [f"{row['source']}:{row['cluster']}" for row in rows])


def _loosely(rows: Sequence[Score]) -> list[Score]:
    """The rows with the threshold for 5 % in place of the default one."""
    return [{**row, "threshold": row["looser"]} for row in rows]


def _of(rows: Sequence[Score], source: str) -> list[Score]:
    return [row for row in rows if row["source"] == source]


def _by(key: str, rows: Iterable[Score]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for row in rows:
        found.setdefault(row[key].removeprefix("composed "), []).append(row)
    return dict(sorted(found.items()))


def _read(scores: Path, name: str) -> list[Score]:
    path = scores / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing. Run `python -m training all`, or the stage that writes it."
        )
    file = json.loads(path.read_text(encoding="utf-8"))
    own = {"fold": name, "threshold": file["thresholds"]["default"], "looser": file["thresholds"]["fpr_0.05"]}
    return [{**row, **own} for row in file["scores"]]
