"""Which language a message is written in, told by its script and by its most common words.

Small on purpose: it answers whether the moderator was measured on the language of a message, so a wrong
guess between two languages that both were, or both were not, does no harm. Short texts have none.
"""

import re
from collections import Counter
from typing import Final

UNTOLD: Final = "und"
"""Too little text, or none of the languages known here."""
UNKNOWN_LATIN: Final = "latin"
"""Enough text in Latin letters, and of none of the languages known here."""

_FEWEST_LETTERS: Final = 8
_FEWEST_WORDS: Final = 6
_LEAST_COMMON: Final = 0.12
"""Share of a language's common words from which on a text is taken for it; running text has about 0.4."""
_LONGEST: Final = 4_000
"""Characters that are looked at: the first, and as many from the middle and the end."""
_WORD: Final = re.compile(r"[^\W\d_]+")

_SCRIPTS: Final = (
    ("hangul", "\u1100", "\u11ff"), ("hangul", "\uac00", "\ud7af"), ("kana", "\u3040", "\u30ff"),
    ("han", "\u3400", "\u9fff"), ("arabic", "\u0600", "\u06ff"), ("cyrillic", "\u0400", "\u04ff"),
    ("hi", "\u0900", "\u097f"), ("he", "\u0590", "\u05ff"), ("el", "\u0370", "\u03ff"),
    ("th", "\u0e00", "\u0e7f"), ("bn", "\u0980", "\u09ff"), ("ta", "\u0b80", "\u0bff"),
    ("te", "\u0c00", "\u0c7f"), ("ka", "\u10a0", "\u10ff"), ("hy", "\u0530", "\u058f"),
    ("am", "\u1200", "\u137f"), ("my", "\u1000", "\u109f"), ("km", "\u1780", "\u17ff"),
    ("pa", "\u0a00", "\u0a7f"), ("gu", "\u0a80", "\u0aff"), ("kn", "\u0c80", "\u0cff"),
    ("ml", "\u0d00", "\u0d7f"), ("si", "\u0d80", "\u0dff"), ("lo", "\u0e80", "\u0eff"),
    ("bo", "\u0f00", "\u0fff"),
)  # fmt: skip
_PERSIAN: Final = frozenset("پچژگکی")
_URDU: Final = frozenset("ٹڈڑںےہ")
_UKRAINIAN: Final = frozenset("іїєґ")
_OTHER_CYRILLIC: Final = frozenset("ђјљњћџўқғңөүұһәѓќ")
_BULGARIAN: Final = frozenset({"да", "се", "са", "съм", "ли", "ще", "това", "какво", "как", "със", "към"})
_RUSSIAN: Final = frozenset(
    {"и", "в", "не", "что", "как", "мне", "это", "я", "с", "его", "но", "ты", "вы", "по"}
)


_LETTERS: Final = 8
_FEWEST_WORDS: Final = 6
_LEAST_COMMON: Final = 0.12
"""Share of a language's common words from which on a text is taken for it; running text has about 0.4."""
_LONGEST: Final = 4_000
"""Characters that are looked at: the first, and as many from the middle and the end."""
_WORD: Final = re.compile(r"[^\W\d_]+")

_SCRIPTS: Final = (
    ("hangul", "\u1100", "\u11ff"), ("hangul", "\uac00", "\ud7af"), ("kana", "\u3040", "\u30ff"),
    ("han", "\u3400", "\u9fff"), ("arabic", "\u0600", "\u06ff"), ("cyrillic", "\u0400", "\u04ff"),
    ("hi", "\u0900", "\u097f"), ("he", "\u0590", "\u05ff"), ("el", "\u0370", "\u03ff"),
    ("th", "\u0e00", "\u0e7f"), ("bn", "\u0980", "\u09ff"), ("ta", "\u0b80", "\u0bff"),
    ("te", "\u0c00", "\u0c7f"), ("ka", "\u10a0", "\u10ff"), ("hy", "\u0530", "\u058f"),
    ("am", "\u1200", "\u137f"), ("my", "\u1000", "\u109f"), ("km", "\u1780", "\u17ff"),
    ("pa", "\u0a00", "\u0a7f"), ("gu", "\u0a80", "\u0aff"), ("kn", "\u0c80", "\u0cff"),
    ("ml", "\u0d00", "\u0d7f"), ("si", "\u0d80", "\u0dff"), ("lo", "\u0e80", "\u0eff"),
    ("bo", "\u0f00", "\u0fff"),
)  # fmt: skip
_PERSIAN: Final = frozenset("پچژگکی")
_URDU: Final = frozenset("ٹڈڑںےہ")
_UKRAINIAN: Final = frozenset("іїєґ")
_OTHER_CYRILLIC: Final = frozenset("ђјљњћџўқғңөүұһәѓќ")
_BULGARIAN: Final = frozenset({"да", "се", "са", "съм", "ли", "ще", "това", "какво", "как", "със", "към"})
_RUSSIAN: Final = frozenset(
    {"и", "в", "не", "что", "как", "мне", "это", "я", "с", "его", "но", "ты", "вы", "по"}
)

