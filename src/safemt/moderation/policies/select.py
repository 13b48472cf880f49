"""Which policies apply to a conversation: a pure function of what was found in it."""

from collections.abc import Mapping
from typing import Final

from safemt.core.taxonomy import Scenario
from safemt.moderation.policies.policy import Policies, Policy

MOST_POLICIES: Final = 2
"""More than two scenarios at once are a sign of doubt, not of two intents."""
FITS: Final = 0.3
"""From this score on a scenario counts as found."""


def select_policies(policies: Policies, scenarios: Mapping[Scenario, float]) -> tuple[Policy, ...]:
    """The policies of the scenarios that fit, best first; the baseline where none does."""
    order = list(Scenario)
    found = sorted(
        (scenario for scenario, score in scenarios.items() if score >= FITS),
        key=lambda scenario: (-scenarios[scenario], order.index(scenario)),
    )
    return tuple(policies.by_scenario[scenario] for scenario in found[:MOST_POLICIES]) or (policies.baseline,)
