"""From queries to dialogues of every length with their twins, through the gates, until there are enough."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Final

from safemt.build.dealing.asks import slot_values
from safemt.build.dealing.control import control_dialogue
from safemt.build.dealing.deck import Decks
from safemt.build.dealing.material import Material, cast_of
from safemt.build.dealing.methods import WRITERS, Script
from safemt.build.dealing.talk import talk, with_picture
from safemt.build.dealing.twins import Next, choose, parted_at, shared, twin_script
from safemt.build.gates import Draft, Gates, Measured
from safemt.build.overlap import OverlapIndex
from safemt.build.pictures.plan import PicturePlan, plan_picture, scene_plan, words_plan
from safemt.build.plan import MethodPlan
from safemt.build.queries import Ledger, Query, Reject, Stage
from safemt.build.understanding.classes import Classified, classify_act
from safemt.build.understanding.parse import parse_query
from safemt.build.understanding.request import Request, unread
from safemt.build.words import dialogue_grams
from safemt.core.schema import Message
from safemt.core.taxonomy import Method

TEMPLATE: Final = "template"
"""The name of the offline generator."""
DRAWS: Final = 10
"""How often a template dialogue is drawn anew before the one least like the others is taken."""
ALIKE: Final = 0.3
"""Share of its history's 5-grams from which a dialogue is drawn anew."""


