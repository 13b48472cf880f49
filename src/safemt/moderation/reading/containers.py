"""What a text holds inside something else: JSON and XML values, code fences, comments, quotes, table cells.

A request inside such a container reads like data; opened, it reads like a request. Opening adds texts and
hides none. All of it takes time that grows with the length of the text and no faster.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

MOST_OPENED: Final = 24
"""Texts that are taken out of one message."""
LONGEST_OPENED: Final = 4_000
"""Characters of each."""
_FEWEST_WORDS: Final = 3
_LETTERS: Final = re.compile(r"[^\W\d_]{2,}")
_WIDE_SCRIPT: Final = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4,}")
"""Scripts in which four letters can be a sentence."""

_FENCE: Final = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_STRING: Final = re.compile(
    r'"((?:[^"\\\n]|\\.){1,1000})"|(?<![^\W_])\'((?:[^\'\\\n]|\\.){1,1000})\'(?![^\W_])'
)
_QUOTED: Final = re.compile("“([^“”]{8,})”|„([^„“”]{8,})[“”]|«([^«»]{8,})»|「([^「」]{4,})」")
_COMMENT: Final = re.compile(r"(?m)(?:^|\s)(?:#+|//+|--|%|;+|\*)[ \t]*([^\n#*]{6,})")
_BLOCK_COMMENT: Final = re.compile(r"/\*(.*?)(?:\*/|\Z)|<!--(.*?)(?:-->|\Z)", re.DOTALL)
_TAG: Final = re.compile(r">([^<>]{6,})</")
_CELL: Final = re.compile(r"\|([^|\n]{6,})(?=\|)")
_FIELD: Final = re.compile(r"(?m)^[ \t]*[\w .-]{1,24}[:=][ \t]*(\S[^\n]{5,})$")
_MARKER: Final = re.compile(r"^(?:todo|fixme|note|xxx)\b[: ]*", re.IGNORECASE)
_CODE: Final = re.compile(r"[\"'`{}<>|#=]|//|/\*|--|[“„«「]|:")
"""Without one of these a text holds no container."""


def opened(text: str) -> list[str]:
    """The texts inside containers of `text`, each once, in no promised order; not `text` itself."""
    if not _CODE.search(text):
        return []
    found = chain(
        _json(text),
        _groups(_FENCE, text),
        map(_unescaped, _groups(_STRING, text)),
        _groups(_QUOTED, text),
        (_MARKER.sub("", each) for each in _groups(_COMMENT, text)),
        _groups(_BLOCK_COMMENT, text),
        _groups(_TAG, text),
        _groups(_CELL, text),
        _groups(_FIELD, text),
    )
    wordy = (each.strip()[:LONGEST_OPENED] for each in found if _is_wordy(each))
    return list(islice(dict.fromkeys(each for each in wordy if each != text.strip()), MOST_OPENED))


def _groups(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for each in pattern.finditer(text):
        yield from (group for group in each.groups() if group)


def _json(text: str) -> Iterator[str]:
    """The strings of a text that is JSON as a whole."""
    if text.lstrip()[:1] not in {"{", "["}:
        return
    try:
        yield from _strings(json.loads(text))
    except (ValueError, RecursionError):
        return


def _strings(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting.extend(_both(each.items()))
        elif isinstance(each, list):
            waiting.extend(each)


def _both(items: Iterable[tuple[object, object]]) -> Iterator[object]:
    for name, value in items:
        yield name
        yield value


def _unescaped(string: str) -> str:
    if "\\" not in string:
        return string
    try:
        found = json.loads(f'"{string}"')
    except ValueError:
        return string
    return str(found)


def _is_wordy(text: str) -> bool:
    words = islice(_LETTERS.finditer(text), _FEWEST_WORDS)
    return sum(1 for _ in words) >= _FEWEST_WORDS or bool(_WIDE_SCRIPT.search(text))
