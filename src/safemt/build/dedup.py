"""Merging queries that say the same: exact repeats of the normalised text, near repeats by MinHash and LSH.

A near repeat is looked for by LSH (datasketch) and then measured exactly, so that the library's chance
decides which pairs are compared and never which are merged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from safemt.build.queries import Ledger, Query, Reject, Stage
from safemt.build.words import grams, normal, words
from safemt.core.errors import UsageError

NEAR: Final = 0.7
"""Jaccard similarity of the sets of word 2-grams from which two queries count as one."""
_PERMUTATIONS: Final = 64
_SEED: Final = 1


def merge_queries(queries: Iterable[Query], ledger: Ledger) -> list[Query]:
    """The queries without repeats, in order; the first of each group stays and notes the others' places.

    A benign twin or an image that only a repeat had is handed to the one that stays.

    Raises:
        UsageError: the library for near repeats is not installed.
    """
    kept: dict[str, Query] = {}
    for query in queries:
        key = normal(query.text)
        first = kept.get(key)
        if first is None:
            kept[key] = query
        else:
            kept[key] = _merged(first, query, "exact_duplicate", "the same words", ledger)
    return _merge_near(list(kept.values()), ledger)


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of two texts' sets of word 2-grams, with the words' beginnings and ends marked."""
    a, b = _shingles(first), _shingles(second)
    return len(a & b) / len(a | b) if a | b else 1.0


def _merge_near(queries: Sequence[Query], ledger: Ledger) -> list[Query]:
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as error:
        raise UsageError(
            "needs_datasketch",
            "Finding near duplicates needs the builder's extra packages: pip install 'safemt[build]'.",
        ) from error
    # A lower threshold than the one that decides: LSH misses some pairs at its own threshold.
    index = MinHashLSH(threshold=NEAR - 0.2, num_perm=_PERMUTATIONS)
    kept: list[Query] = []
    for query in queries:
        sketch = MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        sketch.update_batch([" ".join(gram).encode() for gram in sorted(_shingles(query.text))])
        candidates = sorted(int(key) for key in index.query(sketch))
        best = max(candidates, key=lambda n: (similarity(kept[n].text, query.text), -n), default=None)
        if best is not None and (measured := similarity(kept[best].text, query.text)) >= NEAR:
            detail = f"{measured:.2f} of the word pairs are the same"
            kept[best] = _merged(kept[best], query, "near_duplicate", detail, ledger)
            continue
        index.insert(str(len(kept)), sketch)
        kept.append(query)
    return kept


def _merged(first: Query, second: Query, reason: str, detail: str, ledger: Ledger) -> Query:
    ledger.add(
        Reject(stage=Stage.MERGING, reason=reason, place=second.raw.place, detail=detail, kept=first.id)
    )
    raw = first.raw
    if raw.picture is None and second.raw.picture is not None:
        raw = replace(raw, picture=second.raw.picture, key_phrase=second.raw.key_phrase)
    return replace(
        first,
        raw=raw,
        merged=(*first.merged, second.raw.place),
        twin_text=first.twin_text or second.twin_text,
    )


def _shingles(text: str) -> set[tuple[str, ...]]:
    return set(grams(["^", *words(text), "$"], 2))
