"""The one loader of settings, YAML or JSON, with limits; and the step from plain data to a typed value.

YAML is read with the core types of YAML 1.2: `yes` and `2024-02-30` are text. A document that is too large or
too deep, or that aliases would make too large, is refused before it is built.
"""

import json
import math
import re
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from safemt.core.errors import DataError
from safemt.io.files import read_bounded, reason_of, size_text
from safemt.io.misfits import explain_misfit
from safemt.io.row import is_deeper

MAX_BYTES: Final = 4 * 2**20
MAX_DEPTH: Final = 40
MAX_NODES: Final = 200_000
"""Of a YAML document with every alias written out."""

_INTEGERS: Final = range(-(2**63), 2**63)
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_TAG: Final = "tag:yaml.org,2002:"
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")


def read_yaml(path: Path) -> Any:
    """Read a YAML file as plain data. JSON without escapes beyond the Basic Multilingual Plane is YAML, too.

    Raises:
        DataError: as for `load_yaml`; or it is no plain file, or cannot be read.
    """
    return load_yaml(read_bounded(path, MAX_BYTES, error=DataError), where=str(path))


def load_yaml(data: bytes | str, *, where: str) -> Any:
    """Turn YAML text into plain data (dict, list, str, int, float, bool, None). `where` names it in messages.

    Raises:
        DataError: `not_yaml`, `utf16`, `too_large`, `too_deep`, `too_many_nodes`, `recursive`, `bad_key`,
            `key_twice` or `bad_number`; the message has the line.
    """
    text = _text(data, where, "not_yaml")
    try:
        _require_bounded(text)
        return yaml.load(text, _Loader)  # noqa: S506 (a safe loader, with fewer types than PyYAML's)
    except DataError as error:
        raise DataError(error.code, f"{where}, {error}.", where=where) from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataError("not_yaml", f"{where}{line} is not YAML: {error.problem}.", where=where) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError("not_yaml", f"{where} is not YAML: {reason_of(error)[:200]}.", where=where) from None


def read_json(path: Path) -> Any:
    """Read a JSON file as plain data.

    Raises:
        DataError: as for `load_json`; or it is no plain file, or cannot be read.
    """
    return load_json(read_bounded(path, MAX_BYTES, error=DataError), where=str(path))


def load_json(data: bytes | str, *, where: str) -> Any:
    """Turn JSON text into plain data, within the limits of `load_yaml`. `where` names it in messages.

    Raises:
        DataError: `not_json`, `utf16`, `too_large`, `too_deep`, `key_twice` or `bad_number`.
    """
    text = _text(data, where, "not_json")
    try:
        value = _JSON.decode(text)
        if is_deeper(value, MAX_DEPTH):
            raise RecursionError
    except DataError as error:
        raise DataError(error.code, f"{where}: {error}.", where=where) from None
    except json.JSONDecodeError as error:
        said = f"{error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}"
        raise DataError("not_json", f"{where} is not JSON: {said}.", where=where) from None
    except RecursionError:
        raise DataError("too_deep", f"{where}: nested deeper than {MAX_DEPTH}.", where=where) from None
    return value


def typed(data: Any, kind: type[T], *, where: str) -> T:
    """`data` as a `kind` (a msgspec struct, a dataclass, a plain type), with every field checked.

    Raises:
        DataError: `wrong_form`; the message names the value by its path, such as
            `target.sampling.temperature`, which is also the field `path`.
    """
    try:
        return msgspec.convert(data, kind, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        path, said = explain_misfit(str(error), data, kind)
        raise DataError("wrong_form", f"{where}: {said}.", where=where, path=path) from None
    except (RecursionError, OverflowError) as error:
        raise DataError("wrong_form", f"{where}: {reason_of(error)}.", where=where, path="") from None


def _text(data: bytes | str, where: str, code: str) -> str:
    if len(data) > MAX_BYTES:
        raise DataError("too_large", f"{where} is larger than {size_text(MAX_BYTES)}.", where=where)
    if isinstance(data, str):
        return data
    if data.startswith(_UTF_16):
        raise DataError("utf16", f"{where} is in UTF-16. Save it as UTF-8.", where=where)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(code, f"{where}, line {line} is not UTF-8 text.", where=where) from None


def _decoded(kind: type, value: Any) -> Any:
    """What msgspec has no reading for: paths, as text."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise TypeError("Expected `path`")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DataError("key_twice", f"the key {key[:40]!r} occurs twice in one object")
        found[key] = value
    return found


def _integer(text: str) -> int:
    if len(text) <= len(str(_INTEGERS[0])):
        value = int(text, 16 if text.startswith("0x") else 10)
        if value in _INTEGERS:
            return value
    raise DataError("bad_number", f"{text[:40]} has more than 64 bits")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DataError("bad_number", f"{text[:40]} is not a finite number")
    return value


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_float
)


class _Loader(_LOADER):  # type: ignore[misc]  # the base is chosen above
    """Makes plain data only: no dates, no binary."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag != f"{_TAG}merge":
                key = self._key(key_node)
                if key in seen:
                    raise DataError("key_twice", f"{_line(key_node)}: the key {key[:40]!r} occurs twice")
                seen.add(key)
        self.flatten_mapping(node)  # puts what `<<` merges before the mapping's own keys
        return {self._key(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def _key(self, node: Any) -> str:
        key = self.construct_object(node, deep=True)
        if not isinstance(key, str):
            problem = f"{_line(node)}: the key {str(key)[:40]} is not text; put it in quotes"
            raise DataError("bad_key", problem)
        return key


def _number(loader: Any, node: Any) -> int | float:
    text = loader.construct_scalar(node)
    try:
        return _float(text) if node.tag.endswith("float") else _integer(text)
    except DataError as error:
        raise DataError(error.code, f"{_line(node)}: {error}") from None
    except ValueError:  # YAML's words for infinity, or an explicit tag on something else
        raise DataError("bad_number", f"{_line(node)}: {text[:40]} is not a finite number") from None


def _line(node: Any) -> str:
    return f"line {node.start_mark.line + 1}"


for _name, _pattern, _first in (
    ("bool", r"true\Z|True\Z|TRUE\Z|false\Z|False\Z|FALSE\Z", "tTfF"),
    ("null", r"~\Z|null\Z|Null\Z|NULL\Z|\Z", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+\Z|0x[0-9a-fA-F]+\Z", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF|nan|NaN|NAN)\Z",
        "-+.0123456789",
    ),
    ("merge", r"<<\Z", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), list(_first))
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in _LOADER.yaml_constructors.items()
    if tag is None or tag.removeprefix(_TAG) in ("map", "seq", "str", "null", "bool")
}
for _name in ("int", "float"):
    _Loader.add_constructor(_TAG + _name, _number)


def _require_bounded(data: str) -> None:
    """Go through the events, which takes no recursion, and count what the document would become."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    nodes = 0
    for event in yaml.parse(data, _LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, began = open_nodes.pop()
            if anchor:
                sizes[anchor] = nodes - began
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise DataError("recursive", f"{_line(event)}: an alias to what it is a part of")
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, nodes - 1))
                if len(open_nodes) > MAX_DEPTH:
                    raise DataError("too_deep", f"{_line(event)}: nested deeper than {MAX_DEPTH}")
            elif event.anchor:
                sizes[event.anchor] = 1
        if nodes > MAX_NODES:
            raise DataError("too_many_nodes", f"more than {MAX_NODES:,} values, aliases written out")
