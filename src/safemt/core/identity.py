"""Content keys: the SHA-256 of a canonical form, so equal content has an equal key on every machine."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(content: Json) -> str:
    """The SHA-256 (hex) of `content` as canonical JSON: sorted keys, no blanks, only ASCII."""
    return hashlib.sha256(_CANONICAL.encode(content).encode("ascii")).hexdigest()
