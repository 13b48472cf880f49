"""Content keys: the SHA-256 of a canonical form. Same content, same key, on every machine."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(content: Json) -> str:
    """Hex SHA-256 of `content` as canonical JSON: sorted keys, no blanks, everything beyond ASCII escaped."""
    return hashlib.sha256(_CANONICAL.encode(content).encode("ascii")).hexdigest()
