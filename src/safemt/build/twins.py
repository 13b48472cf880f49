"""Benign twins: for each query a harmless one on the same subject.

From the source's contrast pair where there is one (XSTest); else rewritten by a rule: the same act or
question, asked by somebody who wants to prevent it, to help those it hurts, or to learn to answer it well.
"""

import random
import re
from collections.abc import Iterable, Mapping
from typing import Final

from safemt.build.phrases import core_of
from safemt.build.queries import Query, RawQuery
from safemt.build.words import load_data, words
from safemt.core.taxonomy import Scenario

_ADVICE: Final = frozenset({Scenario.FINANCIAL_ADVICE, Scenario.HEALTH_CONSULTATION, Scenario.LEGAL_OPINION})
_QUESTION: Final = re.compile(
    r"(?:what|why|who|whom|whose|where|when|which|how|is|are|was|were|do|does|did|can|could|should|would|will"
    r"|has|have|may|must|am|i|you|we|he|she|they|it|the|a|an|my|your|if|there|this|these|in|as|on"
    r"|at|for|to|tell me|help me)\b",
    re.IGNORECASE,
)


def pair_twins(rows: Iterable[RawQuery]) -> Mapping[str, list[str]]:
    """The benign sides of the contrast pairs, by pair, in their order."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.pair and not row.harmful:
            found.setdefault(row.pair, []).append(row.text)
    return found


def twin_question(query: Query, seed: int, attempt: int) -> tuple[str, str]:
    """The benign twin's question and where it comes from: `pair` or `rule`."""
    if query.twin_text:
        return query.twin_text, "pair"
    chance = random.Random(f"{seed}:{query.id}:twin:{attempt}")
    frames = load_twin_frames()
    core = core_of(query.text).rstrip("?.! ")
    act = core.removeprefix("ways to ")
    if query.scenario in _ADVICE:
        kind, blank = "advice", query.text.rstrip("?.! ")
    elif act != core or not _QUESTION.match(core):
        kind, blank = "act", act[:1].lower() + act[1:] if act[1:2].islower() else act
    else:
        kind, blank = "question", query.text.rstrip("?.! ")
    return chance.choice(frames[kind]).replace("{x}", " ".join(blank.split())), "rule"


def load_twin_frames() -> Mapping[str, list[str]]:
    """The frames of the rule, by the form of the query."""
    frames: Mapping[str, list[str]] = load_data("twins.yaml")
    return frames


def length_ratio(question: str, twin: str) -> float:
    """Words of the twin's question per word of the query's."""
    return len(words(twin)) / max(1, len(words(question)))
