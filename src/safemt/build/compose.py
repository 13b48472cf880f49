"""From queries to dialogues of every length, through the gates, until there are enough."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Final

from safemt.build.gates import Draft, Gates, Measured
from safemt.build.generators import template
from safemt.build.overlap import MOST, OverlapIndex, overlap
from safemt.build.plan import MethodPlan
from safemt.build.queries import Ledger, Query, Reject, Stage
from safemt.build.scenario import lexicons, topic_of
from safemt.build.twins import twin_question
from safemt.build.words import dialogue_grams
from safemt.core.schema import Message
from safemt.core.taxonomy import Method

DRAWS: Final = 16
"""How often a template dialogue is drawn anew before its query is given up."""


@dataclass(frozen=True, slots=True)
class Written:
    """A dialogue that a chat model wrote, already through the gates that look at it alone."""

    dialogue: tuple[Message, ...]
    method: Method
    """The one that was used, which a refusal may have changed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One query of a group with its dialogues: the harmful one, or its benign twin."""

    question: str
    dialogues: Mapping[int, tuple[Message, ...]]
    methods: Mapping[int, Method | None]
    generators: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Group:
    """An accepted query with all its dialogues."""

    query: Query
    harmful: Side
    twin: Side | None = None
    twin_by: str = ""


@dataclass(slots=True)
class Measures:
    """What the gates measured on the dialogues that passed."""

    intent: list[float] = field(default_factory=list)
    coherence: list[float] = field(default_factory=list)
    overlaps: dict[str, list[float]] = field(default_factory=dict)
    """For each method, the largest overlap of each dialogue with any before it."""
    redrawn: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, object]:
        """Least and mean of each, and the largest overlap by method."""
        return {
            "intent_retained": {"least": round(min(self.intent), 4), "mean": round(mean(self.intent), 4)},
            "coherence": {"least": round(min(self.coherence), 4), "mean": round(mean(self.coherence), 4)},
            "overlap_by_method": {
                name: {"largest": round(max(found), 4), "mean_of_largest": round(mean(found), 4)}
                for name, found in sorted(self.overlaps.items())
            },
        }


class _Rejected(Exception):
    """A query cannot be used; `args[0]` is the gate."""


class Composer:
    """Writes the dialogues of one build, query by query, and keeps what the gates need of earlier ones."""

    def __init__(
        self,
        *,
        turns: Sequence[int],
        methods: Sequence[Method],
        gates: Gates,
        ledger: Ledger,
        seed: int,
        language: str,
        twins: bool,
        written: Mapping[tuple[str, int], Written],
    ) -> None:
        """`written` are the dialogues of a chat model, by question and turns; templates write the others."""
        self.measures = Measures()
        self._turns = turns
        self._plan = MethodPlan(methods, turns)
        self._gates = gates
        self._ledger = ledger
        self._seed = seed
        self._language = language
        self._twins = twins
        self._written = written
        self._index = OverlapIndex()

    def compose(self, order: Sequence[Query], count: int, tell: Callable[[], None]) -> list[Group]:
        """The first `count` queries of `order` that get through; `tell` is called after each.

        Fewer come back where `order` does not hold enough; the ledger says what became of the others.
        """
        groups: list[Group] = []
        for query in order:
            if len(groups) == count:
                break
            group = self.try_query(query)
            if group is not None:
                groups.append(group)
                tell()
        return groups

    def try_query(self, query: Query) -> Group | None:
        """All dialogues of one query, or None where a gate cannot be passed; the ledger then says which."""
        planned = self._plan.assign(query.scenario)
        try:
            return self._group(query, planned)
        except _Rejected as rejected:
            self._plan.release(query.scenario, planned)
            self._reject(query, str(rejected.args[0]), rejected.args[1], fatal=True)
            return None

    def _group(self, query: Query, planned: Mapping[int, Method]) -> Group:
        pending: list[tuple[set[int], float, str]] = []
        harmful: dict[int, tuple[tuple[Message, ...], Method | None, str]] = {}
        twin: dict[int, tuple[tuple[Message, ...], Method | None, str]] = {}
        harmful_grams: list[set[int]] = []
        twin_grams: list[set[int]] = []
        twin_text, twin_by = self._twin_text(query) if self._twins else ("", "")
        for turns in self._turns:
            method = planned.get(turns)
            for attempt in range(-1, DRAWS):
                found = self._draft(query, query.text, turns, method, attempt)
                if found is None:
                    continue
                accepted = self._accept(query, query.text, turns, found, harmful_grams, attempt)
                if accepted is None:
                    continue
                if self._twins:
                    other = self._draft(query, twin_text, turns, found[1], attempt)
                    if other is None or other[1] is not found[1]:
                        continue
                    accepted_twin = self._accept(query, twin_text, turns, other, twin_grams, attempt)
                    if accepted_twin is None:
                        continue
                    twin[turns] = other
                    twin_grams.append(accepted_twin[0])
                    pending.append(accepted_twin)
                harmful[turns] = found
                harmful_grams.append(accepted[0])
                pending.append(accepted)
                break
            else:
                raise _Rejected("no_dialogue", f"{turns} turns: no draft of {DRAWS} passed the gates")
        for grams_, share, name in pending:
            self._index.add(grams_, share)
            self.measures.overlaps.setdefault(name, []).append(share)
        return Group(query, _side(query.text, harmful), _side(twin_text, twin) if twin else None, twin_by)

    def _draft(
        self, query: Query, question: str, turns: int, method: Method | None, attempt: int
    ) -> tuple[tuple[Message, ...], Method | None, str] | None:
        """A draft: attempt -1 is the chat model's, where there is one; the others are the templates'."""
        if turns == 1 and attempt < 0:
            return (Message(role="user", content=question),), None, "question"
        if attempt < 0:
            written = self._written.get((question, turns))
            return (written.dialogue, written.method, "llm") if written else None
        dialogue = template.write_dialogue(
            question,
            topic=topic_of(query, self._seed),
            aspects=lexicons()[query.scenario].aspects,
            turns=turns,
            method=method,
            seed=f"{self._seed}:{query.id}:{turns}:{attempt}",
            voice=f"{self._seed}:{query.id}:{turns}:{attempt}:{question == query.text}",
        )
        return dialogue, method, template.NAME

    def _accept(
        self,
        query: Query,
        question: str,
        turns: int,
        found: tuple[tuple[Message, ...], Method | None, str],
        siblings: Sequence[set[int]],
        attempt: int,
    ) -> tuple[set[int], float, str] | None:
        """The draft's 5-grams, its largest overlap and its method's name if it passes every gate."""
        dialogue, method, _ = found
        measured = self._gates.measure(Draft(question, dialogue, turns, method, self._language))
        fault, own = measured.fault, dialogue_grams(dialogue)
        if found[2] != template.NAME and fault == "intent_retained":
            fault = ""  # the chat model was asked about this paraphrase, and said that it holds
        share = 0.0
        if not fault:
            share = max([self._index.nearest(own)[0], *(overlap(own, other) for other in siblings)])
            fault = "diversity" if share > MOST else ""
        if fault and (turns == 1 or fault == "minors_and_sex"):
            raise _Rejected(fault, f"{turns} turns")
        if fault:
            self._reject(query, fault, f"{turns} turns, draft {attempt + 1}", fatal=False, dialogue=dialogue)
            self.measures.redrawn[fault] += 1
            return None
        self._note(measured)
        return own, share, method.value if method else "question"

    def _note(self, measured: Measured) -> None:
        self.measures.intent.append(measured.intent)
        self.measures.coherence.append(measured.coherence)

    def _twin_text(self, query: Query) -> tuple[str, str]:
        """The first wording of the twin's question that is unlike every accepted dialogue."""
        for attempt in range(DRAWS):
            text, by = twin_question(query, self._seed, attempt)
            found = dialogue_grams([Message(role="user", content=text)])
            if self._index.nearest(found)[0] <= MOST:
                return text, by
        raise _Rejected("diversity", "no wording of the benign twin is unlike the others")

    def _reject(
        self, query: Query, reason: str, detail: str, *, fatal: bool, dialogue: tuple[Message, ...] = ()
    ) -> None:
        texts = () if reason == "minors_and_sex" else tuple(message.content for message in dialogue)
        self._ledger.add(
            Reject(Stage.DIALOGUES, reason=reason, place=query.id, detail=detail, dialogue=texts, fatal=fatal)
        )


def _side(question: str, found: Mapping[int, tuple[tuple[Message, ...], Method | None, str]]) -> Side:
    return Side(
        question,
        {turns: dialogue for turns, (dialogue, _, _) in found.items()},
        {turns: method for turns, (_, method, _) in found.items()},
        {turns: generator for turns, (_, _, generator) in found.items()},
    )