_COMMON: Final = {
    "en": "the a of to and in is it you that i for on what "
    "how do my can are with be this not have me was your if or",
    "de": "der die das und ich ist nicht ein eine wie zu in den "
    "mit es kann mir sie von auf für was mein sich dem du",
    "fr": "le la les de des et je est un une comment que pour "
    "pas dans à en mon ma vous qui ne puis sur ce il du",
    "es": "el la los de que y en un una cómo para por no mi es se con lo qué puedo las del me si su al",
    "it": "il la di che e un una come per non mi è in con si posso sono del le i da lo mia mio cosa ho della",
    "pt": "o a os de que e em um uma como para não eu meu é se com por posso do da no na mais minha você ao",
    "nl": "de het een en ik is niet hoe van te in dat op voor met mijn kan je zijn er wat aan die om",
    "sv": "och att det en jag är inte hur som på för med av min kan till om ett den du har vad",
    "da": "og at det en jeg er ikke hvordan som på for med af min kan til om et den du har hvad",
    "pl": "i w nie na się jak do to jest że z mój czy mnie o co dla po ale moja jestem być",
    "cs": "a v ne na se jak do to je že s můj jsem mi o co pro po ale k jsou být",
    "tr": "ve bir bu nasıl için ne mi benim de da çok ile ben var değil daha olarak kadar gibi mı",
    "ro": "și de la în nu cum pentru un o este să că mă cu ce pe mi din care am sau",
    "hu": "a az és hogy nem egy hogyan van meg mi is ez ki de csak azt lehet nekem",
    "fi": "ja on ei että miten se minun kuin mutta mitä olen voi ovat en hän tämä kun",
    "vi": "là và của tôi không có cho được làm thế nào một các những để với này",
    "id": "dan yang di saya tidak cara untuk dengan ini itu apa bagaimana ke dari akan bisa adalah",
    "sw": "na ya wa ni kwa jinsi gani mimi katika hii la za kama nini yangu",
    "tl": "ang ng sa na mga ko ay paano ako at hindi ito para ang mo po",
}
_LETTERS: Final = tuple(
    (language, frozenset(letters))
    for language, letters in (
        ("es", "¿¡ñ"), ("de", "ß"), ("pt", "ãõ"), ("pl", "łżźćśą"), ("cs", "řěů"), ("tr", "ğış"),
        ("ro", "țșă"), ("hu", "őű"), ("vi", "ạảấầẩậắằẳặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ"),
    )
)  # fmt: skip
"""Letters that hardly any other language has."""
_WORDS: Final = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def language_of(text: str) -> str:
    """A code of two letters, `UNTOLD` or `UNKNOWN_LATIN`, for most of the letters of `text`."""
    if len(text) > 3 * _LONGEST:
        middle = len(text) // 2
        text = " ".join((text[:_LONGEST], text[middle : middle + _LONGEST], text[-_LONGEST:]))
    if text.isascii():
        return _of_words(text)
    scripts = Counter(_script(char) for char in text if char.isalpha())
    script = scripts.most_common(1)[0][0] if scripts else ""
    if script == "latin":
        return _of_words(text)
    if scripts.total() < _FEWEST_LETTERS and script not in {"han", "kana", "hangul"}:
        return UNTOLD
    if script in {"han", "kana"}:
        return "ja" if 5 * scripts["kana"] >= scripts["han"] else "zh"
    told = {"hangul": lambda: "ko", "arabic": lambda: _arabic(text), "cyrillic": lambda: _cyrillic(text)}
    return told[script]() if script in told else script


def _arabic(text: str) -> str:
    letters = frozenset(text)
    return "ur" if letters & _URDU else "fa" if letters & _PERSIAN else "ar"


def _script(char: str) -> str:
    if char < "\u0250" or "\u1e00" <= char <= "\u1eff":
        return "latin"
    return next((name for name, first, last in _SCRIPTS if first <= char <= last), "other")


def _cyrillic(text: str) -> str:
    letters = frozenset(text.lower())
    if letters & _UKRAINIAN:
        return "uk"
    if letters & _OTHER_CYRILLIC:
        return "other"
    words = Counter(_WORD.findall(text.lower()))
    russian, bulgarian = (sum(words[word] for word in common) for common in (_RUSSIAN, _BULGARIAN))
    return "bg" if bulgarian > russian + 1 else "ru"


def _of_words(text: str) -> str:
    words = _WORD.findall(text.lower())
    if len(words) < _FEWEST_WORDS:
        return UNTOLD
    marked = next((language for language, letters in _LETTERS if not letters.isdisjoint(text)), "")
    counts = Counter(words)
    scores = {
        language: sum(counts[word] for word in common) + (language == marked)
        for language, common in _WORDS.items()
    }
    # Of equals the first is taken: the list begins with the languages that are met most. Words of other
    # languages stand in English texts, so that English needs to be about level only.
    best = "en" if scores["en"] >= 0.9 * max(scores.values()) else max(scores, key=scores.__getitem__)
    distinct = len(_WORDS[best] & counts.keys())
    if scores[best] >= _LEAST_COMMON * len(words) and distinct >= min(5, max(2, len(words) // 6)):
        return best
    # Lists, code and names hold few common words of any language.
    return UNKNOWN_LATIN if len(words) >= 2 * _FEWEST_WORDS and not _looks_english(words) else UNTOLD


def _looks_english(words: list[str]) -> bool:
    """Whether the endings of the longer words are mostly English ones."""
    longer = [word for word in words if len(word) > 5]
    english = sum(word.endswith(_ENDINGS) for word in longer)
    return not longer or 4 * english >= len(longer)


_ENDINGS: Final = (
    "ing", "tion", "ed", "er", "ly", "ment", "ness", "ers", "ies", "ous", "ity", "able", "ful", "ance",
    "ence", "ure", "ate", "ive", "al", "es", "ts", "age", "ht", "th", "le", "ck",
)  # fmt: skip
