"""A policy: what a target is told of one scenario."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from safemt.core.identity import content_key
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.core.verdict import PolicyRef

BASELINE: Final = "baseline"
"""The id of the policy that belongs to no scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A conversation and what a moderator should make of it."""

    flagged: bool
    dialogue: tuple[Message, ...]
    """Ends on a user turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to help with in one scenario, and what not."""

    id: str
    """The scenario's slug, or `baseline`."""
    version: str
    scenario: Scenario | None
    """None for the baseline, which applies where no scenario is known."""
    title: str
    definition: str
    dont: tuple[str, ...]
    """What not to help with."""
    do: tuple[str, ...]
    """What may be helped with, and how."""
    short: str
    full: str
    """The texts that a target is handed; `short` where the budget of tokens is tight."""
    examples: tuple[Example, ...] = ()
    """What `safemt policy test` runs."""

    @property
    def ref(self) -> PolicyRef:
        """What identifies this policy in a verdict."""
        return PolicyRef(
            id=self.id, version=self.version, sha256=content_key({"short": self.short, "full": self.full})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """A whole set: one policy for each scenario, and the baseline."""

    baseline: Policy
    by_scenario: Mapping[Scenario, Policy]

    @property
    def listed(self) -> tuple[Policy, ...]:
        """All of them: the scenarios' in alphabetical order, then the baseline."""
        return (*(self.by_scenario[each] for each in sorted(self.by_scenario)), self.baseline)

    @property
    def sha256(self) -> str:
        """Identifies the set by everything it tells a target."""
        return content_key([[policy.id, policy.title, policy.ref.sha256] for policy in self.listed])
