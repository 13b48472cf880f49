"""A parsed query: the form of its request, the phrase that states it, and the parts of that phrase."""

from collections.abc import Mapping
from dataclasses import dataclass

from safemt.build.ladders.schema import Carried, Form


@dataclass(frozen=True, slots=True)
class Token:
    """One word or mark of a phrase."""

    text: str
    lemma: str
    space: bool = True
    """Whether a blank follows."""
    content: bool = False
    """Whether it carries meaning, as opposed to grammar."""
    forms: tuple[str, str] | None = None
    """For a verb that the act's form changes: its -ing form and its third person singular."""


@dataclass(frozen=True, slots=True)
class Part:
    """A phrase inside the request that a picture or an earlier turn can name in its place."""

    kind: Carried
    start: int
    stop: int
    """Tokens `start` to `stop` of the request's phrase."""
    text: str
    """As it stands alone: `elderly people`; for an act its -ing form."""
    lemmas: frozenset[str]
    plural: bool = False
    anaphor: str = "it"
    """What stands for it once an earlier turn has named it: `it`, `them`, `one`, `that`."""
    modified: bool = False
    """Whether something that belongs to it follows, so that no pointer or pronoun can take its place."""

    @property
    def size(self) -> int:
        """Words of the part."""
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Request:
    """A query, understood."""

    form: Form
    phrase: tuple[Token, ...]
    """An order for `steps` (`copy the letters of a bank`), a noun phrase for `text` and sometimes `fact`, a
    clause for `claim` and `fact`."""
    parts: tuple[Part, ...] = ()
    setting: str = ""
    """Statements before the request."""
    tail: str = ""
    """A second order behind the request, such as `explain how to use it`."""
    lemmas: frozenset[str] = frozenset()
    """Content words of the whole query."""
    verbs: frozenset[str] = frozenset()
    first_person: bool = False
    understood: bool = True
    """False if no rule fitted and the request quotes the query."""

    def render(self, replaced: Mapping[Part, str] | None = None, *, inflect: str = "") -> str:
        """The phrase as text, with some parts replaced.

        Args:
            replaced: What to write in place of a part. For an act it follows `do` (`that`).
            inflect: For `steps`: `ing` or `s`; the plain form otherwise.
        """
        stands = {part.start: (part, text) for part, text in (replaced or {}).items()}
        place = {"": 0, "ing": 1, "s": 2}[inflect]
        words: list[str] = []
        at = 0
        while at < len(self.phrase):
            token = self.phrase[at]
            if at in stands:
                part, text = stands[at]
                if part.kind is Carried.DOING:
                    text = f"{('do', 'doing', 'does')[place]} {text}"
                at = part.stop
                words.append(text + (" " if self.phrase[at - 1].space else ""))
                continue
            text = token.forms[place - 1] if token.forms and place else token.text
            words.append(text + (" " if token.space else ""))
            at += 1
        return " ".join("".join(words).split()).strip(" ,")


def unread(text: str) -> Request:
    """The request of a query in a language that the parser does not know: its words, without parts."""
    tokens = tuple(Token(word, word.lower()) for word in text.split())
    return Request(Form.FACT, tokens, understood=False)
