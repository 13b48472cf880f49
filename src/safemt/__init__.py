"""Multi-turn safety of multimodal language models: benchmark, evaluation, moderator.

The names below are the moderator's, for use in other programs (docs/moderation.md). They are loaded when they
are first used, so that the command stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safemt.core.schema import Message
    from safemt.core.verdict import Verdict, verdict_json
    from safemt.moderation.many import amoderate_many, moderate_many
    from safemt.moderation.moderator import Moderator, Session
    from safemt.moderation.open import ModeratorConfig, open_moderator
    from safemt.moderation.reading.dialogues import BadRow, Dialogue, read_dialogues

__all__ = [
    "BadRow",
    "Dialogue",
    "Message",
    "Moderator",
    "ModeratorConfig",
    "Session",
    "Verdict",
    "amoderate_many",
    "moderate_many",
    "open_moderator",
    "read_dialogues",
    "verdict_json",
]

_HOMES = {
    "safemt.core.schema": ("Message",),
    "safemt.core.verdict": ("Verdict", "verdict_json"),
    "safemt.moderation.many": ("amoderate_many", "moderate_many"),
    "safemt.moderation.moderator": ("Moderator", "Session"),
    "safemt.moderation.open": ("ModeratorConfig", "open_moderator"),
    "safemt.moderation.reading.dialogues": ("BadRow", "Dialogue", "read_dialogues"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'safemt' has no attribute {name!r}")