@dataclass(frozen=True, slots=True)
class Written:
    """A dialogue that a chat model wrote, already through the gates that look at it alone."""

    dialogue: tuple[Message, ...]
    method: Method
    """The one that was used."""
    twin: tuple[Message, ...] | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One dialogue of one side."""

    messages: tuple[Message, ...]
    method: Method | None
    generator: str
    control: tuple[Message, ...]
    """The same without the picture: its words stand in the text."""


@dataclass(frozen=True, slots=True)
class Side:
    """One query of a group with its dialogues by number of turns: the harmful one, or its benign twin."""

    question: str
    picture: PicturePlan
    dialogues: Mapping[int, Dialogue]


@dataclass(frozen=True, slots=True)
class Understood:
    """A query with its request, act class and picture."""

    query: Query
    request: Request
    act: Classified
    picture: PicturePlan


@dataclass(frozen=True, slots=True)
class Group:
    """An accepted query with all its dialogues."""

    understood: Understood
    harmful: Side
    twin: Side | None = None
    twin_by: str = ""

    @property
    def query(self) -> Query:
        """The query itself."""
        return self.understood.query


@dataclass(slots=True)
class Measures:
    """What the gates measured on the dialogues that passed."""

    intent: list[float] = field(default_factory=list)
    coherence: list[float] = field(default_factory=list)
    overlaps: dict[str, list[float]] = field(default_factory=dict)
    """For each method, the largest overlap of each history with any before it at its number of turns."""
    redrawn: Counter[str] = field(default_factory=Counter)
    kept_despite: Counter[str] = field(default_factory=Counter)
    """Gates that the dialogue least alike did not pass, and that was taken nevertheless."""

    def summary(self) -> dict[str, object]:
        """Least and mean of each, and the overlaps by method."""
        return {
            "intent_retained": {"least": round(min(self.intent), 4), "mean": round(mean(self.intent), 4)},
            "coherence": {"least": round(min(self.coherence), 4), "mean": round(mean(self.coherence), 4)},
            "overlap_by_method": {
                name: {
                    "largest": round(max(found), 4),
                    "mean_of_largest": round(mean(found), 4),
                    "above": round(sum(value > ALIKE for value in found) / len(found), 4),
                }
                for name, found in sorted(self.overlaps.items())
            },
        }


class _Rejected(Exception):
    """A query cannot be used; `args` are the gate and a detail."""


class Composer:
    """Writes the dialogues of one build, query by query, and keeps what it needs of earlier ones."""

    def __init__(
        self,
        *,
        turns: Sequence[int],
        methods: MethodPlan,
        gates: Gates,
        ledger: Ledger,
        seed: int,
        language: str,
        twins: bool,
        has_picture: Callable[[Query], bool],
    ) -> None:
        """`has_picture` says whether the source's own picture of a query can be used."""
        self.measures = Measures()
        self._turns = turns
        self._methods = methods
        self._gates = gates
        self._ledger = ledger
        self._seed = seed
        self._language = language
        self._twins = twins
        self._has_picture = has_picture
        self._decks = Decks(seed)
        self._indexes = {k: OverlapIndex() for k in turns}
        self._understood: dict[str, Understood] = {}
        self._assigned: dict[str, dict[int, Method]] = {}
        self._mates: dict[str, Twin] = {}

    @property
    def gates(self) -> Gates:
        """The gates of this build."""
        return self._gates

    def methods_of(self, query: Query) -> dict[int, Method]:
        """The methods of a query by number of turns, assigned once."""
        if query.id not in self._assigned:
            self._assigned[query.id] = self._methods.assign(query.scenario)
        return self._assigned[query.id]

    def understand(self, query: Query) -> Understood:
        """Parse a query, find its act class, and plan its picture; once for each query."""
        if query.id not in self._understood:
            self._understood[query.id] = self._analysed(query)
        return self._understood[query.id]

    def _analysed(self, query: Query) -> Understood:
        english = self._language == "en"
        request = parse_query(query.text) if english else unread(query.text)
        act = classify_act(query.text, request, query.scenario)
        key = f"{self._seed}:{query.id}"
        plan = plan_picture(act.act, request, query.raw, key, self._decks, source=self._has_picture(query))
        return Understood(query, request, act, plan)

    def compose(
        self,
        order: Sequence[Query],
        count: int,
        written: Mapping[tuple[str, int], Written],
        tell: Callable[[], None],
    ) -> list[Group]:
        """The first `count` queries of `order` that get through; `tell` is called after each.

        Args:
            order: The queries in the order in which they are taken.
            count: How many are wanted. Fewer come back where `order` does not hold enough.
            written: The dialogues of a chat model, by query id and turns; templates write the others.
            tell: Called after each query.
        """
        groups: list[Group] = []
        for query in order:
            if len(groups) == count:
                break
            group = self.try_query(query, written)
            if group is not None:
                groups.append(group)
                tell()
        return groups

    def try_query(self, query: Query, written: Mapping[tuple[str, int], Written]) -> Group | None:
        """All dialogues of one query, or None where a gate cannot be passed; the ledger then says which."""
        planned = self.methods_of(query)
        try:
            return self._group(self.understand(query), planned, written)
        except _Rejected as rejected:
            self._methods.release(query.scenario, planned)
            self._reject(query, str(rejected.args[0]), str(rejected.args[1]), fatal=True)
            return None

    def _group(
        self,
        understood: Understood,
        planned: Mapping[int, Method],
        written: Mapping[tuple[str, int], Written],
    ) -> Group:
        query = understood.query
        material = self._material(understood)
        twin = self.twin_of(understood) if self._twins else None
        harmful: dict[int, Dialogue] = {}
        benign: dict[int, Dialogue] = {}
        for turns in self._turns:
            if turns == 1:
                harmful[1] = self._question(query.text)
                if twin is not None:
                    benign[1] = self._question(twin.question)
                continue
            model = written.get((query.id, turns))
            if model is not None:
                harmful[turns] = _of_model(model.dialogue, model.method)
                if twin is not None and model.twin is not None:
                    benign[turns] = _of_model(model.twin, model.method)
                    continue
            if model is None and self._language != "en":
                raise _Rejected("no_dialogue", f"{turns} turns: the chat model wrote none")
            if model is None or twin is not None:
                found, mate = self._dealt(understood, material, twin, turns, planned[turns])
                harmful.setdefault(turns, found)
                if mate is not None:
                    benign[turns] = mate
        side = Side(query.text, understood.picture, harmful)
        other = Side(twin.question, twin.picture, benign) if twin is not None else None
        return Group(understood, side, other, twin.by if twin is not None else "")

    def _question(self, text: str) -> Dialogue:
        messages = (Message(role="user", content=text.strip()),)
        measured = self._gates.measure(Draft(text, messages, 1, None, self._language))
        if measured.fault:
            raise _Rejected(measured.fault, "1 turn")
        self._note(measured)
        return Dialogue(messages, None, "question", messages)

    def _material(self, understood: Understood) -> Material:
        chance = random.Random(f"{self._seed}:{understood.query.id}:values")
        act = understood.act.act
        material = Material(
            id=understood.query.id,
            class_id=act.id,
            ladder=act.ladder,
            request=understood.request,
            shown=understood.picture.shown,
            cast=cast_of(f"{self._seed}:{understood.query.id}", talk().cast),
        )
        values = slot_values(None, material, chance)
        return Material(
            material.id,
            material.class_id,
            material.ladder,
            material.request,
            material.shown,
            material.cast,
            values,
        )

    def twin_of(self, understood: Understood) -> "Twin":
        """What the twin of a query is about, and its picture; decided once."""
        key = understood.query.id
        if key not in self._mates:
            self._mates[key] = self._twin(understood, self._material(understood))
        return self._mates[key]

    def _twin(self, understood: Understood, material: Material) -> "Twin":
        query = understood.query
        if query.twin_text:
            request = parse_query(query.twin_text)
            chance = random.Random(f"{self._seed}:{query.id}:twin")
            plan = scene_plan(understood.act.act, f"{self._seed}:{query.id}:twin", self._decks, chance)
            return Twin(query.twin_text, plan, request, None, "pair")
        next_ = choose(material, self._decks)
        plan = self._twin_picture(understood, next_)
        return Twin(next_.question, plan, None, next_, "neighbour")

    def _twin_picture(self, understood: Understood, next_: Next) -> PicturePlan:
        """The same surface with the twin's thing, or the same scene; never one that prints the query."""
        plan, key = understood.picture, f"{self._seed}:{understood.query.id}:twin"
        if plan.surface is not None:
            return words_plan(plan.surface, next_.thing, f"{self._seed}:{understood.query.id}")
        if plan.card is not None and plan.card.kind == "scene":
            return plan
        surfaces = [s for s in understood.act.act.ladder.surfaces if "thing" in s.pointers]
        surface = self._decks.deal(("twin_surface", understood.act.act.id), surfaces)
        if surface is not None:
            return words_plan(surface, next_.thing, key)
        return scene_plan(understood.act.act, key, self._decks, random.Random(key))

    def _dealt(
        self, understood: Understood, material: Material, twin: "Twin | None", turns: int, method: Method
    ) -> tuple[Dialogue, Dialogue | None]:
        """The draft least like the dialogues before it, with its twin."""
        best: tuple[float, Script, tuple[Message, ...], Measured, set[int]] | None = None
        failed: Counter[str] = Counter()
        for attempt in range(DRAWS):
            chance = random.Random(f"{self._seed}:{understood.query.id}:{turns}:{attempt}")
            script = WRITERS[method](material, turns, self._decks, chance)
            messages = _messages(script)
            draft = Draft(
                understood.query.text, messages, turns, method, self._language, understood.picture.shown.words
            )
            measured = self._gates.measure(draft)
            if measured.fault:
                failed[measured.fault] += 1
                self.measures.redrawn[measured.fault] += 1
                continue
            grams = dialogue_grams(messages[:-1])
            share = self._indexes[turns].nearest(grams)[0]
            if best is None or share < best[0]:
                best = (share, script, messages, measured, grams)
            if share <= ALIKE:
                break
            self.measures.redrawn["diversity"] += 1
        if best is None:
            raise _Rejected(
                failed.most_common(1)[0][0], f"{turns} turns: no draft of {DRAWS} passed the gates"
            )
        share, script, messages, measured, grams = best
        self._indexes[turns].add(grams, share)
        self.measures.overlaps.setdefault(method.value, []).append(share)
        self._note(measured)
        control = control_dialogue(script.texts(), understood.picture.shown, understood.request)
        found = Dialogue(messages, method, TEMPLATE, control)
        return found, self._mate(script, material, twin, turns, method) if twin is not None else None

    def _mate(self, script: Script, material: Material, twin: "Twin", turns: int, method: Method) -> Dialogue:
        """The twin of one dealt dialogue."""
        chance = random.Random(f"{self._seed}:{material.id}:{turns}:twin")
        if twin.next_ is not None or twin.request is None:
            if twin.next_ is None:
                raise ValueError("a twin needs a request or a neighbour")
            carries = twin.picture.shown.part is not None
            name = twin.picture.shown.pointer if carries else twin.next_.thing
            other = twin_script(script, material, twin.next_, name, method, self._decks)
        else:
            own = Material(
                material.id,
                material.class_id,
                material.ladder,
                twin.request,
                twin.picture.shown,
                material.cast,
                material.values,
            )
            written = WRITERS[method](own, turns, self._decks, chance)
            first = shared(script)[: parted_at(turns - 1)]
            other = Script((*first, *written.exchanges[len(first) :]), written.last, written.carrier)
        control = control_dialogue(other.texts(), twin.picture.shown, None)
        return Dialogue(_messages(other), method, TEMPLATE, control)

    def _note(self, measured: Measured) -> None:
        self.measures.intent.append(measured.intent)
        self.measures.coherence.append(measured.coherence)

    def _reject(self, query: Query, reason: str, detail: str, *, fatal: bool) -> None:
        self._ledger.add(Reject(Stage.DIALOGUES, reason=reason, place=query.id, detail=detail, fatal=fatal))


@dataclass(frozen=True, slots=True)
class Twin:
    """The harmless side of a query before its dialogues are written."""

    question: str
    picture: PicturePlan
    request: Request | None
    next_: Next | None
    by: str


def _messages(script: Script) -> tuple[Message, ...]:
    return as_messages([with_picture(text) for text in script.texts()])


def as_messages(texts: Sequence[str]) -> tuple[Message, ...]:
    """Texts as messages, user first and then in turn."""
    return tuple(
        Message(role="assistant" if place % 2 else "user", content=text.strip())
        for place, text in enumerate(texts)
    )


def _of_model(dialogue: tuple[Message, ...], method: Method) -> Dialogue:
    return Dialogue(dialogue, method, "llm", dialogue)
