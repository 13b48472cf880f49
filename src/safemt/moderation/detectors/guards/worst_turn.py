"""Turns scored by themselves: the worst of them so far is the conversation's risk."""

from collections.abc import Mapping

from safemt.core.taxonomy import Scenario
from safemt.core.verdict import Degraded
from safemt.moderation.detectors.detector import Assessment


class WorstTurn:
    """The scores of one conversation's turns."""

    def __init__(self) -> None:
        self._risks: dict[int, float] = {}
        self._scenarios: dict[Scenario, float] = {}

    def take(self, turn: int, risk: float | None, scenarios: Mapping[Scenario, float]) -> None:
        """Count a score of a user turn (from 1); of several, the worst. A risk of None is none."""
        if risk is not None:
            self._risks[turn] = max(risk, self._risks.get(turn, 0.0))
        for scenario, fits in scenarios.items():
            self._scenarios[scenario] = max(fits, self._scenarios.get(scenario, 0.0))

    def assess(
        self,
        turns: int,
        *,
        degraded: Degraded | None,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
    ) -> Assessment:
        """What the conversation of `turns` user turns amounts to."""
        worst = [
            max((risk for turn, risk in self._risks.items() if turn <= last), default=None)
            for last in range(1, turns + 1)
        ]
        return Assessment(
            risk=worst[-1],
            turn_risk=self._risks.get(turns),
            scenarios=self._scenarios,
            earlier=worst[:-1],
            degraded=degraded,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )
