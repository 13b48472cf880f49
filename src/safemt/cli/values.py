"""Reads the text of an option as the type of a configuration field, and describes that type."""

import math
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import click
import msgspec

DEFAULT_WORD: Final = "default"
"""Stands for None where that differs from leaving the option out."""


class Value(click.ParamType):  # type: ignore[type-arg]  # older versions of click take none
    """The type of an option. Its values are plain data unless `plain` is false."""

    def __init__(self, kind: Any, *, default: Any = None, plain: bool = True) -> None:
        """`kind` is a type as msgspec takes it; `default` is the field's."""
        self.kind = kind
        self.bare, self.meta, optional = _taken_apart(kind)
        self.has_default_word = optional and default is not None
        self.plain = plain
        self.name = _metavar(self.bare)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of a text; `UNSET` for the word that stands for None.

        Raises:
            click.UsageError: the text does not fit the type.
        """
        if not isinstance(value, str):
            return value
        if self.has_default_word and value == DEFAULT_WORD:
            return msgspec.UNSET
        try:
            plain = _read(value, self.bare)
            converted = msgspec.convert(plain, self.kind, dec_hook=lambda _, text: Path(text))
        except (msgspec.ValidationError, ValueError):
            name = param.opts[0] if param else "The value"
            raise click.UsageError(f"{name} takes {self.expected}, not {value!r}.", ctx) from None
        return plain if self.plain else converted

    @property
    def expected(self) -> str:
        """What the type takes, as a phrase."""
        phrase = _expected(self.bare, self.meta)
        return f"{phrase}, or `{DEFAULT_WORD}`" if self.has_default_word else phrase


def fields_of(config: type) -> Mapping[str, msgspec.structs.FieldInfo]:
    """The fields of a configuration type by name; empty for another type."""
    bare = _taken_apart(config)[0]
    return _fields(bare) if isinstance(bare, type) and issubclass(bare, msgspec.Struct) else {}


def field_at(config: type, path: str) -> tuple[Any, Any] | None:
    """Type and default of the field at a dotted `path` in a configuration type; None if there is none."""
    kind: Any = config
    value: Any = None
    for name in path.split("."):
        info = fields_of(kind).get(name)
        if info is None:
            return None
        value = getattr(value, name) if isinstance(value, msgspec.Struct) else info.default
        kind = info.type
    return kind, value


@cache
def _fields(config: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    return {info.name: info for info in msgspec.structs.fields(config)}


def _taken_apart(kind: Any) -> tuple[Any, msgspec.Meta, bool]:
    """A type without its constraints and None; the constraints; and whether None was there."""
    meta, optional = msgspec.Meta(), False
    while get_origin(kind) in (Annotated, Union, UnionType):
        if get_origin(kind) is Annotated:
            kind, meta = get_args(kind)[:2]
        else:
            optional = True
            [kind] = [each for each in get_args(kind) if each is not NoneType]
    return kind, meta, optional


def _read(text: str, bare: Any) -> Any:
    if get_origin(bare) is tuple:
        element = _taken_apart(get_args(bare)[0])[0]
        return [_read(part.strip(), element) for part in text.split(",")]
    if bare is int:
        return msgspec.convert(text, int, strict=False)
    if bare is float:
        number: float = msgspec.convert(text, float, strict=False)
        if not math.isfinite(number):
            raise ValueError("not a finite number")
        return number
    return text


def _choices(bare: Any) -> list[str]:
    if get_origin(bare) is Literal:
        return [str(each) for each in get_args(bare)]
    return [str(each.value) for each in bare] if isinstance(bare, type) and issubclass(bare, Enum) else []


def _metavar(bare: Any) -> str:
    if choices := _choices(bare):
        return "|".join(choices)
    if get_origin(bare) is tuple:
        return ",".join("…" if each is ... else _metavar(_taken_apart(each)[0]) for each in get_args(bare))
    return {int: "N", float: "X", Path: "PATH"}.get(bare, "TEXT")


def _expected(bare: Any, meta: msgspec.Meta) -> str:
    if choices := _choices(bare):
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    if get_origin(bare) is tuple:
        element, limits, _ = _taken_apart(get_args(bare)[0])
        if choices := _choices(element):
            return f"names out of {', '.join(choices)}, separated by commas"
        if get_args(bare)[-1] is ...:
            return f"{_plural(element, limits)} separated by commas, such as 1,2,4"
        return f"{len(get_args(bare))} {_plural(element, limits)} separated by a comma, such as 0.2,0.8"
    noun = {int: "a whole number", float: "a number"}.get(bare, "text")
    return noun + _bounds(meta)


def _plural(element: Any, limits: msgspec.Meta) -> str:
    return ("whole numbers" if element is int else "numbers") + _bounds(limits)


def _bounds(meta: msgspec.Meta) -> str:
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge:g} to {meta.le:g}"
    return "" if meta.ge is None else f" of at least {meta.ge:g}"
