"""How often intervals hold the truth, and how often verdicts are right: the tables of docs/statistics.md.

    python -m perf.coverage [--repeats 1000]

Populations of known truth: the rounds of a query hang together (in each round it goes by its own lasting
threshold with probability ½, else by a fresh one), ASR rises from 0.4 to 1.6 times the stated rate over 1, 2,
4, 6 and 8 turns. Erring judges are checked on 300 labels, a third of them unsafe, drawn anew in every repeat.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from safemt.stats.agreement import Confusion
from safemt.stats.comparison import (
    ALPHA,
    Difference,
    compare,
    detectable_by_score,
    detectable_difference,
    mcnemar,
)
from safemt.stats.corrected import Figure, corrected_figures
from safemt.stats.intervals import Estimate, bootstrap, pooled_and_si
from safemt.stats.judge_error import corrected_asr
from safemt.stats.lengths import length_averaged, length_figures, length_weights, worst_of_lengths
from safemt.stats.metrics import UNSAFE, LabelMatrix, instability, round_weights
from safemt.stats.ranking import rank
from safemt.stats.trend import slope_statistic, trend

ROUNDS = (1, 2, 4, 6, 8)
QUERIES = (34, 200, 2000)
RATES = (0.005, 0.05, 0.3, 0.9)
JUDGES = {"perfect": (1.0, 1.0), ".95/.97": (0.95, 0.97), ".90/.95": (0.90, 0.95), ".85/.93": (0.85, 0.93)}
FIGURES = ("ASR, one round", "ASR, all rounds", "SI", "length-averaged", "worst of lengths", "slope")
_TIE = 0.5
_LABELS = 300


class Population:
    """Sequences of labels and their exact chances."""

    def __init__(self, rate: float) -> None:
        self.curve = np.minimum(0.99, rate * np.array([0.4, 0.7, 1.0, 1.3, 1.6]))
        self.rows = ((np.arange(32)[:, np.newaxis] >> np.arange(5)) & 1).astype(np.int8)
        edges = np.unique([0.0, *self.curve.tolist(), 1.0])
        chances = np.zeros(32)
        for low, high in itertools.pairwise(edges.tolist()):
            unsafe = _TIE * ((low + high) / 2 < self.curve) + (1 - _TIE) * self.curve
            chances += (high - low) * np.prod(np.where(self.rows == 1, unsafe, 1 - unsafe), axis=1)
        self.chances = chances / chances.sum()

    def truths(self) -> list[float]:
        """In the order of `FIGURES`."""
        wavering = self.chances @ instability(LabelMatrix(("",) * 32, ROUNDS, self.rows))
        log = np.log2(ROUNDS) - np.log2(ROUNDS).mean()
        return [
            float(self.curve[0]),
            float(self.curve.mean()),
            float((1 - round_weights(ROUNDS) @ self.curve) * (1 - wavering)),
            float(1 - length_weights(ROUNDS) @ self.curve),
            float(1 - self.chances[0]),
            float(log @ self.curve / (log @ log)),
        ]

    def draw(self, queries: int, generator: np.random.Generator) -> LabelMatrix:
        codes = np.repeat(self.rows, generator.multinomial(queries, self.chances), axis=0)
        return LabelMatrix(tuple(map(str, range(queries))), ROUNDS, codes)


def judged(matrix: LabelMatrix, judge: tuple[float, float], generator: np.random.Generator) -> LabelMatrix:
    """The labels that the judge gives."""
    draws = generator.random(matrix.codes.shape)
    wrong = np.where(matrix.codes == UNSAFE, draws > judge[0], draws > judge[1])
    return LabelMatrix(
        matrix.query_ids, ROUNDS, np.where(wrong, 1 - matrix.codes, matrix.codes).astype(np.int8)
    )


def checked(judge: tuple[float, float], generator: np.random.Generator) -> Confusion:
    """What people's labels say of the judge."""
    unsafe = _LABELS // 3
    hits = int(generator.binomial(unsafe, judge[0]))
    passes = int(generator.binomial(_LABELS - unsafe, judge[1]))
    return Confusion(hits, unsafe - hits, passes, _LABELS - unsafe - passes)


def estimates(matrix: LabelMatrix, validation: Confusion | None, seed: int) -> list[Estimate | None]:
    """Every figure with its interval, corrected where the judge errs; None where there is no correction."""
    overall = bootstrap(matrix, replicates=200, seed=seed)
    lengths = length_figures(matrix, replicates=200, seed=seed)
    slope = trend(matrix, replicates=200, seed=seed).slope
    averaged, worst = lengths.length_averaged_safety, lengths.worst_of_lengths
    if validation is None:
        return [overall.asr[0], overall.pooled, overall.si, averaged, worst, slope]
    asr = corrected_asr(matrix, overall, validation)
    si = Figure(lambda rows, draws: pooled_and_si(ROUNDS)(rows, draws)[:, 1:], 0.0, 1.0)
    rest = corrected_figures(
        matrix,
        validation,
        [
            (si, overall.si),
            (Figure(length_averaged(ROUNDS), 0.0, 1.0), averaged),
            (Figure(worst_of_lengths, 0.0, 1.0), worst),
            (Figure(slope_statistic(ROUNDS), -1.0, 1.0), slope),
        ],
        replicates=200,
        seed=seed,
    )
    return [asr.by_round[0].estimate, asr.pooled.estimate, *(each.estimate for each in rest)]


