"""Dialogues whose source gives no label, or a noisy one: CoSafe and hh-rlhf.

CoSafe's are corrected by a reader's list (`data/cosafe.yaml`). hh-rlhf has none: a reader sorted 650 of its
dialogues (`data/hh.yaml`). Labels of the rest (`data/weak.json`) were made once, from two signs: the risk
that the first shipped model gave the dialogue, and how many of its answers refuse or object. Rows on which
the two disagree were left out.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from safemt.build.screening import minors_and_sex
from training.queries import DATA, load_yaml
from training.sources import Row

DOUBTFUL: Final = (0.6, 0.25)
"""Target and weight of a row that the reader was not sure about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A dialogue with what its last turn is taken for."""

    row: Row
    harmful: float
    weight: float
    support: float = 0.0


def weak_dialogues(rows: Sequence[Row]) -> Iterator[Labelled]:
    """The dialogues of CoSafe and hh-rlhf that have a label worth learning from."""
    for row in rows:
        if row.source not in {"cosafe", "hh_rlhf_harmless"} or minors_and_sex(*row.turns):
            continue
        if row.source == "cosafe":
            yield _of_cosafe(row)
        else:
            yield from _of_hh(row)


def _of_cosafe(row: Row) -> Labelled:
    target, weight = {
        "harmful": (1.0, 1.0), "harmless": (0.0, 0.6), "doubtful": DOUBTFUL, "support": (0.0, 0.5),
    }[sorted_as(row.id)]  # fmt: skip
    support = float(sorted_as(row.id) == "support")
    return Labelled(row=row, harmful=target, weight=weight, support=support)


def sorted_as(cosafe_id: str) -> str:
    """What the reader took a row of CoSafe for: `harmful`, `harmless`, `doubtful` or `support`."""
    name, number = cosafe_id.rsplit("-", 1)
    lists: dict[str, Any] = load_yaml("cosafe.yaml")[name]
    place = int(number)
    if "all_doubtful" in lists or place in lists.get("doubtful", ()):
        return "doubtful"
    if place in lists.get("support", ()):
        return "support"
    if "all_harmless_but" in lists:
        return "harmful" if place in lists["all_harmless_but"] else "harmless"
    return "harmless" if place in lists["harmless"] else "harmful"


def _of_hh(row: Row) -> Iterator[Labelled]:
    lists = load_yaml("hh.yaml")
    place = int(row.id.rsplit("-", 1)[1])
    if any(first <= place <= last for first, last in lists["read"]):
        for name, harmful, support in (("harmful", 1.0, 0.0), ("harmless", 0.0, 0.0), ("support", 0.0, 1.0)):
            if place in lists[name]:
                yield Labelled(row=row, harmful=harmful, weight=0.9, support=support)
    elif row.id in _weak():
        yield Labelled(row=row, harmful=_weak()[row.id], weight=0.35)


@cache
def _weak() -> dict[str, float]:
    found: dict[str, float] = json.loads((DATA / "weak.json").read_text(encoding="utf-8"))
    return found
