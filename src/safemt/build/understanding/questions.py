"""Questions as statements: the auxiliary goes behind the subject, and `do` into the verb."""

from collections.abc import Sequence
from typing import Final

from safemt.build.ladders.schema import Form
from safemt.build.understanding.parts import find_parts
from safemt.build.understanding.request import Request, Token
from safemt.build.understanding.tokens import Doc, inflected, tokens_of

GENERIC: Final = frozenset(
    ["i", "you", "we", "one", "someone", "somebody", "anyone", "people", "person", "they", "he", "she"]
)
"""Subjects that stand for whoever does it."""
AUXILIARIES: Final = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "should",
        "would",
        "will",
        "may",
        "might",
        "must",
        "has",
        "have",
        "had",
        "am",
    ]
)
_DO: Final = {"do": "", "does": "VBZ", "did": "VBD"}


def question(doc: Doc, start: int, stop: int) -> Request | None:
    """The request of a question, a statement or a bare noun phrase; None if it is none of them."""
    first = doc[start]
    if first.lower_ in AUXILIARIES and stop - start > 2:
        order = _declared(doc, start, stop)
        return _ordered(doc, order, Form.CLAIM) if order else None
    if first.tag_ in ("WP", "WRB", "WDT", "WP$") or first.lower_ in ("how", "why"):
        return _wh(doc, start, stop)
    if first.pos_ == "ADP" and any(t.tag_ in ("WDT", "WP") for t in doc[start + 1 : start + 3]):
        return _wh(doc, start, stop)
    root = next((token for token in doc[start:stop] if token.dep_ == "ROOT"), None)
    if (
        root is not None
        and root.pos_ in ("VERB", "AUX")
        and any(t.dep_.startswith("nsubj") for t in root.children)
    ):
        return Request(
            Form.CLAIM, _lowered(doc, start, tokens_of(doc, start, stop)), find_parts(doc, start, stop)
        )
    if root is not None and root.pos_ in ("NOUN", "PROPN"):
        return Request(
            Form.FACT, _lowered(doc, start, tokens_of(doc, start, stop)), find_parts(doc, start, stop)
        )
    return None


def _wh(doc: Doc, start: int, stop: int) -> Request | None:
    """A wh-question as an embedded clause: `which seats are best`, `how secure the lock is`."""
    aux = next(
        (
            t.i
            for t in doc[start + 1 : stop]
            if t.lower_ in AUXILIARIES and t.tag_ in ("VBZ", "VBP", "VBD", "MD", "VB")
        ),
        None,
    )
    why = doc[start].lower_ == "why"
    if aux is None:
        return _ordered(doc, list(range(start, stop)), Form.FACT)
    asked = list(range(start, aux))
    simple = doc[start].lower_ in ("what", "who") and aux == start + 1 and doc[aux].lemma_ == "be"
    if (
        simple
        and doc[start].lower_ == "what"
        and not any(t.pos_ in ("VERB", "AUX") for t in doc[aux + 1 : stop])
    ):
        return Request(Form.FACT, tokens_of(doc, aux + 1, stop), find_parts(doc, aux + 1, stop))
    whole = doc[aux].dep_ == "ROOT" and aux > start + 1
    order = _declared(doc, aux, stop, whole=whole)
    if why:
        return _ordered(doc, order, Form.CLAIM) if order else None
    if order is None:
        return _ordered(doc, list(range(start, stop)), Form.FACT)
    return _ordered(doc, asked + order, Form.FACT)


