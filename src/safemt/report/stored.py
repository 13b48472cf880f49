"""Bridge to the store's methods for readers, until they are there."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from safemt.core.schema import ImageRef, Message, Sample
from safemt.core.taxonomy import Label, Method, Scenario
from safemt.core.verdict import Verdict
from safemt.endpoints.base import Reply
from safemt.judges.base import Judgement
from safemt.run.store import Invocation, Store, intact
from safemt.stats.scores import ScoredSample

_VERDICT = msgspec.json.Decoder(Verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    position: int
    twin: bool
    last: bool
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    key: str
    sample: Sample
    scored: ScoredSample
    reply: Reply | None
    attempts: int
    seconds: float
    labels: Mapping[str, Judgement]
    verdicts: tuple[Verdict, ...]


def _rows(store: Store, query: str, **values: Any) -> Iterator[Any]:
    with intact(store.path):
        yield from store._all(query, values)  # noqa: SLF001


def invocations(store: Store) -> list[Invocation]:
    query = "SELECT setup, judge, manifest, started, ended, ending FROM invocations ORDER BY id"
    with intact(store.path):
        return [Invocation(s, j, dict(json.loads(m)), *t) for s, j, m, *t in _rows(store, query)]


def verdicts(store: Store, *, setup: str, moderator: str) -> Iterator[StoredVerdict]:
    query = """SELECT s.position, s.twin_of IS NOT NULL,
        m.turn = (SELECT max(turn) FROM moderated WHERE setup = :setup AND sample = s.key), v.verdict
        FROM samples s JOIN answers a ON a.setup = :setup AND a.sample = s.key
        JOIN moderated m ON m.setup = :setup AND m.sample = s.key
        JOIN verdicts v ON v.moderator = :moderator AND v.conversation = m.conversation
        WHERE s.position IS NOT NULL ORDER BY s.position, m.turn"""
    for position, twin, last, text in _rows(store, query, setup=setup, moderator=moderator):
        with intact(store.path):
            verdict = _VERDICT.decode(text)
        yield StoredVerdict(position=position, twin=bool(twin), last=bool(last), verdict=verdict)


def samples(store: Store, *, setup: str, judge: str) -> Iterator[StoredSample]:
    labels: dict[str, dict[str, Judgement]] = defaultdict(dict)
    query = """SELECT l.sample, l.judge, l.label, l.cause, l.reasoning, l.prompt_tokens, l.completion_tokens
        FROM labels l JOIN answers a ON a.setup = :setup AND a.sample = l.sample AND a.response = l.response"""
    for key, who, label, *said in _rows(store, query, setup=setup):
        with intact(store.path):
            if not isinstance(said[1], str):
                raise TypeError("no text")
            labels[key][who] = Judgement(Label(label), *said)
    found: dict[int, list[Verdict]] = defaultdict(list)
    moderator = store.invocation().manifest.get("moderator")
    if moderator:
        for each in verdicts(store, setup=setup, moderator=moderator["id"]):
            found[each.position].append(each.verdict)
    query = """SELECT s.position, s.key, r.attempts, r.seconds, s.query_id, s.turns, s.scenario, s.method,
        s.twin_of, s.language, s.question, s.dialogue, s.image, r.text, r.blocked, r.finish_reason, r.model,
        r.prompt_tokens, r.completion_tokens FROM samples s
        LEFT JOIN answers a ON a.setup = :setup AND a.sample = s.key
        LEFT JOIN responses r ON r.key = a.response WHERE s.position IS NOT NULL ORDER BY s.position"""
    scored = store.scored_samples(setup=setup, judge=judge)
    for row, became in zip(_rows(store, query, setup=setup), scored, strict=True):
        with intact(store.path):
            position, key, attempts, seconds, *rest = row
            query_id, turns, scenario, method, twin_of, language, question, dialogue, image = rest[:9]
            text, blocked, *about = rest[9:]
            contents = json.loads(dialogue)
            if not all(isinstance(x, str) for x in (question, *contents, text or "")):
                raise TypeError("no text")
            sample = Sample(
                query_id=query_id, turns=turns, scenario=Scenario(scenario), question=question,
                dialogue=tuple(
                    Message("assistant" if i % 2 else "user", c) for i, c in enumerate(contents)
                ),
                image=ImageRef(*json.loads(image)) if image else None,
                method=Method(method) if method else None, twin_of=twin_of, language=language,
            )  # fmt: skip
            yield StoredSample(
                key=key, sample=sample, scored=became,
                reply=None if text is None else Reply(text, bool(blocked), *about),
                attempts=attempts or 0, seconds=seconds or 0.0, labels=dict(labels[key]),
                verdicts=tuple(found[position]),
            )  # fmt: skip
