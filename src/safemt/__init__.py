"""Multi-turn safety of multimodal language models: benchmark, evaluation, moderator.

The names below are the moderator's, for use in other programs (docs/moderation.md). They are loaded when they
are first used, so that the command stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safemt.core.verdict import Verdict, verdict_json
    from safemt.moderators.chat import chat_message
    from safemt.moderators.conversation import ChatMessage
    from safemt.moderators.many import amoderate_many, moderate_many
    from safemt.moderators.moderator import Moderator, Session
    from safemt.moderators.open import DetectorOptions, open_moderator
    from safemt.moderators.read import BadRow, ModeratedDialogue, read_dialogues

__all__ = [
    "BadRow",
    "ChatMessage",
    "DetectorOptions",
    "ModeratedDialogue",
    "Moderator",
    "Session",
    "Verdict",
    "amoderate_many",
    "chat_message",
    "moderate_many",
    "open_moderator",
    "read_dialogues",
    "verdict_json",
]

_HOMES = {
    "safemt.core.verdict": ("Verdict", "verdict_json"),
    "safemt.moderators.chat": ("chat_message",),
    "safemt.moderators.conversation": ("ChatMessage",),
    "safemt.moderators.many": ("amoderate_many", "moderate_many"),
    "safemt.moderators.moderator": ("Moderator", "Session"),
    "safemt.moderators.open": ("DetectorOptions", "open_moderator"),
    "safemt.moderators.read": ("BadRow", "ModeratedDialogue", "read_dialogues"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'safemt' has no attribute {name!r}")
