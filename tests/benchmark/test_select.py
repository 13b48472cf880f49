"""Choosing part of a benchmark: whole queries, in a balanced and repeatable order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.sets import make_sample, make_samples
from safemt.benchmark.select import select_samples
from safemt.core.errors import BenchmarkError
from safemt.core.schema import Sample
from safemt.core.taxonomy import Scenario

ROUNDS = (1, 2, 4)


@st.composite
def benchmarks(draw: st.DrawFn) -> list[Sample]:
    """Queries of a few scenarios, unevenly many, all at the same rounds, some with a benign twin."""
    samples: list[Sample] = []
    for scenario in draw(st.lists(st.sampled_from(Scenario), unique=True, min_size=1, max_size=4)):
        for number in range(draw(st.integers(1, 5))):
            query = [make_sample(number, k, scenario) for k in ROUNDS]
            samples += query
            if draw(st.booleans()):
                samples += [replace(s, query_id=f"{s.query_id}_twin", twin_of=s.query_id) for s in query]
    return draw(st.permutations(samples))


def queries(samples: Sequence[Sample]) -> list[str]:
    """The queries in the order in which they first come."""
    return list(dict.fromkeys(s.twin_of or s.query_id for s in samples))


many = settings(max_examples=60, deadline=None)


@many
@given(samples=benchmarks(), seed=st.integers(0, 5))
def test_without_a_limit_everything_is_chosen_once(samples: list[Sample], seed: int) -> None:
    chosen = select_samples(samples, seed=seed)
    assert Counter(s.id for s in chosen) == Counter(s.id for s in samples)
    assert select_samples(samples, limit=10_000, seed=seed) == chosen


@many
@given(samples=benchmarks(), limit=st.integers(1, 12), seed=st.integers(0, 5))
def test_a_limit_keeps_whole_queries_with_their_twins_side_by_side(
    samples: list[Sample], limit: int, seed: int
) -> None:
    chosen = select_samples(samples, limit=limit, seed=seed)
    kept = queries(chosen)
    assert len(kept) == min(limit, len(queries(samples)))
    expected = [s for s in samples if (s.twin_of or s.query_id) in kept]
    assert {s.id for s in chosen} == {s.id for s in expected}
    assert [s.twin_of or s.query_id for s in chosen] == sorted(
        (s.twin_of or s.query_id for s in chosen), key=kept.index
    )
    for query in kept:
        own = [(s.twin_of is not None, s.turns) for s in chosen if (s.twin_of or s.query_id) == query]
        assert own == sorted(own)


@many
@given(samples=benchmarks(), limit=st.integers(1, 12), seed=st.integers(0, 5))
def test_the_same_queries_are_asked_at_every_number_of_turns(
    samples: list[Sample], limit: int, seed: int
) -> None:
    chosen = select_samples(samples, limit=limit, seed=seed)
    by_turns = {k: {s.query_id for s in chosen if s.turns == k} for k in ROUNDS}
    assert len({frozenset(ids) for ids in by_turns.values()}) == 1
    for k in ROUNDS:
        assert queries(select_samples(samples, turns=[k], limit=limit, seed=seed)) == queries(chosen)


@many
@given(samples=benchmarks(), seed=st.integers(0, 5))
def test_every_beginning_is_balanced_over_the_scenarios(samples: list[Sample], seed: int) -> None:
    scenario_of = {s.query_id: s.scenario for s in samples}
    left = Counter(scenario_of[query] for query in queries(samples))
    taken: Counter[Scenario] = Counter()
    for query in queries(select_samples(samples, seed=seed)):
        scenario = scenario_of[query]
        # A scenario comes again only when each other has come as often, or has nothing left.
        assert all(taken[scenario] <= taken[other] for other in left if left[other])
        taken[scenario] += 1
        left[scenario] -= 1


@many
@given(samples=benchmarks(), limit=st.integers(1, 12), seed=st.integers(0, 5), data=st.data())
def test_the_choice_depends_on_the_seed_and_the_ids_alone(
    samples: list[Sample], limit: int, seed: int, data: st.DataObject
) -> None:
    chosen = select_samples(samples, limit=limit, seed=seed)
    assert select_samples(data.draw(st.permutations(samples)), limit=limit, seed=seed) == chosen


@many
@given(samples=benchmarks(), limit=st.integers(1, 6), seed=st.integers(0, 5))
def test_a_larger_limit_goes_on_where_a_smaller_one_stopped(
    samples: list[Sample], limit: int, seed: int
) -> None:
    fewer = select_samples(samples, limit=limit, seed=seed)
    assert select_samples(samples, limit=limit + 1, seed=seed)[: len(fewer)] == fewer


def test_another_seed_chooses_other_queries() -> None:
    samples = make_samples(170, (1,))
    assert len({frozenset(queries(select_samples(samples, limit=34, seed=seed))) for seed in range(8)}) == 8


def test_seventeen_queries_are_one_of_each_scenario() -> None:
    chosen = select_samples(make_samples(170, (1, 2)), limit=17)
    assert Counter(s.scenario for s in chosen) == dict.fromkeys(Scenario, 2)


def test_turns_keeps_those_rounds() -> None:
    chosen = select_samples(make_samples(4, (1, 2, 4, 6)), turns=[4, 1])
    assert [s.turns for s in chosen] == [1, 4] * 4


@pytest.mark.parametrize(
    ("turns", "absent"),
    [([8], [8]), ([1, 6, 3], [3, 6]), ([0], [0])],
)
def test_rounds_that_are_not_there_are_refused(turns: list[int], absent: list[int]) -> None:
    with pytest.raises(BenchmarkError) as caught:
        select_samples(make_samples(2, (4, 1, 2)), turns=turns)
    assert caught.value.code == "unknown_turns"
    assert caught.value.fields == {"turns": absent, "known": [1, 2, 4]}
