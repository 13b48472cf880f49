"""What the two stages learn from: texts for the encoder, dialogues for the head, drawn from one pool."""

import hashlib
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Final

from safemt.build.screening import minors_and_sex
from training import dialogues as forms
from training.attacks import ATTACKS, distress_talk, foreign_queries, plain_talk
from training.dialogues import FORMS, Dialogue, Turn
from training.queries import (
    Query,
    advice_queries,
    contrast_queries,
    everyday_queries,
    everyday_talk,
    harmful_queries,
    harmless_queries,
    prevention_twins,
)
from training.sources import Row, plain
from training.weak import Labelled, weak_dialogues
from training.wrapping import wrapped

NATURAL: Final = (
    "sgd", "topical_chat", "taskmaster4", "mtbench101", "mtbench", "annomi", "mts_dialog", "mathdial",
    "bridge", "covid",
)  # fmt: skip
"""Sources of harmless chats of several turns."""
MOST_NATURAL: Final = 500
"""Dialogues of one such source in one draw, so that the largest does not rule."""
SHORTEST_HIDDEN: Final = 20
"""Letters from which on a held-out text counts as known; "can you help me" may stand anywhere."""
_OFTEN: Final = (
    *("built",) * 3, *("coreference", "single", "pretext", "third person", "crescendo") * 2,
    "towards", "actor", "story", "mode", "editing",
)  # fmt: skip
"""How often each form is drawn, for either class."""
_FORMS: Final = {**FORMS, **ATTACKS}
WRAPPED: Final = 0.3
"""Share of single texts that stand inside something harmless."""
LONG: Final = 0.35
"""Share of the wrapped dialogues that stand inside a long text."""
_TYPED: Final = re.compile(r"[A-Za-z]{4,}")


