"""Documents come from their types."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from safemt.core.taxonomy import Label
from safemt.report.document import Shape, document
from safemt.stats.comparison import Comparison
from safemt.stats.intervals import Estimate, Interval
from safemt.stats.trend import Bound, FirstUnsafe

E = Estimate(0.5, Interval(0.25, 0.75))


@dataclass(frozen=True)
class Inner:
    SHAPE: ClassVar = Shape(by="rate")

    rate: float
    n: int


@dataclass(frozen=True)
class Outer:
    SHAPE: ClassVar = Shape(
        names={"inner": "rates"}, without=("secret",), optional=("maybe",), extra=("twice",), flat="asr",
        merged="more", pairs=("by_turn",),
    )  # fmt: skip

    asr: Estimate | None
    inner: tuple[Inner, ...] = (Inner(0.05, 3),)
    secret: str = "x"
    maybe: int | None = None
    more: Bound = field(default_factory=lambda: Bound(0.1, 0.9))
    by_turn: tuple[tuple[int, Label], ...] = ((1, Label.SAFE),)
    path: Path = Path("a/b")
    scores: dict[int, Estimate] = field(default_factory=lambda: {8: E})

    @property
    def twice(self) -> int:
        return 2


def test_a_shape_says_how_a_document_differs_from_the_fields() -> None:
    found = document(Outer(E))
    assert json.loads(json.dumps(found)) == {
        "asr": 0.5,
        "interval": [0.25, 0.75],
        "rates": {"0.05": {"n": 3}},
        "safe": 0.1,
        "unsafe": 0.9,
        "by_turn": {"1": "safe"},
        "path": "a/b",
        "scores": {"8": {"value": 0.5, "interval": [0.25, 0.75]}},
        "twice": 2,
    }
    assert document(Outer(None, maybe=0)) | {"rates": 0} == {
        **found, "asr": None, "interval": None, "maybe": 0, "rates": 0,
    }  # fmt: skip


def test_figures_by_round_become_a_mapping() -> None:
    first = FirstUnsafe(rounds=(1, 8), by_round=(E, None), never=None, queries=4)
    assert document(first) == {"turns": {"1": document(E), "8": None}, "never": None, "queries": 4}
    compared = document(Comparison(rounds=(1,), by_round=(None,), pooled=None, si=None, unpaired=(0, 2)))
    assert compared == {
        "turns": {"1": None}, "asr": None, "safety_index": None, "unpaired": [0, 2], "over_refusal": None,
    }  # fmt: skip
