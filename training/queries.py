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
_IMPERATIVES: Final = (
    "write create make develop generate design build draft produce compose invent spread publish hack"
)
_VERBS: Final = frozenset(_IMPERATIVES.split())
"""What a request may begin with for the whole of it to be an act."""
_NO_INTENT: Final = ("harmbench copyright", "harmbench contextual")
"""Parts that are harmful for other reasons than what the request wants, or only with the page before it.

The same holds for Do-Not-Answer's "misinformation harms": honest questions that a model may answer wrongly.
"""


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
    act: str = ""
    """What is to be done, as a verb phrase; empty where the text does not give one."""

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
    """The harmful queries of rows that state one. Doubtful sorts weigh less, and some are left out."""
    for row in rows:
        if row.label != "harmful" or "child" in row.category:
            continue
        if row.source == "harm_prompts" and not row.part.startswith(_NO_INTENT):
            doubtful = row.category == "information_hazard"
            if row.category != "misinformation_harms":
                yield _query(row, row.text, 0.85 if doubtful else 1.0, 0.6 if doubtful else 1.0)
        elif row.source == "figstep" and row.question:
            yield _query(row, row.question, 1.0, 1.0)
        elif row.source == "red_queen" and row.part == "red_queen direct" and row.question:
            yield _query(row, _asked(row.question, row.id), 0.95, 0.8, act=row.question.strip().rstrip("."))


def harmless_queries(rows: Sequence[Row]) -> Iterator[Query]:
    """The harmless queries: requests that nobody should be refused, the ones that only sound bad too.

    The originals of cyber_frr's translated rows are left out: those are measured, in every language.
    """
    measured = {row.question for row in rows if row.source == "cyber_frr" and row.language != "en"}
    for row in rows:
        if row.language != "en" or len(row.text) > 1200 or row.text in measured:
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
            yield _contrast(text[0], harm, f"contrast-act:{text[1]}", act=text[2])
        else:
            entry = sentences[(place - len(acts)) % len(sentences)]
            frame = chance.choice(entry["harm" if harm else "safe"])
            yield _contrast(_filled(lists, frame, chance), harm, f"contrast-sentence:{frame}")


def everyday_queries(count: int, chance: random.Random) -> Iterator[Query]:
    """`count` harmless requests of the everyday kind; the frame is the group."""
    lists = load_yaml("everyday.yaml")
    for _ in range(count):
        frame = chance.choice(lists["openings"])
        yield Query(
            text=_filled(lists, frame, chance),
            harmful=0.0,
            weight=1.0,
            group=f"everyday:{frame}",
            source="everyday",
        )


def everyday_talk(turns: int, chance: random.Random) -> list[str]:
    """A harmless chat of the everyday kind: requests, each with some replies behind it."""
    lists = load_yaml("everyday.yaml")
    found: list[str] = []
    while len(found) < turns:
        found.append(_filled(lists, chance.choice(lists["openings"]), chance))
        found += [
            _filled(lists, reply, chance) for reply in chance.sample(lists["replies"], chance.randint(0, 4))
        ]
    return found[:turns]


def _act(
    lists: Mapping[str, Any], entry: Mapping[str, Any], harm: bool, chance: random.Random
) -> tuple[str, str, str]:
    """A text about an act of one class, the act's frame, and the act if the text asks for just that."""
    draw = chance.random()
    if harm:
        act = chance.choice(entry["harm"])
        frame = chance.choice(lists["harm_frames"] if draw < 0.25 else lists["frames"])
    elif draw < 0.3:
        act, frame = chance.choice(entry["harm"]), chance.choice(lists["safe_frames"])
    else:
        act, frame = chance.choice(entry["safe"]), chance.choice(lists["frames"])
    done = _filled(lists, act, chance)
    asked_for = done if harm or act in entry["safe"] else ""
    return _filled(lists, frame.replace("{x}", done), chance), act, asked_for


def _filled(lists: Mapping[str, Any], frame: str, chance: random.Random) -> str:
    return _BLANK.sub(lambda blank: str(chance.choice(lists["lists"][blank.group(1)])), frame)


def _contrast(text: str, harm: bool, group: str, act: str = "") -> Query:
    scenario, sure = classify(text)
    return Query(
        text=text,
        harmful=float(harm),
        weight=1.0,
        group=group,
        source="contrast",
        act=act,
        scenario=_ORDER.index(scenario) if harm and sure > 0.4 else None,
    )


def _query(row: Row, text: str, harmful: float, weight: float, act: str = "") -> Query:
    scenario = scenario_of(text, row.part, row.category)[0] if harmful > 0.5 or weight == 0 else None
    return Query(
        text=text.strip(),
        harmful=harmful,
        weight=weight,
        group=f"{row.part}:{row.id}",
        source=row.source,
        scenario=scenario,
        act=act or _act_of(text),
    )


def _act_of(text: str) -> str:
    """What a text asks to do, if it begins like that."""
    core = core_of(text).strip().rstrip("?.! ")
    if core.startswith("ways to "):
        return core.removeprefix("ways to ")
    first = core.split(" ", 1)[0].lower()
    return core[:1].lower() + core[1:] if first in _VERBS and len(core.split()) <= 25 else ""


def _asked(action: str, seed: str) -> str:
    """An action of Red Queen as a request, in the frames that the contrast lists use."""
    frames = load_yaml("contrast.yaml")["frames"]
    return str(random.Random(seed).choice(frames)).replace("{x}", action.strip().rstrip("."))
