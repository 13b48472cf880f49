"""Tokens of a parsed text: which carry meaning, and how verbs are inflected."""

from collections.abc import Sequence
from typing import Any

from safemt.build.understanding.request import Token
from safemt.build.understanding.wording import INSTRUCTING
from safemt.build.words import STOP_WORDS

Doc = Any
"""A parsed text of spaCy, whose types are not shipped."""


def is_content(token: Any) -> bool:
    """Whether a token carries meaning: no function word, no mark, no word that only gives an order."""
    word = token.lower_.replace("’", "'")
    return (
        any(character.isalnum() for character in word)
        and word not in STOP_WORDS
        and token.lemma_.lower() not in INSTRUCTING
        and token.pos_ not in ("PRON", "DET", "ADP", "AUX", "PART", "CCONJ", "SCONJ")
    )


def lemma_of(token: Any) -> str:
    """The lemma of a token, in lower case."""
    return str(token.lemma_).lower()


def tokens_of(doc: Doc, start: int, stop: int, verbs: Sequence[int] = ()) -> tuple[Token, ...]:
    """Tokens `start` to `stop` of a parsed text; those in `verbs` can be inflected."""
    return tuple(
        Token(
            text=token.text,
            lemma=lemma_of(token),
            space=bool(token.whitespace_),
            content=is_content(token),
            forms=(inflected(token.text, token, "VBG"), inflected(token.text, token, "VBZ"))
            if token.i in verbs
            else None,
        )
        for token in doc[start:stop]
    )


def inflected(word: str, token: Any, tag: str) -> str:
    """A verb in another form (`VBG`, `VBZ`, `VBD`, `VB`)."""
    from lemminflect import getInflection

    found = getInflection(token.lemma_.lower() if token.pos_ in ("VERB", "AUX") else word.lower(), tag)
    return str(found[0]) if found else {"VBG": word + "ing", "VBZ": word + "s"}.get(tag, word)
