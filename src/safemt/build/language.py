"""Which language a text is in, by its script and its commonest words: a coarse guess without a model."""

import unicodedata
from collections import Counter
from typing import Final

from safemt.build.words import words

UNDETERMINED: Final = "und"

_FUNCTION_WORDS: Final = {
    "en": "the of and to in is that for it with as on be at by this are from or an how do you what can i "
    "your",
    "de": "der die das und ist nicht ein eine zu den mit von für auf dem wie ich kann man sich werden einen "
    "im",
    "fr": "le la les et est pas un une des du pour dans que qui comment je peut vous sur avec au ce il en",
    "es": "el la los las y es no un una de del para en que cómo como yo puedo se con por su al mi",
    "it": "il lo la gli e è non un una di del per in che come io posso si con su della i mio nel",
    "pt": "o a os as e é não um uma de do da para em que como eu posso se com por no na meu",
    "nl": "de het een en is niet van voor in op dat hoe ik kan je met te zijn aan er wat mijn",
}
_SCRIPTS: Final = {
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "DEVANAGARI": "hi",
    "THAI": "th",
    "HEBREW": "he",
    "GREEK": "el",
}
_SETS: Final = {code: frozenset(text.split()) for code, text in _FUNCTION_WORDS.items()}


def guess_language(text: str) -> str:
    """A code such as `en`, or `und` where nothing tells (a few words, a formula, a name).

    Another script decides at once when it has half of the letters; among languages in Latin letters the one
    whose function words are most frequent wins, if it leads by two.
    """
    letters = [character for character in text[:2_000] if character.isalpha()]
    if not letters:
        return UNDETERMINED
    scripts = (
        Counter({"LATIN": len(letters)})
        if text.isascii()
        else Counter(unicodedata.name(character, "?").split()[0] for character in letters)
    )
    script, count = scripts.most_common(1)[0]
    if script != "LATIN" and count * 2 >= len(letters):
        japanese = scripts["HIRAGANA"] + scripts["KATAKANA"] > 0
        return "ja" if japanese else _SCRIPTS.get(script, UNDETERMINED)
    found = words(text)
    hits = {code: sum(word in known for word in found) for code, known in _SETS.items()}
    best, second = sorted(hits, key=lambda code: -hits[code])[:2]
    return best if hits[best] >= hits[second] + 2 else UNDETERMINED
