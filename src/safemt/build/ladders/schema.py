"""What a ladder file holds. One file describes one act class: everything that is written by hand for it.

A dialogue about a query walks down its class's ladder: rungs at distance 1 open it, rungs at distance 4 stand
next to the ask. Sentences hold slots in braces (`{thing}`), which the builder fills from the parsed query,
and marks in angle brackets (`<the reference number>`): noun phrases that a later turn may refer back to.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from safemt.core.taxonomy import Scenario


class Form(StrEnum):
    """What a query asks for. It decides which slots its last turn can have."""

    STEPS = "steps"
    """How to do something: a question, or an order for instructions, a plan, ways."""
    TEXT = "text"
    """Something to be written or made: a message, a post, a story, a program."""
    CLAIM = "claim"
    """A statement to agree with or to explain: "are all …?", "why are …?"."""
    FACT = "fact"
    """Something to be told: a what, who, where, whether or which question."""


class Carried(StrEnum):
    """What kind of phrase a picture can hold in the text's place."""

    THING = "thing"
    PERSON = "person"
    PEOPLE = "people"
    DOING = "doing"


class SurfaceKind(StrEnum):
    """What a surface is drawn as."""

    CARD = "card"
    CHART = "chart"
    CHAT = "chat"
    COVER = "cover"
    FORM = "form"
    LABEL = "label"
    LETTER = "letter"
    LIST = "list"
    NOTE = "note"
    NOTICE = "notice"
    PAGE = "page"
    POSTER = "poster"
    SCREEN = "screen"
    SIGN = "sign"


FORM_SLOTS: Final = {
    Form.STEPS: frozenset({"do", "doing", "does"}),
    Form.TEXT: frozenset({"text"}),
    Form.CLAIM: frozenset({"clause"}),
    Form.FACT: frozenset({"fact"}),
}
"""The slots of an ask, by form. `does` is for fiction: it follows a name."""
RUNG_SLOTS: Final = frozenset({"thing", "who", "doing"})
CAST_SLOTS: Final = frozenset({"name", "he", "him", "his", "himself"})
"""The main character of a fiction and the pronouns that fit; `his` stands before a noun."""
EVERYDAY, WORKING, FAILING, CASE = 1, 2, 3, 4
"""The distances of rungs: the everyday subject, how it normally works, how it goes wrong or is prevented or
noticed, a case next to the ask."""

Distance = Annotated[int, Meta(ge=EVERYDAY, le=CASE)]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unknown keys in a file are errors."""


class Exchange(_Struct, frozen=True):
    """One turn of the user and the assistant's answer to exactly that turn."""

    say: str
    reply: str


class Rung(_Struct, frozen=True):
    """One step of a ladder: exchanges about one small subject."""

    id: str
    distance: Distance
    first: tuple[Exchange, ...]
    """Exchanges that stand alone: they can open a dialogue, or turn to the rung's subject."""
    later: tuple[Exchange, ...]
    """Exchanges that refer back ("that", "those"). Each can follow every one of `first`."""


class Scene(Exchange, frozen=True):
    """An exchange inside a fiction. Scenes at distance 1 open it, right after a situation."""

    distance: Distance


class Fiction(_Struct, frozen=True):
    """What `role_play` needs besides the rungs."""

    situations: tuple[str, ...]
    """Who {name} is, and where."""
    scenes: tuple[Scene, ...]
    asks: dict[Form, tuple[str, ...]]


class Neighbour(_Struct, frozen=True):
    """A harmless act next door, for benign twins."""

    act: str
    things: tuple[str, ...]
    """What the twin is about: noun phrases with their article. A picture can carry them."""
    asks: tuple[str, ...]
    """Last turns; each holds {thing} and stands alone, so that it is the twin's question, too."""
    fiction: tuple[str, ...]
    exchanges: tuple[Exchange, ...]
    """What leads to the asks, where the twin has parted from its query's dialogue."""


class Surface(_Struct, frozen=True):
    """A document, sign or label that a picture shows, with a place for the words that it carries."""

    kind: SurfaceKind
    title: str
    lines: tuple[str, ...]
    """What is printed below the title. Exactly one line holds {words}."""
    pointers: dict[Carried, str]
    """How the text refers to the carried words: a noun phrase in place of theirs."""
    seen: tuple[str, ...]
    """How the user shows the picture in the first turn."""


class Asked(_Struct, frozen=True):
    """A worked example: a harmless question about a picture, and its complete answer."""

    question: str
    answer: str


class Pair(_Struct, frozen=True):
    """Worked examples about another picture, for `in_context` and `hybrid`."""

    picture: str
    form: Form
    asked: tuple[Asked, ...]


class Cues(_Struct, frozen=True):
    """What speaks for a class in a parsed query, as lemmas in lower case."""

    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    """Word for word."""
    never: tuple[str, ...] = ()
    """Words or phrases that rule the class out."""


class Ladder(_Struct, frozen=True):
    """The content of one file."""

    title: str
    """What queries of the class are about, as a noun phrase."""
    forms: tuple[Form, ...]
    """The forms that its queries take, the most frequent first."""
    cues: Cues
    describes: tuple[str, ...]
    """Short descriptions of the acts, to which a query is compared by meaning."""
    stand_ins: dict[str, tuple[str, ...]]
    """For {thing}, {who} and {doing}: phrases for queries that have none."""
    examples: dict[str, tuple[str, ...]]
    """For the slots of asks: mild values, with which the sentences are tested."""
    objects: tuple[str, ...]
    """Pictograms that suit a scene."""
    surfaces: tuple[Surface, ...]
    rungs: tuple[Rung, ...]
    asks: dict[Form, tuple[str, ...]]
    """Last turns. One without a slot points at what the user's previous turn named."""
    fiction: Fiction
    neighbours: tuple[Neighbour, ...]
    pairs: tuple[Pair, ...]


class ActClass(_Struct, frozen=True):
    """A ladder with its place: the folder and the name of its file."""

    scenario: Scenario
    name: str
    ladder: Ladder

    @property
    def general(self) -> bool:
        """Whether it serves the queries of a scenario that no other class fits."""
        return self.name == GENERAL

    @property
    def id(self) -> str:
        """`fraud/phishing_message`."""
        return f"{self.scenario.slug}/{self.name}"


GENERAL: Final = "general"
"""The name of each scenario's class for everything else."""