def _declared(doc: Doc, aux: int, stop: int, *, whole: bool = False) -> list[int] | None:
    """The tokens of an inverted clause in the order of a statement; None if its subject cannot be told.

    With `whole`, the subject may be all that follows, as in `how secure is this lock`.
    The auxiliary goes behind the subject. `do` keeps its place there and is dropped later (`_ordered`).
    """
    negated = aux + 1 < stop and doc[aux + 1].lower_ in ("n't", "not")
    begin = aux + 1 + negated
    verb = doc[aux].head if doc[aux].dep_ in ("aux", "auxpass") else doc[aux]
    subject = next(
        (t for t in verb.children if t.dep_.startswith(("nsubj", "expl", "csubj")) and t.i >= begin), None
    )
    if begin >= stop:
        return None
    left, right = begin, _end_of_subject(doc, begin, stop)
    if subject is not None and doc[begin].lower_ not in GENERIC:
        left, right = subject.left_edge.i, subject.right_edge.i
    named = (
        right + 1 < stop - 1 and doc[right + 1].tag_ == "NNP" and doc[begin].lower_ in ("my", "our", "your")
    )
    last = stop if whole else stop - 1
    if left != begin or right >= last or named:
        left, right = begin, _end_of_subject(doc, begin, stop)
    if right < left or right >= last:
        return None
    return [*range(left, right + 1), aux, *([aux + 1] if negated else []), *range(right + 1, stop)]


def _end_of_subject(doc: Doc, begin: int, stop: int) -> int:
    """The last token of a subject that the parser did not delimit: of the first noun phrase."""
    bare = (
        doc[begin].lower_ in ("there", "it", "this", "that", "these", "those") and doc[begin].pos_ == "PRON"
    )
    if bare or doc[begin].lower_ in GENERIC - {"people", "person"}:
        return begin
    for chunk in doc.noun_chunks:
        if chunk.start == begin or (chunk.start == begin + 1 and doc[begin].tag_ in ("DT", "PDT")):
            end = chunk.end - 1
            while end + 1 < stop - 1 and doc[end + 1].tag_ == "NNP":
                end += 1
            while end > begin and doc[end].pos_ not in ("NOUN", "PROPN", "PRON"):
                end -= 1
            while end >= stop - 1 and end > begin:
                end -= 1
            return _with_preposition(doc, end, stop)
    return begin - 1


def _with_preposition(doc: Doc, end: int, stop: int) -> int:
    """The end of a subject with `from …` or `of …` behind it, if something is left for the predicate."""
    if end + 2 < stop - 1 and doc[end + 1].lower_ in ("from", "of", "in", "with"):
        for chunk in doc.noun_chunks:
            if chunk.start == end + 2:
                return int(chunk.end) - (1 if chunk.end < stop else 2)
    return end


def _ordered(doc: Doc, order: Sequence[int], form: Form) -> Request:
    """A request of tokens in a new order, with `do` resolved into the verb's form."""
    tokens = [tokens_of(doc, i, i + 1)[0] for i in order]
    for place, index in enumerate(order):
        word = doc[index].lower_
        moved = place > 0 and order[place - 1] > index
        if word not in _DO or not moved:
            continue
        following = order[place + 1] if place + 1 < len(order) else None
        if following is not None and doc[following].lower_ in ("n't", "not"):
            continue
        verb = next((p for p in range(place + 1, len(order)) if doc[order[p]].tag_ in ("VB", "VBP")), None)
        if verb is None or verb > place + 3:
            continue
        text = inflected(tokens[verb].text, doc[order[verb]], _DO[word]) if _DO[word] else tokens[verb].text
        tokens[verb] = Token(text, tokens[verb].lemma, tokens[verb].space, tokens[verb].content)
        tokens[place] = Token("", "", space=False)
        break
    fixed = []
    for place, token in enumerate(tokens):
        nothing = place + 1 < len(tokens) and (
            tokens[place + 1].text[:1] in ("'", ",") or tokens[place + 1].text == "n't"
        )
        text = token.text
        index = order[place]
        if text and doc[index].is_sent_start and doc[index].pos_ != "PROPN" and text != "I":
            text = text[:1].lower() + text[1:]
        apart = bool(doc[index].whitespace_) or place + 1 == len(order) or order[place + 1] != index + 1
        fixed.append(Token(text, token.lemma, bool(text) and apart and not nothing, token.content))
    return Request(form, tuple(fixed), find_parts(doc, 0, len(doc), order=order))


def _lowered(doc: Doc, start: int, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    first = tokens[0]
    if doc[start].pos_ == "PROPN" or first.text == "I" or first.text.isupper():
        return tokens
    text = first.text[:1].lower() + first.text[1:]
    return (Token(text, first.lemma, first.space, first.content), *tokens[1:])
