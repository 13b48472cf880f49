"""Holds a value to a JSON Schema, as far as ours use the language: no package for it is at hand."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

KINDS = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def problems(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """Where `value` breaks `schema`, whose `$ref`s are looked up in `root`."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    yield from _own(value, schema, at)
    fitting = [each for each in schema.get("oneOf", []) if not list(problems(value, each, root))]
    if "oneOf" in schema and len(fitting) != 1:
        yield f"{at} is not one of its kinds"
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from problems(item, schema.get("items", {}), root, f"{at}[{place}]")
    if isinstance(value, dict):
        yield from _fields(value, schema, root, at)


def _own(value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if "const" in schema and value != schema["const"]:
        yield f"{at} is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}"
    if "type" in schema and not _is_one_of(value, schema["type"]):
        yield f"{at} is no {schema['type']}"
    if isinstance(value, int | float):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        if not least <= value <= most:
            yield f"{at} is {value}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at} is {value!r}"


def _is_one_of(value: Any, kinds: str | list[str]) -> bool:
    return any(
        isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
        for kind in ([kinds] if isinstance(kinds, str) else kinds)
    )


def _fields(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> Iterator[str]:
    yield from (f"{at} lacks {name}" for name in schema.get("required", []) if name not in value)
    for name, item in value.items():
        yield from problems(name, schema.get("propertyNames", {}), root, f"{at}.{name}")
        allowed = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
        if allowed is False:
            yield f"{at} has {name}"
        elif isinstance(allowed, dict):
            yield from problems(item, allowed, root, f"{at}.{name}")
