"""What the commands that open a moderator share: their configuration, and how they make calls."""

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from safemt.cli.command import paths_of
from safemt.moderation.open import DEFAULT, ModeratorConfig
from safemt.run.config import BudgetConfig

if TYPE_CHECKING:
    from safemt.moderation.moderator import Moderator


class CallsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard a moderator presses its endpoints."""

    concurrency: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 8


class ModerationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A moderator outside a run; the parts are named as in a `RunConfig`."""

    moderator: ModeratorConfig = ModeratorConfig(name=DEFAULT)
    limits: CallsConfig = CallsConfig()
    budget: BudgetConfig = BudgetConfig()


IN_A_RUN: Final = ("moderator.policy_position", "moderator.policy_budget")
"""Settings that matter only in front of a target."""
DECISION: Final = (
    "moderator.action", "moderator.on_error", "moderator.threshold", "moderator.thresholds",
    "moderator.policies",
)  # fmt: skip
"""Settings of what follows from a risk."""
DETECTOR: Final = tuple(
    path
    for path in paths_of(ModerationConfig, "moderator.")
    if path not in (*DECISION, *IN_A_RUN, "moderator.name")
)
"""Settings of how a risk is found."""


def open_alone(config: ModeratorConfig, concurrency: int) -> "Moderator":
    """The moderator that `config` describes, with limits and retries of its own.

    Raises:
        UsageError, ModeratorError: as `open_moderator` raises them.
    """
    from safemt.endpoints.asking import LimitedAsk
    from safemt.moderation.open import open_moderator

    return open_moderator(config, ask=LimitedAsk(concurrency, role="moderator"))
