"""The one YAML loader, with limits, and the step from loaded data to a typed value.

YAML 1.2's core types are read: `yes` and `2024-02-30` are texts. A document that is too large or too
deep, or that aliases make too large, is refused before it is built.
"""

import math
import re
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from safemt.core.errors import DataError
from safemt.io.files import read_bounded

MAX_BYTES: Final = 4 * 2**20
MAX_DEPTH: Final = 40
MAX_NODES: Final = 200_000
"""Of the document with each alias written out."""

_MAX_DIGITS: Final = 40
_TAG: Final = "tag:yaml.org,2002:"
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")


def read_yaml(path: Path) -> Any:
    """The data of a YAML file.

    Raises:
        DataError: it cannot be read, is too large or is not YAML; the message names the file and the line.
    """
    return load_yaml(read_bounded(path, MAX_BYTES, error=DataError), where=str(path))


def load_yaml(data: bytes | str, *, where: str) -> Any:
    """Plain data (dict, list, str, int, float, bool, None) from YAML text; `where` names it in messages.

    Raises:
        DataError: it is too large, too deep, or not YAML.
    """
    if len(data) > MAX_BYTES:
        raise DataError("too_large", f"{where} is larger than {MAX_BYTES // 2**20} MB.", where=where)
    try:
        _require_bounded(data)
        return yaml.load(data, _Loader)  # noqa: S506 (a safe loader, with fewer types than PyYAML's)
    except DataError as error:
        raise DataError(error.code, f"{where}, {error}.", where=where) from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataError("not_yaml", f"{where}{line} is not YAML: {error.problem}.", where=where) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError("not_yaml", f"{where} is not YAML: {said}.", where=where) from None


def typed(data: Any, kind: type[T], *, where: str) -> T:
    """`data` as a `kind` (a msgspec struct, a dataclass, a plain type), each field checked.

    Raises:
        DataError: it does not fit; the message has the path inside, such as `target.sampling.temperature`.
    """
    try:
        return msgspec.convert(data, kind, dec_hook=_decoded)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        message, _, inside = str(error).partition(" - at `")
        path = inside.rstrip("`").removeprefix("$").removeprefix(".")
        raise DataError(
            "wrong_form",
            f"{where}{f', `{path}`' if path else ''}: {_lowered(message)}.",
            where=where,
            path=path,
        ) from None


class _Loader(_LOADER):  # type: ignore[misc]  # the base is chosen above
    """Makes plain data only: no dates, no binary."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise DataError(
                    "bad_key", f"{_line(key_node)}: the key {str(key)[:40]} is not text; put it in quotes"
                )
            if key in found:
                raise DataError("key_twice", f"{_line(key_node)}: the key {key[:40]} occurs twice")
            found[key] = self.construct_object(value_node, deep=deep)
        return found


def _decoded(kind: type, value: Any) -> Any:
    """What msgspec has no reading for: paths, as text."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise TypeError(f"expected a path, got {value!r}"[:200])


def _number(loader: Any, node: Any) -> int | float:
    text = loader.construct_scalar(node)
    if len(text) > _MAX_DIGITS:
        raise DataError("bad_number", f"{_line(node)}: a number of {len(text):,} digits")
    try:
        value = float(text) if node.tag.endswith("float") else int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError("bad_number", f"{_line(node)}: {text} is not a finite number")
    return value


def _line(node: Any) -> str:
    return f"line {node.start_mark.line + 1}"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


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


def _require_bounded(data: bytes | str) -> None:
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
