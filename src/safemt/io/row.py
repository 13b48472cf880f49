"""What every row reader shares: the row, the limits, and why a source cannot be read."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple


class Row(NamedTuple):
    """One row: its fields, or what is wrong with it."""

    number: int
    """From 1: the line in JSON Lines and CSV, else the record."""
    place: str
    """The same for people: `line 3`, `record 3`."""
    fields: dict[str, Any] | None
    """None where the row is broken."""
    code: str = ""
    """Why it is broken: `not_json`, `not_utf8`, `not_an_object`, `too_long`, `too_deep`, `broken_array`."""
    problem: str = ""
    """The same as a clause: `it is not valid JSON: …`."""
    key: str = ""
    """Its key, where the source is one JSON object of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a source may hold. A few kilobytes of gzip or Parquet can unpack to more than memory holds."""

    content: int = 2 * 2**30
    """Bytes of a file, unpacked. A stream such as stdin may go on for ever."""
    row: int = 64 * 2**20
    """Bytes. A row holds a dialogue, perhaps with its pictures."""
    rows: int = 10_000_000
    depth: int = 100
    """How deep lists and objects may be nested."""


LIMITS: Final = Limits()


class Refusal(Exception):
    """A source as a whole cannot be read. `code` is stable; the message is a clause without its subject."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_deeper(value: object, depth: int) -> bool:
    """Whether lists and dictionaries are nested deeper than `depth`; takes no recursion."""
    level = [value]
    for _ in range(depth):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        level = inner
    return any(isinstance(each, dict | list) for each in level)
