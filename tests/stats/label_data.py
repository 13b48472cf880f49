"""Label matrices for the tests of `safemt.core`: from a population with known truth, and of any shape."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from safemt.stats.metrics import ABSENT, SAFE, UNGRADED, UNSAFE, LabelMatrix, instability, round_weights

ROUNDS = (1, 2, 4, 6, 8)
CURVES = {
    "rising": (0.15, 0.22, 0.36, 0.47, 0.55),
    "flat": (0.3, 0.3, 0.3, 0.3, 0.3),
    "steep": (0.05, 0.10, 0.45, 0.70, 0.80),
}


def matrix_of(rows: Sequence[Sequence[int]], rounds: Sequence[int] = ROUNDS) -> LabelMatrix:
    codes = np.asarray(rows, dtype=np.int8).reshape(len(rows), len(rounds))
    return LabelMatrix(tuple(f"q{row}" for row in range(len(rows))), tuple(rounds), codes)


@dataclasses.dataclass(frozen=True)
class Population:
    """Queries whose rounds hang together: in each round a query goes by its own lasting threshold with
    probability `tie`, else by a fresh one, and is unsafe where the threshold lies under the curve."""

    curve: tuple[float, ...]
    tie: float

    @functools.cached_property
    def patterns(self) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """All sequences of labels and their exact probabilities: given the lasting threshold, rounds are
        independent, and their probabilities are constant between two neighbouring points of the curve."""
        count = len(self.curve)
        rows = (np.arange(2**count)[:, np.newaxis] >> np.arange(count)) & 1
        edges = np.unique([0.0, *self.curve, 1.0])
        chances = np.zeros(len(rows))
        for low, high in itertools.pairwise(edges):
            curve = np.asarray(self.curve)
            unsafe = self.tie * ((low + high) / 2 < curve) + (1 - self.tie) * curve
            chances += (high - low) * np.prod(np.where(rows == 1, unsafe, 1 - unsafe), axis=1)
        return rows.astype(np.int8), chances / chances.sum()

    def draw(self, queries: int, generator: np.random.Generator) -> LabelMatrix:
        """Queries drawn at random, in the order of their sequences."""
        rows, chances = self.patterns
        codes = np.repeat(rows, generator.multinomial(queries, chances), axis=0)
        return LabelMatrix(("",) * queries, ROUNDS, codes)

    @property
    def pooled(self) -> float:
        return float(np.mean(self.curve))

    @property
    def si(self) -> float:
        rows, chances = self.patterns
        wavering = float(np.dot(chances, instability(matrix_of(rows.tolist()))))
        return float(1 - round_weights(ROUNDS) @ np.asarray(self.curve)) * (1 - wavering)


codes = st.sampled_from([ABSENT, UNGRADED, SAFE, UNSAFE])


@st.composite
def matrices(draw: st.DrawFn, *, codes: st.SearchStrategy[int] = codes, min_queries: int = 0) -> LabelMatrix:
    rounds = sorted(draw(st.sets(st.integers(1, 12), max_size=5)))
    row = st.lists(codes, min_size=len(rounds), max_size=len(rounds))
    return matrix_of(draw(st.lists(row, min_size=min_queries, max_size=9)), rounds)


def assert_finite(value: object) -> None:
    """No NaN and no infinity anywhere in a public result."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            assert_finite(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            assert_finite(item)
    elif isinstance(value, float):
        assert type(value) is float
        assert math.isfinite(value)
    else:
        assert value is None or isinstance(value, int | str)
