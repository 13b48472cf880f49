"""The parts of a request: noun phrases and the act, which a picture or an earlier turn can name instead."""

from collections.abc import Sequence
from typing import Any, Final

from safemt.build.ladders.schema import Carried
from safemt.build.understanding.request import Part
from safemt.build.understanding.tokens import inflected, is_content, lemma_of
from safemt.build.understanding.wording import PEOPLE

MOST_WORDS: Final = 6
"""Words of a part; longer ones would be the request itself."""
_BAD: Final = frozenset(
    [
        "it",
        "them",
        "that",
        "this",
        "these",
        "those",
        "which",
        "who",
        "what",
        "one",
        "ones",
        "others",
        "other",
        "something",
        "everything",
    ]
)
_MODIFYING: Final = frozenset(["relcl", "acl", "appos", "conj", "advcl"])
_OF_NOUNS: Final = frozenset(["of", "about", "for", "regarding", "like", "between"])
"""Prepositions behind a noun that belong to it. Others mostly belong to the verb."""
_IDIOMATIC: Final = frozenset(["in", "at", "on", "by", "for", "to", "without", "under"])
"""Prepositions that form fixed phrases with a bare noun: `in court`, `at gunpoint`, `for ransom`."""
_PERSONAL: Final = frozenset(["i", "me", "you", "we", "us", "he", "she", "they", "him", "her"])


def find_parts(
    doc: Any,
    start: int,
    stop: int,
    *,
    act: int | None = None,
    offset: int = 0,
    order: Sequence[int] | None = None,
) -> tuple[Part, ...]:
    """The parts in tokens `start` to `stop` of a parsed text, in their order.

    Args:
        doc: The parsed text.
        start: First token of the phrase.
        stop: The token behind it.
        act: The place of the verb if the phrase is an act.
        offset: How many tokens the phrase has before `start`.
        order: The tokens of the phrase where they were put in another order.
    """
    places = {index: place for place, index in enumerate(order)} if order else None
    found = []
    for chunk in doc.noun_chunks:
        left, right = _bounds(doc, chunk)
        if left < start or right > stop or right - left > MOST_WORDS:
            continue
        if places is None:
            begin, end = left - start + offset, right - start + offset
        elif all(index in places for index in range(left, right)):
            begin, end = places[left], places[right - 1] + 1
            if end - begin != right - left:
                continue
        else:
            continue
        part = _noun_part(doc, left, right, begin, end, chunk.root)
        if part is not None:
            found.append(part)
    if act is not None:
        acting = _act_part(doc, act, start, stop, found)
        found += [acting] if acting else []
    return tuple(found)


def _bounds(doc: Any, chunk: Any) -> tuple[int, int]:
    """A noun chunk with a short `of` phrase behind it."""
    left, right = chunk.start, chunk.end
    if right < len(doc) - 1 and doc[right].lower_ == "of":
        for other in (
            doc[right + 1 : right + 5].noun_chunks if hasattr(doc[right:right], "noun_chunks") else ()
        ):
            if other.start == right + 1 and other.end - left <= MOST_WORDS:
                return left, other.end
    return left, right


def _noun_part(  # noqa: PLR0911, each rule leaves
    doc: Any, left: int, right: int, begin: int, end: int, root: Any
) -> Part | None:
    tokens = doc[left:right]
    lemmas = frozenset(lemma_of(token) for token in tokens if is_content(token))
    if not lemmas or root.lower_ in _BAD | _PERSONAL or any(t.text in '"“”()[]{}*/:;' for t in tokens):
        return None
    if tokens[0].lower_ in ("'s", "-", ",", "no", "any", "more", "most", "as") or doc[
        right - 1
    ].text.endswith("-"):
        return None
    if (right < len(doc) and doc[right].text in ("-", "'s", "'", "/")) or (
        left and doc[left - 1].text in ("-", "/")
    ):
        return None
    if root.dep_ in ("ROOT", "compound", "amod", "attr", "acomp", "nsubj") and root.dep_ != "nsubj":
        return None
    before = doc[left - 1] if left else None
    if before is not None and before.pos_ in ("NOUN", "PROPN") and before.whitespace_:
        return None
    if right < len(doc) and doc[right].text == ",":
        return None
    alone = right - left == 1 and root.tag_ == "NN"
    if alone and root.dep_ == "pobj" and before is not None and before.lower_ in _IDIOMATIC:
        return None
    if root.dep_ == "conj":
        return None
    if root.tag_.startswith("W") or tokens[0].tag_.startswith("W"):
        return None
    behind = [child for child in root.children if child.i >= right and child.left_edge.i <= right + 1]
    modified = any(
        child.dep_ in _MODIFYING or (child.dep_ == "prep" and child.lower_ in _OF_NOUNS) for child in behind
    )
    if (
        right < len(doc)
        and doc[right].pos_ in ("PRON", "PROPN", "NOUN", "AUX", "VERB")
        and doc[right].head.i != root.i
    ):
        modified = modified or doc[right].lower_ in _PERSONAL
    plural = (
        root.tag_ in ("NNS", "NNPS")
        or root.lemma_.lower() in ("people", "police")
        or bool(list(root.conjuncts))
    )
    text = tokens.text
    if tokens[0].is_sent_start and tokens[0].pos_ != "PROPN":
        text = text[:1].lower() + text[1:]
    kind = _kind(root, plural)
    return Part(kind, begin, end, text, lemmas, plural, _anaphor(tokens, kind, plural), modified)


def _kind(root: Any, plural: bool) -> Carried:
    named = root.ent_type_ == "PERSON" and root.pos_ == "PROPN"
    if named or root.lemma_.lower() in PEOPLE or (root.ent_type_ == "NORP" and plural):
        return Carried.PEOPLE if plural else Carried.PERSON
    return Carried.THING


def _anaphor(tokens: Any, kind: Carried, plural: bool) -> str:
    if plural or kind is not Carried.THING:
        return "them"
    if tokens[0].lower_ in ("a", "an"):
        return "one"
    return "it"


def _act_part(  # noqa: PLR0911, each rule leaves
    doc: Any, act: int, start: int, stop: int, nouns: Sequence[Part]
) -> Part | None:
    """The verb with its first object, as an -ing phrase."""
    verb = doc[act]
    if act != start or any(verb.i < t.i < stop for t in verb.conjuncts):
        return None
    first = min((part for part in nouns if part.start > act - start), key=lambda p: p.start, default=None)
    end = start + first.stop if first else act + 1
    if end - act > MOST_WORDS or end - act < 2:
        return None
    if any(token.pos_ in ("VERB", "SCONJ", "PUNCT", "CCONJ") for token in doc[act + 1 : end]):
        return None
    if end < stop and doc[end].text in ("'s", "-", "of", "and", "or", ",", "into", "'"):
        return None
    if first is not None and first.modified:
        return None
    lemmas = frozenset(lemma_of(token) for token in doc[act:end] if is_content(token))
    if not lemmas:
        return None
    text = " ".join([inflected(verb.text.lower(), verb, "VBG"), doc[act + 1 : end].text])
    return Part(Carried.DOING, 0, end - start, text, lemmas, False, "that")
