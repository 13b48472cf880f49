"""Text to token numbers, as BERT's uncased models want them: the basic tokenizer, then word pieces.

Source: Devlin et al., BERT (arXiv 1810.04805), and its reference tokenizer. Our own because the packaged one
brings a dozen packages, 38 MB of them, which an operator would have to trust for this one function; the
tests hold it to that one, token for token.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from safemt.core.errors import ModeratorError

_LONGEST_WORD: Final = 100
"""Characters; a longer word is unknown, as in the reference."""
_IDEOGRAPHS: Final = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""What is a word by itself."""
_ASCII_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


class WordPiece:
    """A vocabulary, and how a text is cut into it."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self.start = vocabulary["[CLS]"]
        self.end = vocabulary["[SEP]"]
        self._unknown = vocabulary["[UNK]"]
        self._word = lru_cache(maxsize=16_384)(self._pieces)

    @classmethod
    def read(cls, path: Path) -> "WordPiece":
        """The vocabulary of a `tokenizer.json` file.

        Raises:
            ModeratorError: the file is missing or is not one.
        """
        try:
            return cls(json.loads(path.read_bytes())["model"]["vocab"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModeratorError(f"{path} holds no vocabulary; install safemt again.") from error

    def tokens(self, text: str) -> list[int]:
        """The token numbers of `text`, without the marks of start and end."""
        return [token for word in _words(text) for token in self._of_word(word)]

    def _of_word(self, word: str) -> tuple[int, ...]:
        # Before the cache, which would keep a word of megabytes.
        return self._word(word) if len(word) <= _LONGEST_WORD else (self._unknown,)

    def _pieces(self, word: str) -> tuple[int, ...]:
        """The longest piece that fits, again and again; all pieces but the first begin with `##`."""
        pieces: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._vocabulary.get(word[start:end] if start == 0 else f"##{word[start:end]}")
                if piece is not None:
                    pieces.append(piece)
                    start = end
                    break
            else:
                return (self._unknown,)
        return tuple(pieces)


def _words(text: str) -> Iterator[str]:
    """Words, punctuation marks and ideographs of `text`, in lower case and without accents."""
    if not text.isascii():
        text = "".join(map(_cleaned, text))
        text = "".join(
            each for each in unicodedata.normalize("NFD", text) if unicodedata.category(each) != "Mn"
        )
        # Letter by letter: the reference knows no final sigma.
        text = "".join(map(str.lower, text))
    else:
        text = text.lower().translate(_ASCII_CLEANED)
    for part in text.split():
        if part.isalnum():
            yield part
            continue
        word = ""
        for char in part:
            if char in _ASCII_PUNCTUATION or unicodedata.category(char)[0] == "P":
                if word:
                    yield word
                    word = ""
                yield char
            else:
                word += char
        if word:
            yield word


def _cleaned(char: str) -> str:
    code = ord(char)
    if code < 0x80:
        return char.translate(_ASCII_CLEANED)
    if char.isspace() and code != 0x85:
        return " "
    if code == 0xFFFD or unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"}:
        return ""
    return f" {char} " if any(first <= code <= last for first, last in _IDEOGRAPHS) else char


_ASCII_CLEANED: Final = dict.fromkeys((*range(32), 127)) | dict.fromkeys((9, 10, 13), " ")
"""Control characters go; a tab or a line's end is a blank."""
