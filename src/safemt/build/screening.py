"""Which rows may become a query at all.

Rows that put minors and sexual content together are refused, and so are rows about the abuse or luring of
children, and every row that any column of its source files under such a category, whatever its text says. The
rule is broad on purpose: some innocent rows go too. They are counted by source; their text is written
nowhere.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from safemt.build.language import guess_language
from safemt.build.queries import Ledger, RawQuery, Reject, Stage
from safemt.build.scenario import REFUSED_CATEGORIES
from safemt.build.words import normal

LONGEST: Final = 2_000
"""Characters. A longer text is a document, not a question."""

_MINOR: Final = re.compile(
    r"""\b(?:child(?:ren|hood|ish|like)?s?|kids?|kiddies?|minors?|under\W?-?age[d]?|teen(?:s|age[rd]?s?)?|preteens?|
    tweens?|adolescents?|juveniles?|toddlers?|infants?|bab(?:y|ies)|newborns?|pupils?|school\W?(?:girl|boy|kid|child)\w*|
    (?:little|young|small)\W+(?:girl|boy|one|sister|brother|lady|woman|man)s?|girls?|boys?|daughters?|sons?|niece|nephew|
    grand(?:child|son|daughter)\w*|stud(?:ent)s?|(?:high|middle|elementary|primary)\W+school\w*|kindergart\w+|
    nurser(?:y|ies)|lolis?|lolita\w*|shotas?|p[a]?edo\w*|(?:[1-9]|1[0-7])\W*(?:yo|y/o|years?\W*old|yr\W*old)|
    (?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)
    \W+years?\W+old|barely\W+legal|jailbait|csam|enfants?|niñ[oa]s?|kinder|minderjährig\w*|mineur\w*|menores)\b
    |未成年|儿童|兒童|小孩|孩子|女童|男童|幼女|少女|少年|小学生|中学生""",
    re.IGNORECASE | re.VERBOSE,
)
_SEXUAL: Final = re.compile(
    r"""\b(?:sex\w*|asexual|porn\w*|erotic\w*|erotica|nud(?:e|es|ity|ist)|naked|rape[ds]?|raping|rapists?|molest\w*|
    incest\w*|genital\w*|intercourse|orgas\w*|masturbat\w*|fetish\w*|seduc\w*|sensual\w*|lust\w*|horny|prostitut\w*|
    brothel\w*|escorts?|strip(?:per|tease|ping)\w*|groom(?:ing|ed|er)?|virgin\w*|p[a]?edo\w*|lolita\w*|lolicon|shotacon|
    csam|jailbait|explicit|intimate|hentai|nsfw|xxx|onlyfans|camgirl\w*|bestial\w*|lewd|obscene|bedroom|hook(?:ing)?\W?up|
    adult\W+(?:content|film|video|material|site|website|entertainment)s?|romantic\w*|sexuel\w*|sexual\w*)\b
    |性交|性侵|色情|裸|强奸|猥亵|性行为|性感""",
    re.IGNORECASE | re.VERBOSE,
)
_CHILD_CATEGORY: Final = re.compile(
    r"""\b(?:csam|cs[ae]|csea|groom\w*|p[a]?edo\w*|loli\w*)\b|
    \b(?:child\w*|minors?|under\W?age\w*|teen\w*|juveniles?|infants?|kids?|youth)\b.*
    (?:abus|sex|exploit|porn|groom|content|nud|molest|endanger|traffick|safety|harm|crime)|
    (?:abus|sex|exploit|porn|groom|nud|molest|endanger|traffick|crime)\w*\b.*
    \b(?:child\w*|minors?|under\W?age\w*|teen\w*|juveniles?|infants?|kids?|youth)\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""Categories about the abuse of children, whatever a source calls them."""
_CHILD: Final = re.compile(
    r"""\b(?:child(?:ren|'s|s)?|kids?|minors?|under\W?-?age[d]?|(?:pre)?teen(?:age[rd]?)?s?|adolescents?|toddlers?|
    school\W?(?:girl|boy|kid|child)\w*|(?:little|young)\W+(?:girl|boy)s?|
    (?:[1-9]|1[0-7])\W*(?:yo|y/o|years?\W*old))\b""",
    re.IGNORECASE | re.VERBOSE,
)
_LURING: Final = re.compile(
    r"""\b(?:lur(?:e|es|ed|ing)|entic(?:e|es|ed|ing)|befriend\w*|coax\w*|groom\w*|seduc\w*|touch(?:es|ed|ing)?|
    (?:gain|win|earn)\w*\W+(?:\w+\W+){0,3}trust|meet\w*\W+(?:\w+\W+){0,3}(?:alone|secret\w*|in\W+person)|
    (?:keep|kept)\W+(?:\w+\W+){0,3}secret|without\W+(?:\w+\W+){0,3}parents|send\w*\W+(?:\w+\W+){0,4}(?:photo|picture|
    selfie|image)s?|(?:isolat|manipulat|persuad|coerc|blackmail)\w*|get\W+(?:\w+\W+){0,3}alone\W+with|undress\w*|
    predator\w*|abus(?:e|es|ed|ing|ive)|exploit\w*)\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""How a child is approached without a sexual word."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def minors_and_sex(*texts: str) -> bool:
    """Whether the texts, taken together, name minors and anything sexual."""
    whole = "\n".join(texts)
    return names_minors(whole) and names_sex(whole)


def child_abuse(texts: Iterable[str], categories: Iterable[str]) -> bool:
    """Whether a row is about the abuse or the luring of children, by its text or by any of its categories."""
    named = [" ".join(re.split(r"[\W_]+", category.lower())) for category in categories]
    if any(category in REFUSED_CATEGORIES or _CHILD_CATEGORY.search(category) for category in named):
        return True
    whole = unicodedata.normalize("NFKC", "\n".join([*texts, *named]))
    return bool(_CHILD.search(whole) and _LURING.search(whole)) or minors_and_sex(whole)


def names_minors(text: str) -> bool:
    """Whether a text names minors, or people who may be."""
    return bool(_MINOR.search(unicodedata.normalize("NFKC", text)))


def names_sex(text: str) -> bool:
    """Whether a text names anything sexual."""
    return bool(_SEXUAL.search(unicodedata.normalize("NFKC", text)))


def screen(rows: Iterable[RawQuery], *, language: str, ledger: Ledger) -> Iterator[RawQuery]:
    """The rows that may become queries; why the others may not goes into the ledger."""
    for row in rows:
        ledger.rows[row.source] += 1
        fault = _fault(row, language)
        if fault is None:
            yield row
        else:
            reason, detail = fault
            ledger.add(Reject(stage=Stage.SCREENING, reason=reason, place=row.place, detail=detail))


def _fault(row: RawQuery, language: str) -> tuple[str, str] | None:  # noqa: PLR0911
    """Why a row cannot be taken: a stable reason, and a sentence that quotes none of its text."""
    texts = (row.text, row.key_phrase, row.picture_text)
    if child_abuse(texts, (row.category, row.scenario, *row.categories)):
        return "minors_and_sex", "minors and sexual content together, or the abuse of children; never written"
    if not normal(row.text):
        return "empty", "the query holds no word"
    if _CONTROL.search(row.text):
        return "control_characters", "the query holds NULs or other control characters"
    if "\ufffd" in row.text:
        return "bad_encoding", "the query holds characters that could not be decoded; save the file as UTF-8"
    if len(row.text) > LONGEST:
        return "too_long", f"the query has {len(row.text):,} characters (at most {LONGEST:,})"
    spoken = row.language or guess_language(row.text)
    if spoken not in (language, "und"):
        return "other_language", f"the query is in {spoken!r}, not in {language!r}"
    return None
