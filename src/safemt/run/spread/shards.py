"""Splitting a run so that several machines share it.

All rounds of a query, and its benign twin, stay together, and so do queries of which two samples make the
same request: it is asked once, as in one process. Which shard they belong to is the hash of a query's id, so
it depends neither on the machine nor on the order or the rest of the benchmark.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safemt.core.errors import UsageError
from safemt.core.schema import Sample
from safemt.run.protocol import History


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a run, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def read_shard(text: str) -> Shard:
    """The shard that `--shards` names.

    Raises:
        UsageError: it is not of the form N/M with N from 1 to M.
    """
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return Shard(int(number), int(of))
    raise UsageError(f"--shards takes N/M, such as 2/4 for the second of four parts, not {text!r}.")


def place_samples(
    samples: Sequence[Sample], shard: Shard | None, history: History
) -> list[tuple[int, Sample]]:
    """The samples of a shard (all without one), each with its position in the whole plan.

    Raises:
        UsageError: the shard is empty.
    """
    if shard is None:
        return list(enumerate(samples))
    groups = _groups(samples, history)
    number = {group: _shard_of(group, shard.of) for group in set(groups.values())}
    placed = [
        (position, sample)
        for position, sample in enumerate(samples)
        if number[groups[_query(sample)]] == shard.number
    ]
    if not placed:
        raise UsageError(
            f"Shard {shard} holds no query: there are {len(number):,} to share out. Nothing is missing "
            "without it; use fewer shards where you can."
        )
    return placed


def _groups(samples: Sequence[Sample], history: History) -> Mapping[str, str]:
    """For each query the one that its group goes by: the least of those that share a request with it."""
    leader: dict[str, str] = {}

    def lead(query: str) -> str:
        while leader[query] != query:
            leader[query] = query = leader[leader[query]]
        return query

    first: dict[tuple[object, ...], str] = {}
    for sample in samples:
        query = _query(sample)
        leader.setdefault(query, query)
        one, other = lead(query), lead(first.setdefault(_first_request(sample, history), query))
        leader[max(one, other)] = min(one, other)
    return {query: lead(query) for query in leader}


def _first_request(sample: Sample, history: History) -> tuple[object, ...]:
    """What two samples have in common if a request of one can be a request of the other."""
    texts = [message.content for message in sample.dialogue]
    if history is History.LIVE:
        del texts[1:]
    return (sample.image.sha256 if sample.image else None, *texts)


def _query(sample: Sample) -> str:
    return sample.twin_of or sample.query_id


def _shard_of(group: str, of: int) -> int:
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % of + 1
