"""From results to JSON documents: one function for all types.

A type whose document is not simply its fields says so in a `Shape`: as the class attribute `SHAPE`, or here
where a type of `stats/` has another name for a field than the document does.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from safemt.stats.alerts import Alerts
from safemt.stats.comparison import Comparison, Difference
from safemt.stats.detection import AtThreshold, Ranking, RecallAt
from safemt.stats.detection_comparison import DetectionComparison
from safemt.stats.intervals import Interval
from safemt.stats.judge_error import Correction, PredictionPowered
from safemt.stats.reliability import Reliability
from safemt.stats.trend import Bound, FirstUnsafe, Trend


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the document of a type differs from its fields."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Field → key."""
    without: tuple[str, ...] = ()
    """Fields that are left out."""
    optional: tuple[str, ...] = ()
    """Fields that are left out while they hold nothing."""
    extra: tuple[str, ...] = ()
    """Properties that are told, too."""
    flat: str = ""
    """The field whose estimate is told as its value, with `interval` beside it."""
    merged: str = ""
    """The field whose document becomes part of this one."""
    zipped: tuple[str, str, str] | None = None
    """Key, field of keys, field of values: two fields that become one mapping."""
    pairs: tuple[str, ...] = ()
    """Fields of pairs that become mappings."""
    by: str = ""
    """The field by which a sequence of this type becomes a mapping."""


SHAPES: Final[Mapping[type, Shape]] = {
    Alerts: Shape(
        names={
            "turn": "first_alert_turn",
            "lead": "turns_before_the_last",
            "early": "before_the_last_turn",
        },
        pairs=("by_turn",),
    ),
    AtThreshold: Shape(without=("threshold",)),
    Bound: Shape(names={"if_safe": "safe", "if_unsafe": "unsafe"}),
    Comparison: Shape(names={"pooled": "asr", "si": "safety_index"}, zipped=("turns", "rounds", "by_round")),
    Correction: Shape(names={"estimate": "asr"}),
    DetectionComparison: Shape(zipped=("recall", "rates", "recalls")),
    Difference: Shape(names={"value": "difference", "p_value": "p"}),
    FirstUnsafe: Shape(zipped=("turns", "rounds", "by_round")),
    PredictionPowered: Shape(names={"estimate": "asr"}),
    Ranking: Shape(names={"recalls": "recall"}, without=("harmful", "benign")),
    RecallAt: Shape(names={"estimate": "recall", "benign": "independent_benign"}, by="rate"),
    Reliability: Shape(names={"error": "calibration_error"}),
    Trend: Shape(names={"slope": "slope_per_doubling"}),
}
_PLAIN: Final = Shape()


def document(value: Any) -> Any:
    """`value` as JSON has it: dataclasses and mappings as objects, an `Estimate` with its interval."""
    if isinstance(value, Interval):
        return [value.low, value.high]
    if isinstance(value, Mapping):
        return {_key(key): document(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        by = _shape(type(value[0])).by if value else ""
        return {_key(getattr(e, by)): document(e) for e in value} if by else [document(e) for e in value]
    if is_dataclass(value):
        return _object(value, _shape(type(value)))
    return str(value) if isinstance(value, str | Path) else value


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """A document as a file holds it. What UTF-8 cannot hold (in a path, say) becomes a JSON escape."""
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _object(value: Any, shape: Shape) -> dict[str, Any]:
    found: dict[str, Any] = {}
    passed = {*shape.without, shape.by}
    if shape.zipped:
        key, keys, values = shape.zipped
        found[key] = document(dict(zip(getattr(value, keys), getattr(value, values), strict=True)))
        passed |= {keys, values}
    for name in (*(each.name for each in fields(value)), *shape.extra):
        held = getattr(value, name)
        if name in passed or (name in shape.optional and not held and held != 0):
            continue
        if name == shape.flat:
            found[shape.names.get(name, name)] = None if held is None else held.value
            found["interval"] = None if held is None else document(held.interval)
        elif name == shape.merged:
            found |= document(held)
        else:
            found[shape.names.get(name, name)] = document(dict(held) if name in shape.pairs else held)
    return found


def _shape(kind: type) -> Shape:
    shape: Shape = getattr(kind, "SHAPE", None) or SHAPES.get(kind, _PLAIN)
    return shape


def _key(key: Any) -> str:
    return f"{key:g}" if isinstance(key, float) else str(key)
