"""Which method each dialogue takes, so that scenarios, methods and numbers of turns keep their shares."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from safemt.build.dealing.methods import FEWEST_TURNS
from safemt.build.queries import Query
from safemt.core.errors import UsageError
from safemt.core.taxonomy import Method, Scenario

BALANCED: Final = "balanced"
PUBLISHED: Final = "published"
PUBLISHED_SHARES: Final[Mapping[bool, Mapping[Method, float]]] = {
    True: {Method.GRADUAL: 88, Method.ROLE_PLAY: 3, Method.IN_CONTEXT: 10},
    False: {Method.GRADUAL: 64, Method.ROLE_PLAY: 31, Method.IN_CONTEXT: 1, Method.HYBRID: 4},
}
"""Shares read off the published dialogues: of two turns (True), and of four. Longer ones take those of four
turns; none of them was published when the shares were read."""

Quotas = Mapping[int, Mapping[Method, float]]
"""The share of each method at each number of turns from two up; every row sums to 1."""


class MethodPlan:
    """Hands out methods by quota.

    Within a scenario and a number of turns the method furthest behind its quota comes next; a query meets
    different methods where it can.
    """

    def __init__(self, methods: Sequence[Method], turns: Sequence[int], mix: str = BALANCED) -> None:
        """Work out the quotas.

        Raises:
            UsageError: for some number of turns no method is possible (`no_method`), or the mix cannot be
                read (`bad_method_mix`).
        """
        self.quotas = method_quotas(methods, turns, mix)
        self._given: Counter[tuple[Scenario, int, Method]] = Counter()
        self._overall: Counter[tuple[int, Method]] = Counter()

    def assign(self, scenario: Scenario) -> dict[int, Method]:
        """The methods of the next query of a scenario, by number of turns. Take it back with `release`."""
        chosen: dict[int, Method] = {}
        for turns, quota in self.quotas.items():
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


def method_quotas(methods: Sequence[Method], turns: Sequence[int], mix: str = BALANCED) -> Quotas:
    """The share of each method at each number of turns.

    Args:
        methods: The methods to use.
        turns: The numbers of turns of the build.
        mix: `balanced`: the same share of all dialogues for every method. `published`: the shares of the
            published data. Or weights, such as `gradual=3,role_play=1`. `hybrid` needs three turns; at two,
            its share goes to the others.

    Raises:
        UsageError: no method is possible at some number of turns, or the mix cannot be read.
    """
    lengths = [k for k in turns if k > 1]
    for k in lengths:
        if not any(FEWEST_TURNS[method] <= k for method in methods):
            raise UsageError(
                "no_method",
                f"No method of `methods` has a form at {k} turns: hybrid holds a worked example and a "
                f"dialogue, "
                "three turns at least. Add a method, or leave out that number of turns.",
                turns=k,
                methods=[method.value for method in methods],
            )
    if mix == BALANCED:
        return _balanced(methods, lengths)
    weights = None if mix == PUBLISHED else _weights(mix)
    quotas = {}
    for k in lengths:
        shares = PUBLISHED_SHARES[k == 2] if weights is None else weights
        possible = {m: shares.get(m, 0.0) for m in methods if FEWEST_TURNS[m] <= k}
        total = sum(possible.values())
        if not total:
            possible, total = dict.fromkeys(possible, 1.0), float(len(possible))
        quotas[k] = {method: share / total for method, share in possible.items() if share}
    return quotas


def _weights(mix: str) -> Mapping[Method, float]:
    try:
        found = {
            Method(name.strip()): float(value)
            for name, _, value in (part.partition("=") for part in mix.split(","))
        }
    except ValueError:
        found = {}
    if not found or min(found.values()) < 0 or not 0 < sum(found.values()) < float("inf"):
        raise UsageError(
            "bad_method_mix",
            f"`method_mix` is balanced, published, or weights such as gradual=3,role_play=1, not {mix!r}.",
            mix=mix,
        )
    return found


def _balanced(methods: Sequence[Method], lengths: Sequence[int]) -> Quotas:
    """Equal shares over all lengths; a method that lacks a length takes more of the others."""
    target = len(lengths) / len(methods)
    room = {m: [k for k in lengths if k >= FEWEST_TURNS[m]] for m in methods}
    quotas: dict[int, dict[Method, float]] = {k: {} for k in lengths}
    late = [m for m in methods if len(room[m]) < len(lengths)]
    for method in late:
        share = min(1.0, target / len(room[method])) if room[method] else 0.0
        for k in room[method]:
            quotas[k][method] = share
    for quota in quotas.values():
        others = [m for m in methods if m not in late]
        rest = 1.0 - sum(quota.values())
        if not others:
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
