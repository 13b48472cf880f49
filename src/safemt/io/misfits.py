"""Sentences about values that do not fit their type, made from what msgspec says about them."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final, get_args

import msgspec

_EXPECTED: Final = re.compile(r"Expected `(?P<kinds>.+?)`(?P<bound>.*?)(?:, got .+)?\Z")
_FIELD: Final = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>.+)`\Z")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_NOUNS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "path": "a path",
}
_BOUNDS: Final = {
    "of length >=": "of length at least",
    "of length <=": "of length at most",
    ">=": "of at least",
    "<=": "of at most",
    ">": "above",
    "<": "below",
}
_LONGEST: Final = 40


def explain_misfit(message: str, data: Any, kind: Any) -> tuple[str, str]:
    """The path of a value that does not fit `kind`, and a sentence about it without its full stop.

    `message` is that of a `msgspec.ValidationError`; `data` is the whole of what was converted.
    """
    said, _, inside = message.partition(" - at `")
    path = inside.rstrip("`").removeprefix("$").removeprefix(".")
    steps = [key or place or "" for key, place, _ in _STEP.findall(path)]
    if match := _FIELD.match(said):
        field = f"{path}.{match['name']}" if path else match["name"]
        if match["what"] == "missing required":
            return field, f"`{field}` is missing"
        known = (each.encode_name for struct in _structs(_at(kind, steps)) for each in _fields(struct))
        return field, f"`{field}` is not known here; use {_listed(known)}"
    name = f"`{path}`" if path else "the content"
    if said.startswith("Invalid enum value"):
        wanted = f"must be {_listed(_choices(_at(kind, steps)))}"
    elif match := _EXPECTED.match(said):
        bound = match["bound"].removesuffix(".0")
        for sign, words in _BOUNDS.items():
            bound = bound.replace(f" {sign} ", f" {words} ")
        nouns = [_NOUNS.get(each, each) for each in match["kinds"].split(" | ")]
        wanted = f"must be {' or '.join(nouns)}{bound}"
    else:
        return path, f"{name}: {said}"
    return path, f"{name} {wanted}{_instead(data, steps)}"


def _instead(data: Any, steps: Iterable[str]) -> str:
    """`, not 3`; nothing where the path does not lead to a plain value."""
    for step in steps:
        if isinstance(data, dict) and step in data:
            data = data[step]
        elif isinstance(data, list | tuple) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return ""
    if isinstance(data, dict | list | tuple):
        return ", not a list" if isinstance(data, list | tuple) else ", not a mapping"
    text = "null" if data is None else str(data).lower() if isinstance(data, bool) else repr(data)
    return f", not {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}"


def _at(kind: Any, steps: Iterable[str]) -> Any:
    """The annotation of the field that a path leads to; items of a list have that of the list."""
    for step in steps:
        for struct in _structs(kind):
            kind = next((each.type for each in _fields(struct) if each.encode_name == step), kind)
    return kind


def _parts(kind: Any) -> Iterator[Any]:
    """An annotation and everything in it."""
    yield kind
    for each in get_args(kind):
        yield from _parts(each)


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    return (each for each in _parts(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct))


def _fields(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(struct)


def _choices(kind: Any) -> Iterator[str]:
    for each in _parts(kind):
        if isinstance(each, type) and issubclass(each, Enum):
            yield from (str(member.value) for member in each)
        elif isinstance(each, str):  # inside a `Literal`
            yield each


def _listed(names: Iterable[str]) -> str:
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} or {last}" if others else last
