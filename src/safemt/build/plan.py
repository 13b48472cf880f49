"""Which method each dialogue takes, so that scenarios, methods and numbers of turns stay in balance."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from safemt.build.methods.registry import METHODS
from safemt.build.queries import Query
from safemt.core.errors import UsageError
from safemt.core.taxonomy import Method, Scenario


class MethodPlan:
    """Hands out methods by quota: every method the same share of all dialogues of two turns or more.

    `hybrid` needs three turns, so it takes its share from the longer ones alone. Within a scenario and a
    number of turns the method furthest behind its quota comes next; a query meets different methods where it
    can.
    """

    def __init__(self, methods: Sequence[Method], turns: Sequence[int]) -> None:
        """Work out the quotas.

        Raises:
            UsageError: for some number of turns no method is possible.
        """
        self._quota = method_quotas(methods, turns)
        self._given: Counter[tuple[Scenario, int, Method]] = Counter()
        self._overall: Counter[tuple[int, Method]] = Counter()

    def assign(self, scenario: Scenario) -> dict[int, Method]:
        """The methods of the next query of a scenario, by number of turns. Take it back with `release`."""
        chosen: dict[int, Method] = {}
        for turns, quota in self._quota.items():
            seen = 1 + sum(self._given[scenario, turns, method] for method in quota)
            overall = 1 + sum(self._overall[turns, method] for method in quota)

            def behind(method: Method) -> tuple[float, bool, float]:
                here = quota[method] * seen - self._given[scenario, turns, method]  # noqa: B023
                whole = quota[method] * overall - self._overall[turns, method]  # noqa: B023
                return round(here + 0.5 * whole, 6), method not in chosen.values(), quota[method]  # noqa: B023

            method = max(quota, key=behind)
            chosen[turns] = method
            self._count(scenario, turns, method, 1)
        return chosen

    def release(self, scenario: Scenario, chosen: Mapping[int, Method]) -> None:
        """Take back an assignment whose query was rejected."""
        for turns, method in chosen.items():
            self._count(scenario, turns, method, -1)

    def _count(self, scenario: Scenario, turns: int, method: Method, by: int) -> None:
        self._given[scenario, turns, method] += by
        self._overall[turns, method] += by


def method_quotas(methods: Sequence[Method], turns: Sequence[int]) -> dict[int, dict[Method, float]]:
    """The share of each method at each number of turns from two up; every row sums to 1.

    Raises:
        UsageError: for some number of turns no method is possible.
    """
    lengths = [k for k in turns if k > 1]
    target = len(lengths) / len(methods)
    room = {m: [k for k in lengths if k >= METHODS[m].fewest_turns] for m in methods}
    quotas: dict[int, dict[Method, float]] = {k: {} for k in lengths}
    late = [m for m in methods if len(room[m]) < len(lengths)]
    for method in late:
        share = min(1.0, target / len(room[method])) if room[method] else 0.0
        for k in room[method]:
            quotas[k][method] = share
    for k, quota in quotas.items():
        others = [m for m in methods if m not in late]
        rest = 1.0 - sum(quota.values())
        if not others and rest > 0:
            if not quota:
                raise UsageError(
                    f"--methods {','.join(methods)} has no form at {k} turns (hybrid needs a worked pair "
                    "and a "
                    "dialogue, three turns at least). Add a method or leave out that number of turns."
                )
            for method in quota:
                quota[method] += rest / len(quota)
        for method in others:
            quota[method] = max(0.0, rest) / len(others)
    return quotas


def selection_order(queries: Sequence[Query], seed: int) -> list[Query]:
    """The queries in the order in which they are taken: scenarios in rotation, each shuffled by the seed.

    A prefix of any length is as balanced over the scenarios as the sources allow. The order depends on the
    seed and the queries' ids alone.
    """
    queues: dict[Scenario, list[Query]] = {}
    for query in sorted(queries, key=lambda q: q.id):
        queues.setdefault(query.scenario, []).append(query)
    for scenario, queue in queues.items():
        random.Random(f"{seed}:{scenario.value}").shuffle(queue)
    order = sorted(queues)
    random.Random(seed).shuffle(order)
    longest = max((len(queue) for queue in queues.values()), default=0)
    return [
        queues[scenario][position]
        for position in range(longest)
        for scenario in order
        if position < len(queues[scenario])
    ]
