"""Selecting a part of a benchmark: the same queries at every number of turns, spread over the scenarios."""

import random
from collections.abc import Sequence

from safemt.core.errors import BenchmarkError
from safemt.core.schema import Sample
from safemt.core.taxonomy import Scenario


def select_samples(
    samples: Sequence[Sample], *, turns: Sequence[int] | None = None, limit: int | None = None, seed: int = 0
) -> list[Sample]:
    """Put samples in the order to run them: all rounds of a query together, the scenarios in rotation.

    Any prefix of the result is balanced over the scenarios, so a run that stops half-way is still
    meaningful. `limit` keeps that many queries, each with its benign twins; `turns` keeps those numbers of
    turns. The order depends only on `seed` and the query ids, not on the order of the files.

    Raises:
        BenchmarkError: `unknown_turns` if no sample has one of the `turns`.
    """
    present = {sample.turns for sample in samples}
    absent = sorted(set(turns or ()) - present)
    if absent:
        raise BenchmarkError(
            "unknown_turns",
            f"The benchmark has no dialogues of {_list(absent)} turns; it has {_list(sorted(present))}. "
            "Choose `selection.turns` among these.",
            turns=absent,
            known=sorted(present),
        )
    by_query: dict[str, list[Sample]] = {}
    for sample in samples:
        if turns is None or sample.turns in turns:
            by_query.setdefault(sample.twin_of or sample.query_id, []).append(sample)
    chosen = _rotate(by_query, seed)[:limit]
    return [
        sample
        for query_id in chosen
        for sample in sorted(by_query[query_id], key=lambda s: (s.twin_of is not None, s.query_id, s.turns))
    ]


def _rotate(by_query: dict[str, list[Sample]], seed: int) -> list[str]:
    queues: dict[Scenario, list[str]] = {}
    for query_id in sorted(by_query):
        queues.setdefault(by_query[query_id][0].scenario, []).append(query_id)
    for scenario, queue in queues.items():
        random.Random(f"{seed}:{scenario.value}").shuffle(queue)
    names = sorted(queues)
    random.Random(seed).shuffle(names)
    order: list[str] = []
    for position in range(max((len(queue) for queue in queues.values()), default=0)):
        order.extend(queues[name][position] for name in names if position < len(queues[name]))
    return order


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