class Share(StrEnum):
    """What a group of texts is for. Calibration never sees a group that was trained on."""

    ENCODER = "encoder"
    HEAD = "head"
    CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """All material of one training, after its held-out rows were taken out."""

    harmful: Sequence[Query]
    harmless: Sequence[Query]
    advice: Sequence[Query]
    natural: Sequence[Row]
    attacks: Sequence[Row]
    """Whole dialogues that hide an intent, as a source has them."""
    weak: Sequence[Labelled]
    """Dialogues of people who tried a model out, with labels of our own."""
    loose: Sequence[Row]
    """Texts that are no requests, with a label that is only half trusted."""
    hidden: frozenset[str]
    """Held-out texts, compared as `plain` gives them: what is made by frames may happen to be one, too."""
    shares: frozenset[Share] = frozenset(Share)
    """Which groups it holds, those of the contrast pairs included, which are made when they are needed."""

    def part(self, shares: Sequence[Share]) -> "Pool":
        """The groups that belong to one of `shares`."""
        return Pool(
            harmful=[query for query in self.harmful if share_of(query.group) in shares],
            harmless=[query for query in self.harmless if share_of(query.group) in shares],
            advice=[query for query in self.advice if share_of(query.group) in shares],
            natural=[row for row in self.natural if share_of(row.id) in shares],
            attacks=[row for row in self.attacks if share_of(row.part) in shares],
            weak=[each for each in self.weak if share_of(each.row.id) in shares],
            loose=[row for row in self.loose if share_of(row.id) in shares],
            hidden=self.hidden,
            shares=frozenset(shares),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One text for the encoder, alone or behind earlier turns."""

    text: str
    before: tuple[str, ...] = ()
    target: float
    weight: float
    scenario: int | None = None
    core: str = ""
    """The request inside `text`, where only a part of it is one."""
    support: float = 0.0


def make_pool(rows: Iterable[Row], held_out: Iterable[Row]) -> Pool:
    """The material of `rows` without anything whose text also stands in `held_out`."""
    hidden = frozenset(
        text
        for row in held_out
        for text in map(plain, (*row.turns, row.question))
        if len(text) >= SHORTEST_HIDDEN
    )
    kept = [row for row in rows if hidden.isdisjoint(map(plain, (*row.turns, row.question)))]
    return Pool(
        harmful=_unknown(
            (query for query in harmful_queries(kept) if not minors_and_sex(query.text)), hidden
        ),
        harmless=_unknown(harmless_queries(kept), hidden),
        advice=_unknown(advice_queries(kept), hidden),
        natural=[row for row in kept if row.source in NATURAL and len(row.turns) > 1],
        attacks=[
            row
            for row in kept
            if row.source == "red_queen"
            and row.part != "red_queen direct"
            and not ("child" in row.category or minors_and_sex(*row.turns))
        ],
        weak=list(weak_dialogues(kept)),
        loose=[row for row in kept if row.source == "openai_moderation"],
        hidden=hidden,
    )


def share_of(group: str) -> Share:
    """The use of a group: three quarters for the encoder, the rest for the head and for calibration."""
    draw = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % 100
    if draw < 75:
        return Share.ENCODER
    return Share.HEAD if draw < 88 else Share.CALIBRATION


def encoder_examples(pool: Pool, *, scale: float, chance: random.Random) -> list[Example]:
    """One epoch for the encoder, drawn anew each time. `scale` 1 is about 22,000 texts of the whole pool."""
    queries = _queries(pool, scale, chance)
    talk = _talk(pool, chance)
    found = [_alone(query, talk, chance) for query in queries]
    found += [
        _in_context(_varied(_dialogue(query, pool, chance), chance), chance)
        for query in chance.sample(queries, round(len(queries) * 0.7))
    ]
    found += [
        _in_context(_varied(attack, chance), chance) for attack in _attacks(pool, round(400 * scale), chance)
    ]
    for labelled in chance.sample(list(pool.weak), round(min(1.0, scale) * len(pool.weak))):
        found += _of_weak(labelled, chance)
    for row in _natural(pool.natural, round(MOST_NATURAL * scale), chance):
        found += _of_natural(row, talk, chance)
    for _ in range(round(500 * scale)):
        *before, line = everyday_talk(chance.randint(2, 7), chance)
        found.append(Example(text=line, before=tuple(before), target=0.0, weight=1.0))
    for _ in range(round(450 * scale)):
        found.append(_in_context(_distress(chance), chance))
    lines = [*forms.small_talk(40, chance), *forms.new_topics(18, chance), *plain_talk(40, chance)]
    found += [Example(text=augmented(line, chance), target=0.0, weight=1.0) for line in lines]
    loose = chance.sample(list(pool.loose), round(len(pool.loose) * min(1.0, 0.7 * scale)))
    found += [
        Example(text=row.text[:700], target=0.9 * (row.label == "harmful"), weight=0.3) for row in loose
    ]
    found += [
        Example(text=query.text, target=0.0, weight=0.0, scenario=query.scenario) for query in pool.advice
    ]
    return [example for example in found if plain(example.text) not in pool.hidden]


def _alone(query: Query, talk: Sequence[str], chance: random.Random) -> Example:
    """A query as a text of its own, now and then inside something harmless."""
    if chance.random() < WRAPPED:
        return replace(_example(query, wrapped(query.text, talk, chance)), core=query.text)
    raw = chance.random() < 0.5
    text = query.text if raw else forms.single(query, chance)[0].text
    return _example(query, augmented(text, chance))


def _of_weak(labelled: Labelled, chance: random.Random) -> list[Example]:
    """The last turn in its context; of a harmless dialogue another turn as well."""
    turns = labelled.row.turns
    last = Example(
        text=augmented(turns[-1], chance), before=turns[:-1], target=labelled.harmful, weight=labelled.weight,
        support=labelled.support,
    )  # fmt: skip
    if len(turns) == 1 or labelled.harmful > 0.1:
        return [last]
    place = chance.randrange(len(turns) - 1)
    return [last, replace(last, text=turns[place], before=turns[:place])]


def _of_natural(row: Row, talk: Sequence[str], chance: random.Random) -> list[Example]:
    place = chance.randrange(len(row.turns))
    text = augmented(row.turns[place], chance)
    if chance.random() < WRAPPED / 2:
        text = wrapped(text, talk, chance)
    other = chance.randrange(len(row.turns))
    return [
        Example(text=text, target=0.0, weight=1.0),
        Example(text=row.turns[other], before=row.turns[:other], target=0.0, weight=1.0),
    ]


def _talk(pool: Pool, chance: random.Random) -> list[str]:
    """Harmless sentences to stand around a request."""
    lines = [line for row in pool.natural for line in row.turns[:4] if 15 < len(line) < 140]
    chosen = chance.sample(lines, min(600, len(lines)))
    return [*chosen, *forms.small_talk(40, chance), *plain_talk(30, chance)]


def _distress(chance: random.Random) -> Dialogue:
    turns = distress_talk(chance)
    return Dialogue(turns=tuple(turns), group=f"distress:{turns[0].text}", source="distress", form="distress")


def head_dialogues(pool: Pool, *, scale: float, chance: random.Random) -> list[Dialogue]:
    """Dialogues for the head or for calibration: built ones of both classes, and natural ones."""
    found = [_varied(_dialogue(query, pool, chance), chance) for query in _queries(pool, scale, chance)]
    found += _attacks(pool, round(300 * scale), chance)
    found += [_weak_dialogue(each) for each in pool.weak]
    found += [_distress(chance) for _ in range(round(400 * scale))]
    talk = _talk(pool, chance)
    found += [_wrapped_turn(query, talk, chance) for query in _queries(pool, 0.35 * scale, chance)]
    for row in _natural(pool.natural, round(MOST_NATURAL * scale), chance):
        found.append(natural(row))
    for number in range(round(900 * scale)):
        length = chance.randint(2, 12)
        lines = everyday_talk(length, chance) if number % 3 else forms.small_talk(length, chance)
        found.append(_harmless_talk(lines, "small talk", chance))
    for _ in range(round(500 * scale)):
        drawn = chance.sample(list(pool.harmless), min(len(pool.harmless), chance.randint(2, 6)))
        lines = [query.text for query in drawn if query.harmful == 0]
        found.append(_harmless_talk(lines or ["Hi"], "requests", chance))
    return [
        dialogue for dialogue in found if pool.hidden.isdisjoint(plain(turn.text) for turn in dialogue.turns)
    ]


def calm_dialogues(pool: Pool, *, chance: random.Random) -> list[Dialogue]:
    """Harmless dialogues to set thresholds on: all chats of the sources, distress, and made-up ones."""
    found = [natural(row) for row in pool.natural]
    found += [_distress(chance) for _ in range(400)]
    found += [
        _harmless_talk(everyday_talk(chance.randint(2, 10), chance), "small talk", chance) for _ in range(500)
    ]
    found += [_harmless_talk(plain_talk(chance.randint(1, 5), chance), "plain", chance) for _ in range(300)]
    found += [
        _harmless_talk([query.text], "request", chance)
        for query in chance.sample(list(pool.harmless), min(600, len(pool.harmless)))
        if query.harmful == 0
    ]
    return found


def _weak_dialogue(labelled: Labelled) -> Dialogue:
    query = Query(
        text=labelled.row.text, harmful=labelled.harmful, weight=labelled.weight, group=labelled.row.id,
        source=labelled.row.source,
    )  # fmt: skip
    turns = [
        forms.hint(text, query) if labelled.harmful > 0.1 else forms.harmless(text, labelled.weight)
        for text in labelled.row.turns[:-1]
    ]
    last = replace(forms.asked(labelled.row.text, query), own_weight=0.0, support=labelled.support)
    return Dialogue(turns=(*turns, last), group=labelled.row.id, source=labelled.row.source, form="weak")


def _wrapped_turn(query: Query, talk: Sequence[str], chance: random.Random) -> Dialogue:
    """A query inside something harmless, as the only turn; the head learns from it how to join parts."""
    text = wrapped(query.text, talk, chance)
    if chance.random() < LONG:
        before, behind = (" ".join(chance.choices(talk, k=chance.randint(5, 45))) for _ in range(2))
        text = f"{before} {text} {behind}"
    turn = forms.asked(text, query)
    return Dialogue(turns=(turn,), group=query.group, source=query.source, form="wrapped")


def natural(row: Row) -> Dialogue:
    """A harmless chat of a source, as it is."""
    return Dialogue(
        turns=tuple(forms.harmless(text) for text in row.turns),
        group=row.id,
        source=row.source,
        form="natural",
    )


def augmented(text: str, chance: random.Random) -> str:
    """The text as people type it: now and then in lower case, without its stop, with a slip, in capitals."""
    if chance.random() < 0.2:
        text = text.lower()
    if chance.random() < 0.12:
        text = text.rstrip(".?!")
    if chance.random() < 0.1:
        text = _TYPED.sub(
            lambda word: _slip(word.group(), chance) if chance.random() < 0.12 else word.group(), text
        )
    if chance.random() < 0.015:
        text = text.upper()
    return text


def _slip(word: str, chance: random.Random) -> str:
    place = chance.randrange(1, len(word) - 1)
    kind = chance.randrange(3)
    if kind == 0:
        return word[:place] + word[place + 1 :]
    if kind == 1:
        return word[:place] + word[place] + word[place:]
    return word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :]


def _queries(pool: Pool, scale: float, chance: random.Random) -> list[Query]:
    """About as many harmful queries as harmless ones: those of the sources, contrast pairs, prevention."""
    count = min(round(3200 * scale), len(pool.harmful))
    harmful = chance.sample(list(pool.harmful), count)
    harmless = chance.sample(list(pool.harmless), min(len(pool.harmless), round(1.1 * count)))
    twins = prevention_twins(chance.sample(harmful, round(0.2 * count)), chance)
    everyday = (
        query for query in everyday_queries(4 * count, chance) if share_of(query.group) in pool.shares
    )
    pairs = (pair for pair in contrast_queries(12 * count, chance) if share_of(pair.group) in pool.shares)
    foreign = [query for query in foreign_queries(chance) if share_of(query.group) in pool.shares]
    return [
        *harmful, *harmless, *twins, *islice(everyday, round(0.3 * count)), *islice(pairs, count),
        *chance.sample(foreign, min(len(foreign), count // 6)),
    ]  # fmt: skip


def _dialogue(query: Query, pool: Pool, chance: random.Random) -> Dialogue:
    """A dialogue of any form around a query; every form is as likely for either class."""
    draw = chance.random()
    if draw < 0.18:
        form = "in chat"
        turns = forms.in_chat(query, _chat(pool, chance), chance)
    else:
        form = chance.choice(_OFTEN)
        turns = _FORMS[form](query, chance)
    draw = chance.random()
    if draw < 0.15:
        turns = forms.followed(turns, query, chance)
    elif draw < 0.3:
        later = forms.new_topics(chance.choice((1, 1, 2)), chance) if draw < 0.23 else _chat(pool, chance)
        turns = forms.left(turns, query, later)
    return Dialogue(
        turns=tuple(turns), group=query.group, source=query.source, form=form, scenario=query.scenario
    )


def _attacks(pool: Pool, most: int, chance: random.Random) -> list[Dialogue]:
    """Attacks of a source, and for every second one its beginning with an honest end."""
    found = []
    for number, row in enumerate(chance.sample(list(pool.attacks), min(most, len(pool.attacks)))):
        query = Query(text=row.text, harmful=0.95, weight=0.7, group=row.part, source=row.source)
        turns = [forms.hint(text, query) for text in row.turns[:-1]]
        if number % 2:
            turns = turns[: chance.randint(1, len(turns))]
            turns += map(forms.harmless, forms.honest_ends(chance.choice((1, 1, 2)), chance))
        else:
            turns.append(replace(forms.asked(row.text, query), own_weight=0.0))
        found.append(Dialogue(turns=tuple(turns), group=row.part, source=row.source, form="attack"))
    return found


def _chat(pool: Pool, chance: random.Random) -> list[str]:
    """Some turns of ordinary talk: of a natural chat, harmless requests, or small talk."""
    draw = chance.random()
    if draw < 0.4 and pool.natural:
        turns = chance.choice(list(pool.natural)).turns
        length = chance.randint(1, min(6, len(turns)))
        start = chance.randint(0, len(turns) - length)
        return list(turns[start : start + length])
    if draw < 0.65 and pool.harmless:
        drawn = chance.sample(list(pool.harmless), min(len(pool.harmless), chance.randint(1, 4)))
        return [query.text for query in drawn if query.harmful == 0] or ["Hi"]
    return everyday_talk(chance.randint(1, 5), chance) if draw < 0.92 else forms.small_talk(2, chance)


def _harmless_talk(lines: Sequence[str], form: str, chance: random.Random) -> Dialogue:
    return _varied(
        Dialogue(turns=tuple(map(forms.harmless, lines)), group=f"{form}:{lines[0]}", source=form, form=form),
        chance,
    )


def _natural(rows: Sequence[Row], most: int, chance: random.Random) -> Iterator[Row]:
    for source in NATURAL:
        own = [row for row in rows if row.source == source]
        few = own if len(own) >= most else own * (1 + most // (3 * max(1, len(own))))
        yield from chance.sample(few, min(len(few), most))


def _varied(dialogue: Dialogue, chance: random.Random) -> Dialogue:
    """The dialogue in one person's way of typing."""
    style = chance.random()
    return replace(
        dialogue,
        turns=tuple(
            replace(turn, text=augmented(turn.text, random.Random(style))) for turn in dialogue.turns
        ),
    )


def _example(query: Query, text: str) -> Example:
    return Example(text=text, target=query.harmful, weight=query.weight, scenario=query.scenario)


def _in_context(dialogue: Dialogue, chance: random.Random) -> Example:
    """One turn of a dialogue behind those before it: mostly its worst or last one."""
    turns = dialogue.turns
    worst = max(range(len(turns)), key=lambda place: (turns[place].weight, place))
    place = worst if chance.random() < 0.65 else chance.randrange(len(turns))
    turn: Turn = turns[place]
    return Example(
        text=turn.text,
        before=tuple(earlier.text for earlier in turns[:place]),
        target=turn.risk,
        weight=turn.weight,
        support=turn.support,
        scenario=dialogue.scenario if turn.risk > 0.5 else None,
    )


def _unknown(queries: Iterable[Query], hidden: frozenset[str]) -> list[Query]:
    """The queries without repeats and without held-out texts."""
    return [
        query for text, query in {plain(query.text): query for query in queries}.items() if text not in hidden
    ]
