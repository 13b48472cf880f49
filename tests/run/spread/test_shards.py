"""Splitting a run: what stays together, that nothing is lost or doubled, and that it depends on ids alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safemt.core.errors import UsageError
from safemt.core.schema import Message, Sample
from safemt.core.taxonomy import Scenario
from safemt.run.protocol import History
from safemt.run.spread.shards import Shard, place_samples, read_shard


def sample(query: str, turns: int = 1, *, twin_of: str | None = None, texts: tuple[str, ...] = ()) -> Sample:
    said = texts or tuple(f"{query} at {turns}, {place}" for place in range(2 * turns - 1))
    dialogue = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(said))
    return Sample(
        query_id=query,
        turns=turns,
        scenario=Scenario.FRAUD,
        question="?",
        dialogue=dialogue,
        twin_of=twin_of,
    )


def shares(
    samples: list[Sample], of: int, history: History = History.SCRIPTED
) -> list[list[tuple[int, Sample]]]:
    listed = []
    for number in range(1, of + 1):
        try:
            listed.append(place_samples(samples, Shard(number, of), history))
        except UsageError:
            listed.append([])
    return listed


MANY = [
    each
    for number in range(50)
    for each in (
        sample(f"q{number}"),
        sample(f"q{number}", 2),
        sample(f"q{number}-twin", twin_of=f"q{number}"),
    )
]


@given(st.integers(1, 9), st.sampled_from(list(History)))
def test_every_sample_is_in_one_shard_in_its_place_of_the_whole_plan(of: int, history: History) -> None:
    placed = sorted((position, each.id) for share in shares(MANY, of, history) for position, each in share)
    assert placed == [(position, each.id) for position, each in enumerate(MANY)]


def test_all_rounds_of_a_query_and_its_twin_stay_together() -> None:
    for share in shares(MANY, 7):
        queries = [each.twin_of or each.query_id for _, each in share]
        assert all(queries.count(query) == 3 for query in queries)
        assert [position for position, _ in share] == sorted(position for position, _ in share)


def test_the_shard_of_a_query_depends_on_neither_order_nor_the_rest() -> None:
    def shard_of(samples: list[Sample]) -> dict[str, int]:
        return {each.id: n for n, share in enumerate(shares(samples, 4)) for _, each in share}

    whole = shard_of(MANY)
    assert shard_of(random.Random(1).sample(MANY, len(MANY))) == whole
    part = shard_of(MANY[:30])
    assert part == {name: whole[name] for name in part}
    # Fixed for good, by SHA-256: machines with another version of safemt must agree.
    assert [whole[f"q{number}@1"] for number in range(6)] == [3, 2, 3, 3, 3, 1]


def test_queries_that_make_the_same_request_stay_together() -> None:
    same = [sample(f"q{number}", texts=("The same",)) for number in range(12)]
    assert sorted(len(share) for share in shares(same, 4)) == [0, 0, 0, 12]
    begin_alike = [
        sample(f"q{number}", 2, texts=("The same", "Yes?", f"Something of {number}")) for number in range(12)
    ]
    assert sorted(len(share) for share in shares(begin_alike, 4, History.LIVE)) == [0, 0, 0, 12]
    assert max(len(share) for share in shares(begin_alike, 4)) < 12


def test_chains_of_shared_requests_stay_together_in_any_order() -> None:
    chain = [
        sample(f"q{number}", turns, texts=(f"link {number + turns}",) * (2 * turns - 1))
        for number in range(8)
        for turns in (1, 2)
    ]
    for seed in range(5):
        mixed = random.Random(seed).sample(chain, len(chain))
        assert sorted(len(share) for share in shares(mixed, 3, History.LIVE)) == [0, 0, 16]


def test_without_shards_all_samples_keep_their_places() -> None:
    assert place_samples(MANY, None, History.SCRIPTED) == list(enumerate(MANY))


def test_an_empty_shard_is_said() -> None:
    with pytest.raises(UsageError, match="holds no query: there are 1 to share out"):
        place_samples([sample("q0")], Shard(1, 4), History.SCRIPTED)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/", "/2", "1/2/3", "-1/2", "a/b", "1.0/2", "½/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shards takes N/M"):
        read_shard(text)


def test_a_shard_is_written_as_it_is_read() -> None:
    assert str(read_shard("2/4")) == "2/4"
