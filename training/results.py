"""From the scores of all folds to the figures of the card."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from training.measure import Scored, compare, share
from training.split import FOLDS

Score = dict[str, Any]
WHOLE: Final = ("A", "B", "C", "D")
"""Folds that hold out whole sources."""
TEMPLATES: Final = ("E", "F")
"""Folds that hold out half of Red Queen's templates."""
CHATS: Final = ("mtbench101", "sgd", "taskmaster4", "topical_chat", "mtbench")
MODERATORS: Final = ("embedded", "last-turn", "max-turn", "peak-accumulation", "keyword")


def results(scores: Path) -> dict[str, Any]:
    """All figures.

    Raises:
        FileNotFoundError: a fold was not run.
    """
    files = {name: _read(scores / f"fold_{name}.json") for name in FOLDS}
    rows = [row for name in WHOLE for row in _flagged(files[name])]
    halves = [row for name in TEMPLATES for row in _flagged(files[name])]
    shipped = _flagged(_read(scores / "model.json"))
    chats = [row for row in rows if row["source"] in CHATS and row["turns"] > 1]
    queen = [row for row in rows if row["source"] == "red_queen"]
    composed = [row for row in rows if str(row["source"]).startswith("composed") and row["turns"] > 1]
    harmful = [row for row in composed if row["label"] == "harmful"]
    twins = [row for row in composed if row["label"] == "benign"]
    sets = {
        "Red Queen, attacks": [row for row in queen if row["part"] != "red_queen direct"],
        "Red Queen, direct over three turns": [row for row in queen if row["part"] == "red_queen direct"],
        **{
            f"composed, {form}": [row for row in harmful if row["source"] == f"composed {form}"]
            for form in sorted({str(row["source"]).removeprefix("composed ") for row in harmful})
        },
    }
    everything = [*queen, *harmful]
    return {
        "multi_turn": {
            "all": _against(everything, chats),
            **{name: _against(found, chats) for name, found in sets.items()},
        },
        "by_template": _against([row for row in halves if row["source"] == "red_queen"], chats),
        "same_form": {
            name.removeprefix("composed, "): _against(
                found, [row for row in twins if row["source"] == found[0]["source"]]
            )
            for name, found in sets.items()
            if name.startswith("composed")
        },
        "baselines": {name: _against(everything, chats, _score_of(name)) for name in MODERATORS},
        "baselines_same_form": {name: _against(harmful, twins, _score_of(name)) for name in MODERATORS},
        "shortcuts": {
            "number of turns": _against(everything, chats, lambda row: row["turns"]),
            "number of words": _against(everything, chats, lambda row: row["words"]),
            "number of turns, same forms": _against(harmful, twins, lambda row: row["turns"]),
            "number of words, same forms": _against(harmful, twins, lambda row: row["words"]),
        },
        "single_turn": {
            part: _against(found, [row for row in rows if row["source"] == "alpaca_harmless"])
            for part, found in _by_part(
                row for row in rows if row["label"] == "harmful" and row["source"] == "harm_prompts"
            ).items()
        },
        "false_alarms": {
            **{part: _alarms(found) for part, found in _by_source(chats).items()},
            "all chats of several turns": _alarms(chats),
            **{
                part: _alarms(found)
                for part, found in _by_source(
                    row
                    for row in rows
                    if row["turns"] == 1 and row["label"] != "harmful" and row["source"] != "mtbench"
                    and not (row["source"] == "harm_prompts" or row["source"] == "figstep")
                ).items()
            },
            "composed, harmless": _alarms(twins),
        },
        "found_at_default": {
            **{name: _alarms(found) for name, found in sets.items()},
            "all of several turns": _alarms(everything),
        },
        "xstest": _against(
            [row for row in shipped if row["source"] == "xstest" and row["label"] == "harmful"],
            [row for row in shipped if row["source"] == "xstest" and row["label"] != "harmful"],
        ),
        "shipped_on": {
            "xstest, safe prompts": _alarms(
                [row for row in shipped if row["source"] == "xstest" and row["label"] != "harmful"]
            ),
            "xstest, contrasts": _alarms(
                [row for row in shipped if row["source"] == "xstest" and row["label"] == "harmful"]
            ),
            "msts, English text only": _alarms([row for row in shipped if row["part"] == "msts text only"]),
            "safedialbench_zh (Chinese)": _alarms(
                [row for row in shipped if row["source"] == "safedialbench_zh"]
            ),
        },
    }  # fmt: skip


def _against(
    harmful: Sequence[Score], harmless: Sequence[Score], score: Callable[[Score], float] | None = None
) -> dict[str, Any]:
    score = score or _score_of("embedded")
    return {
        "harmful": len(harmful),
        "harmless": len(harmless),
        **compare(_scored(harmful, score), _scored(harmless, score)),
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
    return lambda row: float(row["baselines"][moderator])


def _scored(rows: Sequence[Score], score: Callable[[Score], float]) -> Scored:
    return Scored(
        scores=np.array([score(row) for row in rows], np.float64),
        clusters=[f"{row['source']}:{row['cluster']}" for row in rows],
    )


def _flagged(file: Mapping[str, Any]) -> list[Score]:
    return [{**row, "threshold": file["thresholds"]["default"]} for row in file["scores"]]


def _by_part(rows: Iterable[Score]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for row in rows:
        found.setdefault(str(row["part"]), []).append(row)
    return dict(sorted(found.items()))


def _by_source(rows: Iterable[Score]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for row in rows:
        found.setdefault(str(row["source"]), []).append(row)
    return dict(sorted(found.items()))


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing. Run `python -m training all`, or the stage that writes it."
        )
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
