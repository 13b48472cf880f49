"""Queries of both classes: what the dialogues of the training data are built around."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from safemt.build.phrases import core_of, noun_phrases
from safemt.build.scenario import classify
from safemt.build.twins import load_twin_frames
from safemt.core.taxonomy import Scenario
from training.sources import Row, scenario_of

DATA: Final = Path(__file__).parent / "data"
_BLANK: Final = re.compile(r"\{(\w+)\}")
_ORDER: Final = list(Scenario)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request, harmful or not, as a text of its own."""

    text: str
    harmful: float
    """1 or 0; between them where a source is known to be doubtful."""
    weight: float
    """How much the label is trusted, in (0, 1]."""
    group: str
    """The same for texts that must never be split between training and checking."""
    source: str
    scenario: int | None = None
    """Its number in the taxonomy; None where nothing speaks for any."""

    @property
    def ask(self) -> str:
        """The text without its opening and its full stop, to stand inside a sentence."""
        core = core_of(self.text).strip().rstrip("?.!: ")
        return core[:1].lower() + core[1:] if core[1:2].islower() else core

    @property
    def phrases(self) -> tuple[str, ...]:
        """Its own noun phrases."""
        return noun_phrases(self.text)


@cache
def load_yaml(name: str) -> Mapping[str, Any]:
    """One of the hand-written lists beside this module."""
    found: Mapping[str, Any] = yaml.safe_load((DATA / name).read_text(encoding="utf-8"))
    return found


def harmful_queries(rows: Sequence[Row]) -> Iterator[Query]:
    """The harmful queries of rows that state one in words. Doubtful sorts weigh less, and some are left out."""
    for row in rows:
        if row.label != "harmful" or "child" in row.category:
            continue
        if row.source == "harm_prompts" and not row.part.startswith(("harmbench copyright", "harmbench contextual")):
            doubtful = row.category in {"information_hazard", "misinformation_harms"}
            yield _query(row, row.text, 0.85 if doubtful else 1.0, 0.6 if doubtful else 1.0)
        elif row.source == "figstep" and row.question:
            yield _query(row, row.question, 1.0, 1.0)
        elif row.source == "red_queen" and row.part == "red_queen direct" and row.question:
            yield _query(row, _asked(row.question, row.id), 0.95, 0.8)


def harmless_queries(rows: Sequence[Row]) -> Iterator[Query]:
    """The harmless queries: single requests that nobody should be refused, the ones that only sound bad too."""
    for row in rows:
        if row.language != "en" or len(row.text) > 1200:
            continue
        if row.source in {"alpaca_harmless", "cyber_frr"}:
            yield _query(row, row.text, 0.0, 1.0)
        elif row.source == "phtest":
            controversial = row.category == "controversial"
            yield _query(row, row.text, 0.2 if controversial else 0.0, 0.4 if controversial else 1.0)
        elif row.source == "mtbench":
            yield _query(row, row.turns[0], 0.0, 1.0)
        elif row.source == "mtbench101":
            yield _query(row, row.turns[0], 0.0, 0.8)


def advice_queries(rows: Sequence[Row]) -> Iterator[Query]:
    """FigStep's questions for advice: they have a scenario, and no harmful intent that could be told."""
    for row in rows:
        if row.source == "figstep" and row.label == "borderline" and row.question:
            yield _query(row, row.question, 0.0, 0.0)


def prevention_twins(queries: Sequence[Query], chance: random.Random) -> Iterator[Query]:
    """Harmless questions about harmful acts, by the builder's own rule for twins."""
    frames = load_twin_frames()
    for query in queries:
        core = core_of(query.text).rstrip("?.! ")
        act = core.removeprefix("ways to ")
        kind, blank = ("act", act) if act != core else ("question", query.text.rstrip("?.! "))
        blank = blank[:1].lower() + blank[1:] if blank[1:2].islower() and kind == "act" else blank
        yield Query(
            text=chance.choice(frames[kind]).replace("{x}", " ".join(blank.split())),
            harmful=0.05,
            weight=0.5,
            group=query.group,
            source=query.source,
        )


def contrast_queries(count: int, chance: random.Random) -> Iterator[Query]:
    """`count` texts from the hand-written contrast lists, half of them harmful."""
    lists = load_yaml("contrast.yaml")
    acts, sentences = lists["acts"], lists["sentences"]
    for number in range(count):
        harm = number % 2 == 0
        place = chance.randrange(len(acts) + 2 * len(sentences))
        if place < len(acts):
            text = _act(lists, acts[place], harm, chance)
            yield _contrast(text[0], harm, f"contrast-act:{text[1]}")
        else:
            entry = sentences[(place - len(acts)) % len(sentences)]
            frame = chance.choice(entry["harm" if harm else "safe"])
            yield _contrast(_filled(lists, frame, chance), harm, f"contrast-sentence:{frame}")


def _act(lists: Mapping[str, Any], entry: Mapping[str, Any], harm: bool, chance: random.Random) -> tuple[str, str]:
    """A text about an act of one class and the act itself; some harmless texts are about harmful acts."""
    draw = chance.random()
    if harm:
        act = chance.choice(entry["harm"])
        frame = chance.choice(lists["harm_frames"] if draw < 0.25 else lists["frames"])
    elif draw < 0.3:
        act, frame = chance.choice(entry["harm"]), chance.choice(lists["safe_frames"])
    else:
        act, frame = chance.choice(entry["safe"]), chance.choice(lists["frames"])
    return _filled(lists, frame.replace("{x}", act), chance), act


def _filled(lists: Mapping[str, Any], frame: str, chance: random.Random) -> str:
    return _BLANK.sub(lambda blank: str(chance.choice(lists["lists"][blank.group(1)])), frame)


def _contrast(text: str, harm: bool, group: str) -> Query:
    scenario, sure = classify(text)
    return Query(
        text=text,
        harmful=float(harm),
        weight=1.0,
        group=group,
        source="contrast",
        scenario=_ORDER.index(scenario) if harm and sure > 0.4 else None,
    )


def _query(row: Row, text: str, harmful: float, weight: float) -> Query:
    scenario = scenario_of(text, row.part, row.category)[0] if harmful > 0.5 or weight == 0 else None
    return Query(
        text=text.strip(), harmful=harmful, weight=weight, group=f"{row.part}:{row.id}", source=row.source,
        scenario=scenario,
    )  # fmt: skip


def _asked(action: str, seed: str) -> str:
    """An action of Red Queen as a request, in the frames that the contrast lists use."""
    frames = load_yaml("contrast.yaml")["frames"]
    return str(random.Random(seed).choice(frames)).replace("{x}", action.strip().rstrip("."))
