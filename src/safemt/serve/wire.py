"""Request bodies: JSON that every parser reads in the same way, or an error.

The moderator must read what the model will read. Parsers differ on duplicate keys, `NaN` and lone surrogates,
so a body that contains them is refused.
"""

import re
from typing import Any, Final

import orjson

from safemt.serve.problems import invalid

MAX_DEPTH: Final = 64
MAX_KEYS: Final = 200_000

# A whole string, and the colon behind it if the string is a key. Possessive, so that it takes linear time.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\n\r]*+(:?)', re.DOTALL)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`.

    Raises:
        Problem: it is not JSON, not an object, nested too deeply, or has an object with two equal keys.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid("invalid_json", f"The body is not valid JSON: {error}.") from None
    if not isinstance(parsed, dict):
        raise invalid("invalid_json", "The body is not a JSON object.")
    if _count_keys(parsed) != _STRING.findall(body).count(b":"):
        raise invalid("duplicate_key", "An object in the body has the same key twice.")
    return parsed


def _count_keys(parsed: dict[str, Any]) -> int:
    keys, depth = 0, 0
    level: list[Any] = [parsed]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise invalid("too_deep", f"The body is nested deeper than {MAX_DEPTH} levels.")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                keys += len(value)
                below += [each for each in value.values() if isinstance(each, dict | list)]
            else:
                below += [each for each in value if isinstance(each, dict | list)]
        if keys > MAX_KEYS:
            raise invalid("too_many_keys", f"The body has more than {MAX_KEYS:,} keys.")
        level = below
    return keys