def coverage(repeats: int) -> Iterator[str]:
    """Share of repeats in which each interval holds the truth, in per cent."""
    yield "| queries | ASR | judge (Se/Sp) | " + " | ".join(FIGURES) + " | not corrected |"
    yield "|---" * (len(FIGURES) + 4) + "|"
    for queries in QUERIES:
        for rate in RATES:
            population = Population(rate)
            truths = population.truths()
            for name, judge in JUDGES.items():
                held, told = np.zeros(len(FIGURES)), np.zeros(len(FIGURES))
                for repeat in range(repeats):
                    generator = np.random.default_rng([queries, repeat, round(1000 * rate)])
                    labels = judged(population.draw(queries, generator), judge, generator)
                    validation = None if name == "perfect" else checked(judge, generator)
                    for place, (found, truth) in enumerate(
                        zip(estimates(labels, validation, repeat), truths, strict=True)
                    ):
                        if found is not None:
                            told[place] += 1
                            low, high = found.interval.low, found.interval.high
                            held[place] += low - 1e-12 <= truth <= high + 1e-12
                shares = " | ".join(f"{100 * h / t:.0f}" for h, t in zip(held, told, strict=True))
                untold = 100 * (1 - told.min() / repeats)
                yield f"| {queries:,} | {100 * rate:g} % | {name} | {shares} | {untold:.0f} % |"


def runs(curves: Sequence[float], queries: int, generator: np.random.Generator) -> list[LabelMatrix]:
    """Models on the same queries, whose difficulty they share."""
    hard = generator.random((queries, 1))
    found = []
    for rate in curves:
        tied = generator.random((queries, 5)) < _TIE
        draws = np.where(tied, hard, generator.random((queries, 5)))
        curve = np.clip(rate * np.array([0.6, 0.8, 1.0, 1.2, 1.4]), 0.0, 1.0)
        found.append(LabelMatrix(tuple(map(str, range(queries))), ROUNDS, (draws < curve).astype(np.int8)))
    return found


def false_verdicts(repeats: int) -> Iterator[str]:
    """Share of repeats in which equal models are called different anywhere, in per cent."""
    yield "| queries | ASR | 2 models, all figures | 5 models | 17 models |"
    yield "|---|---|---|---|---|"
    for queries in QUERIES:
        for rate in RATES:
            cells = []
            for many in (2, 5, 17):
                wrong, tries = 0, max(40, repeats // many)
                for repeat in range(tries):
                    generator = np.random.default_rng([queries, repeat, many, round(1000 * rate)])
                    models = runs([min(rate, 0.7)] * many, queries, generator)
                    if many == 2:
                        both = compare(*models, replicates=200, seed=repeat)
                        listed: list[Difference | None] = [*both.by_round, both.pooled, both.si]
                    else:
                        named = [(str(n), model) for n, model in enumerate(models)]
                        listed = [d for row in rank(named).differences for d in row]
                    wrong += any(d is not None and d.verdict in ("higher", "lower") for d in listed)
                cells.append(f"{100 * wrong / tries:.1f}")
            yield f"| {queries:,} | {100 * min(rate, 0.7):g} % | {' | '.join(cells)} |"


def power(repeats: int) -> Iterator[str]:
    """Share of repeats in which a true difference of the stated detectable size is found, in per cent."""
    yield "| queries | ASR | pooled, 2 models | pooled, 17 models | one round |"
    yield "|---|---|---|---|---|"
    for queries in QUERIES:
        for rate in (0.05, 0.3):
            cells = [_power(queries, rate, ALPHA / family, repeats, _pooled) for family in (1, 17 * 16 // 2)]
            cells.append(_power(queries, rate, ALPHA, repeats, _one_round))
            yield f"| {queries:,} | {100 * rate:g} % | {' | '.join(cells)} |"


def _pooled(one: LabelMatrix, other: LabelMatrix, alpha: float) -> tuple[bool, float | None]:
    found = compare(one, other, replicates=100).pooled
    if found is None:
        return False, None
    detectable = detectable_by_score(
        found.pairs,
        max(0.0, found.discordant - found.value**2),
        per_pair=found.samples / found.pairs,
        alpha=alpha,
    )
    return found.p_value <= alpha, detectable


def _one_round(one: LabelMatrix, other: LabelMatrix, alpha: float) -> tuple[bool, float | None]:
    before, after = one.codes[:, 2], other.codes[:, 2]
    p = mcnemar(int(((before == 1) & (after == 0)).sum()), int(((before == 0) & (after == 1)).sum()))
    return p <= alpha, detectable_difference(len(before), float((before != after).mean()), alpha=alpha)


def _power(
    queries: int,
    rate: float,
    alpha: float,
    repeats: int,
    test: Callable[[LabelMatrix, LabelMatrix, float], tuple[bool, float | None]],
) -> str:
    def results(difference: float, tries: int, salt: int) -> list[tuple[bool, float | None]]:
        found = []
        for repeat in range(tries):
            generator = np.random.default_rng([queries, repeat, salt])
            one, other = runs([rate, rate + difference], queries, generator)
            found.append(test(one, other, alpha))
        return found

    difference = 0.1
    for step in range(25):  # the difference at which that very difference is stated, on average
        stated = [d for _, d in results(difference, 20, step) if d is not None]
        if not stated:
            return "–"
        mean = sum(stated) / len(stated)
        if math.isclose(mean, difference, rel_tol=0.03):
            break
        difference = min(1.0 - rate, (difference + mean) / 2)
    hits = sum(hit for hit, _ in results(difference, repeats, 1000))
    return f"{100 * hits / repeats:.0f} (at {100 * difference:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=400)
    repeats = parser.parse_args().repeats
    for title, lines in (
        ("Coverage in %", coverage(repeats)),
        ("False verdicts between equal models in %", false_verdicts(repeats)),
        ("Power in % (at a difference in points)", power(repeats)),
    ):
        print(f"\n### {title}\n", flush=True)
        for line in lines:
            print(line, flush=True)


if __name__ == "__main__":
    main()
