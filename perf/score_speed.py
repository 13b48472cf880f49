"""How long ASR and Safety Index with their intervals take, against the published loop run once per replicate.

    python perf/score_speed.py

Both sides compute ASR by round and SI of 2,000 queries by 5 rounds for 1,000 bootstrap replicates, on one
thread, in turns within one process; medians are printed. The loop is the published script's, in plain
Python; it is run for 20 replicates and multiplied up, since its time is the same for each.
"""

import os

# Before numpy is loaded: one thread, so that the figure does not depend on the machine's cores.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import math
import random
import statistics
import sys
import time
from collections.abc import Callable

from safemt.stats.intervals import bootstrap
from safemt.stats.metrics import label_matrix, safety_index_compat

ROUNDS = (1, 2, 4, 6, 8)
CURVE = (0.15, 0.22, 0.36, 0.47, 0.55)
QUERIES = 2000
REPLICATES = 1000
LOOPED = 20
REPEATS = 7

Sequences = dict[str, dict[int, str]]


def made_up_labels(seed: int) -> Sequences:
    """Labels by query and round; the rounds of a query mostly share one threshold."""
    generator = random.Random(seed)
    labels: Sequences = {}
    for query in range(QUERIES):
        lasting = generator.random()
        labels[f"q{query}"] = {
            k: "unsafe" if (lasting if generator.random() < 0.8 else generator.random()) < asr else "safe"
            for k, asr in zip(ROUNDS, CURVE, strict=True)
        }
    return labels


def published_loop(queries: list[dict[int, str]]) -> tuple[list[float], float]:
    """ASR by round and SI, as the published script computes them."""
    asr = []
    for k in ROUNDS:
        graded = [labels[k] for labels in queries if labels[k] in ("safe", "unsafe")]
        asr.append(graded.count("unsafe") / len(graded))
    total = sum(math.exp(-k) for k in ROUNDS)
    attack_free = 1 - sum(math.exp(-k) / total * share for k, share in zip(ROUNDS, asr, strict=True))
    deviations = []
    for labels in queries:
        sequence = [1 if labels[k] == "unsafe" else 0 for k in ROUNDS]
        since = sequence[sequence.index(1) :] if 1 in sequence else []
        mean = sum(since) / len(since) if since else 0.0
        deviations.append(math.sqrt(sum((x - mean) ** 2 for x in since) / len(since)) if since else 0.0)
    return asr, round(attack_free * (1 - sum(deviations) / len(deviations)), 4)


def seconds(task: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def main() -> None:
    """Time both sides in turns and print the medians."""
    labels = made_up_labels(seed=1)
    rows = [(query, k, label) for query, by_round in labels.items() for k, label in by_round.items()]
    queries = list(labels.values())
    if published_loop(queries)[1] != safety_index_compat(rows):
        sys.exit("The two sides do not compute the same Safety Index: the times would mean nothing.")
    matrix = label_matrix(rows)
    generator = random.Random(2)

    def loop() -> None:
        for _ in range(LOOPED):
            published_loop(generator.choices(queries, k=QUERIES))

    ours, with_matrix, theirs = [], [], []
    for _ in range(REPEATS):
        ours.append(seconds(lambda: bootstrap(matrix, replicates=REPLICATES)))
        with_matrix.append(seconds(lambda: bootstrap(label_matrix(rows), replicates=REPLICATES)))
        theirs.append(seconds(loop) / LOOPED * REPLICATES)
    fast, whole, plain = (statistics.median(times) for times in (ours, with_matrix, theirs))
    sys.stdout.write(
        f"{QUERIES:,} queries x {len(ROUNDS)} rounds, {REPLICATES:,} replicates, median of {REPEATS}\n"
        f"safemt bootstrap                   {fast * 1e3:10.1f} ms\n"
        f"  with arranging the labels        {whole * 1e3:10.1f} ms\n"
        f"published loop, resampled          {plain * 1e3:10.1f} ms"
        f"  ({LOOPED} replicates measured, multiplied to {REPLICATES:,})\n"
        f"ratio                              {plain / whole:10.0f}   (labels arranged, too)\n"
    )


if __name__ == "__main__":
    main()
