"""The manifest of an invocation: what the store keeps about how a run was made, and what is read from it."""

import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from safemt.core.errors import RunError
from safemt.endpoints.spend import Asked
from safemt.judges.base import Judge, judge_id
from safemt.run.config import config_data
from safemt.run.plan import RunPlan

_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_WRITTEN: Final[Mapping[str, Any]] = {
    "safemt": str,
    "python": str,
    "platform": str,
    "benchmark": {"name": str, "path": str, "sha256": str, "samples": int, "queries": int, "rounds": list},
    "target": {"name": str, "simulated": bool},
    "judge": {"name": str, "id": str},
    "history": str,
}


def run_manifest(plan: RunPlan, asked: set[Asked]) -> dict[str, Any]:
    """The manifest of a run by `plan`; `asked` are all models that the run directory has paid or may pay.

    It holds the whole configuration, and what the configuration does not say: versions, hashes, identities
    and prices. No keys.
    """
    config, target, moderation = plan.config, plan.target, plan.moderation
    return {
        "safemt": version("safemt"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": list(plan.command),
        "config": without_keys(config_data(config)),
        "benchmark": plan.benchmark,
        "skipped_missing_images": plan.skipped,
        "target": {
            "name": target.name,
            "simulated": target.simulated,
            "answers_by_sample": target.answers_by_sample,
            "identity": target.identity,
        },
        "target_base_url": config.target.base_url,
        "judge": judge_entry(plan.judge),
        "judge_base_url": config.judge.base_url,
        "moderator": moderation.entry if moderation else None,
        "history": config.history,
        "seed": config.seed,
        "budget": plan.budget.record(asked),
        **({"shard": str(plan.shard)} if plan.shard else {}),
    }


def without_keys(data: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what may be a key that was given in place of its variable's name."""
    return {
        name: {**section, "api_key_env": None}
        if isinstance(section, dict) and not _VARIABLE.fullmatch(section.get("api_key_env") or "A")
        else section
        for name, section in data.items()
    }


def judge_entry(judge: Judge) -> dict[str, Any]:
    """What a manifest says about a judge."""
    return {"name": judge.name, "id": judge_id(judge), "identity": judge.identity}


def require_manifest(manifest: dict[str, Any], store: Path) -> dict[str, Any]:
    """The manifest, if it is one that a run wrote.

    Raises:
        RunError: it is not: the store is damaged, or another program's.
    """
    if not _has_form(manifest, _WRITTEN):
        raise RunError(
            "damaged_manifest",
            f"The store {store} is damaged: its description of the run is incomplete. Restore a copy, or use "
            "another run directory.",
            path=store,
        )
    return manifest


def _has_form(value: Any, form: Any) -> bool:
    if isinstance(form, Mapping):
        return isinstance(value, dict) and all(_has_form(value.get(name), form[name]) for name in form)
    return isinstance(value, form)
