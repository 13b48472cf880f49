"""Multi-turn safety of multimodal language models: benchmark, evaluation, moderator.

docs/python.md describes the names below. Each is loaded when it is first used, so that `import safemt` and
the command stay quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safemt.api import CheckedJudge, Run, aevaluate, compare, evaluate, judge_check, load
    from safemt.core.schema import Message
    from safemt.core.verdict import Verdict, verdict_json
    from safemt.moderation.many import amoderate_many, moderate_many
    from safemt.moderation.moderator import Moderator, Session
    from safemt.moderation.open import ModeratorConfig, open_moderator
    from safemt.moderation.reading.dialogues import BadRow, Dialogue, read_dialogues

__all__ = [
    "BadRow",
    "CheckedJudge",
    "Dialogue",
    "Message",
    "Moderator",
    "ModeratorConfig",
    "Run",
    "Session",
    "Verdict",
    "aevaluate",
    "amoderate_many",
    "compare",
    "evaluate",
    "judge_check",
    "load",
    "moderate_many",
    "open_moderator",
    "read_dialogues",
    "verdict_json",
]

_HOMES = {
    "safemt.api": ("CheckedJudge", "Run", "aevaluate", "compare", "evaluate", "judge_check", "load"),
    "safemt.core.schema": ("Message",),
    "safemt.core.verdict": ("Verdict", "verdict_json"),
    "safemt.moderation.many": ("amoderate_many", "moderate_many"),
    "safemt.moderation.moderator": ("Moderator", "Session"),
    "safemt.moderation.open": ("ModeratorConfig", "open_moderator"),
    "safemt.moderation.reading.dialogues": ("BadRow", "Dialogue", "read_dialogues"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("safemt")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'safemt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
