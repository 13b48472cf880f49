"""Leave-one-source-out: every source is held out in one fold, and scored by a model that never saw it."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from safemt.moderation.detectors.baselines.keyword import find_phrases
from safemt.moderation.detectors.baselines.turns import COMBINATIONS
from training.dialogues import FORMS, Turn, asked
from training.encoder import load_tokenizer
from training.pipeline import FOLD, Reading, Trained, train
from training.queries import Query, harmful_queries, harmless_queries, prevention_twins
from training.sources import BLIND, LICENCES, Row, read_source
from training.split import split
from training.vectors import Vectors

MOST: Final = 400
"""Dialogues of one part that are scored; a larger part is sampled, seeded."""
COMPOSED: Final = 150
"""Dialogues of each form that are made of held-out queries of one class."""


def run_fold(data: Path, fold: str, out: Path, *, threads: int, tell: Callable[[str], None]) -> None:
    """Train without a fold's sources, score them, and write the scores (no texts) to `out`/fold_X.json."""
    rows = [row for source in LICENCES for row in read_source(data, source)]
    blind = [row for source in BLIND for row in read_source(data, source)]
    kept, held = split(rows, fold)
    encoder = out / f"fold_{fold}.onnx"
    trained = train(kept, [*held, *blind], FOLD, encoder=encoder, threads=threads, tell=tell)
    vectors = Vectors(encoder, load_tokenizer(), threads=threads)
    scores = [*score_rows(trained, vectors, held), *score_composed(trained, vectors, held)]
    found = {"thresholds": dict(trained.thresholds), "scores": scores}
    (out / f"fold_{fold}.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    encoder.unlink()


def score_rows(trained: Trained, vectors: Vectors, rows: Sequence[Row]) -> list[dict[str, object]]:
    """Every moderator's scores of the rows of each part."""
    drawn = [row for part in sorted({row.part for row in rows}) for row in _drawn(rows, part)]
    return [
        _scored(found, row.turns, source=row.source, part=row.part, label=row.label, cluster=_cluster(row))
        for row, found in zip(drawn, trained.read(vectors, [row.turns for row in drawn]), strict=True)
    ]


def score_composed(trained: Trained, vectors: Vectors, held: Sequence[Row]) -> list[dict[str, object]]:
    """The same for dialogues of every form, made of held-out queries of both classes, and for twins."""
    made: list[tuple[Query, str, list[Turn]]] = []
    both = (
        [q for q in harmful_queries(held) if q.harmful > 0.9],
        [q for q in harmless_queries(held) if not q.harmful],
    )
    for form in FORMS:
        if form in {"single", "pretext"}:
            continue
        for queries in both:
            chance = random.Random(f"composed {form}")
            drawn = chance.sample(queries, min(COMPOSED, len(queries)))
            made += [(query, form, FORMS[form](query, chance)) for query in drawn]
    chance = random.Random("prevention")
    twins = prevention_twins(chance.sample(both[0], min(COMPOSED, len(both[0]))), chance)
    made += [(replace(twin, harmful=0.0), "prevention", [asked(twin.text, twin)]) for twin in twins]
    texts = [[turn.text for turn in turns] for _, _, turns in made]
    return [
        _scored(
            found,
            turns,
            source=f"composed {form}",
            part=query.source,
            label="harmful" if query.harmful else "benign",
            cluster=query.group,
        )
        for (query, form, _), turns, found in zip(made, texts, trained.read(vectors, texts), strict=True)
    ]


def _scored(
    reading: Reading, turns: Sequence[str], *, source: str, part: str, label: str, cluster: str
) -> dict[str, object]:
    risks, own = [float(x) for x in reading.risk], [float(x) for x in reading.turn_risk]
    scores = {name: combine(own) for name, combine in COMBINATIONS.items()}
    phrases = {phrase for text in turns for hits in find_phrases(text).values() for phrase in hits}
    return {
        "source": source,
        "part": part,
        "label": label,
        "cluster": cluster,
        "turns": len(turns),
        "words": sum(len(text.split()) for text in turns),
        "risks": [round(risk, 5) for risk in risks],
        "baselines": {**{name: round(score, 6) for name, score in scores.items()}, "keyword": len(phrases)},
    }


def _drawn(rows: Sequence[Row], part: str) -> Iterator[Row]:
    own = [row for row in rows if row.part == part]
    yield from random.Random(f"score {part}").sample(own, min(MOST, len(own)))


def _cluster(row: Row) -> str:
    """The attacks of one Red Queen template repeat each other; other rows stand for themselves."""
    return row.part if row.source == "red_queen" and row.part != "red_queen direct" else row.id
