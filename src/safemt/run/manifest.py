"""The manifest of an invocation, as far as anything is read from it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import RunError

_WRITTEN: Final[Mapping[str, Any]] = {
    "safemt": str,
    "python": str,
    "platform": str,
    "benchmark": {"name": str, "path": str, "sha256": str, "samples": int, "queries": int, "rounds": list},
    "target": {"name": str, "simulated": bool},
    "judge": {"name": str, "id": str},
    "history": str,
}


def require_manifest(manifest: dict[str, Any], store: Path) -> dict[str, Any]:
    """The manifest, if it is one that a run wrote.

    Raises:
        RunError: it is not: the store is damaged, or somebody else's.
    """
    if not _has_form(manifest, _WRITTEN):
        raise RunError(
            f"The store {store} is damaged: what it says of its run is incomplete. Restore a copy of it, or "
            "give another run directory."
        )
    return manifest


def _has_form(value: Any, form: Any) -> bool:
    if isinstance(form, Mapping):
        return isinstance(value, dict) and all(_has_form(value.get(name), form[name]) for name in form)
    return isinstance(value, form)
