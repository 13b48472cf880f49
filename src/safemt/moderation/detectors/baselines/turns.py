"""Baselines that see single turns only, and what simple arithmetic makes of them.

Each takes the risk of every user turn read by itself from another detector (`Assessment.turn_risk`), so what
they differ in is only how they put turns together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final

from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.core.taxonomy import Scenario
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Detector, ForkableReading, Reading, Scan

RHO: Final = 0.45
"""How much persistence counts: the default of arXiv 2602.11247."""

Combine = Callable[[Sequence[float]], float]


def last_turn(risks: Sequence[float]) -> float:
    """Only the newest turn: what a filter in front of a single-turn API sees."""
    return risks[-1]


def max_turn(risks: Sequence[float]) -> float:
    """The worst turn so far: what scoring the messages one by one amounts to."""
    return max(risks)


def peak_accumulation(risks: Sequence[float]) -> float:
    """The worst turn, raised by how much other suspicious turns there are: 1 - (1 - peak) (1 - ρ)^a.

    `a` is the sum of the other turns' risks, those below half the peak left out as noise. One turn gives its
    own risk, and each further one as bad takes ρ off what is missing to 1.

    Source: "peak + accumulation" of arXiv 2602.11247, which joins the peak of the turns' risks, their
    persistence (with ρ = 0.45) and how many categories occur. What is ours: the paper scores patterns, and
    its formula could not be read; this form, the noise floor, and leaving out the categories.
    """
    peak = max(risks)
    others = sum(risk for risk in risks if risk >= peak / 2) - peak
    return 1 - (1 - peak) * math.pow(1 - RHO, others)


COMBINATIONS: Final[Mapping[str, Combine]] = {
    "last-turn": last_turn,
    "max-turn": max_turn,
    "peak-accumulation": peak_accumulation,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsDetector:
    """A detector that scores single turns, and how their risks are put together."""

    name: str
    """One of `COMBINATIONS`."""
    turns: Detector
    """Makes no calls; its assessments give `turn_risk`."""

    @property
    def identity(self) -> Json:
        """How turns are put together, and who scores them."""
        return {"kind": "turns", "combine": self.name, "turns": self.turns.identity, "rho": RHO}

    @property
    def threshold(self) -> float:
        """As for the detector that scores the turns."""
        return self.turns.threshold

    @property
    def endpoints(self) -> Sequence[ChatEndpoint]:
        """None."""
        return self.turns.endpoints

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _TurnsReading(COMBINATIONS[self.name], self.turns.open(ask))


class _TurnsReading:
    def __init__(self, combine: Combine, turns: Reading) -> None:
        self._combine = combine
        self._turns = turns
        self._turn_count = 0
        self._risks: list[float] = []
        self._earlier: list[float | None] = []
        self._scenarios: Mapping[Scenario, float] = {}
        self._newest: Assessment = Assessment(risk=None)

    def fork(self) -> "_TurnsReading":
        if not isinstance(self._turns, ForkableReading):
            raise TypeError("the readings of the detector that scores the turns cannot be copied")
        forked = copy(self)
        vars(forked).update(_turns=self._turns.fork(), _risks=list(self._risks), _earlier=list(self._earlier))
        return forked

    async def add(self, message: Message) -> Scan:
        scan = await self._turns.add(message)
        if message.role == "user":
            if self._turn_count:
                self._earlier.append(self._risk())
            self._turn_count += 1
            # Each turn is assessed as it comes: only then does the detector say what it is by itself.
            self._newest = await self._turns.assess()
            risk = self._newest.turn_risk
            if risk is not None:
                if self._combine is last_turn or risk >= max(self._risks, default=0.0):
                    self._scenarios = self._newest.scenarios
                self._risks.append(risk)
        return scan

    async def assess(self) -> Assessment:
        return Assessment(
            risk=self._risk(),
            turn_risk=self._newest.turn_risk,
            scenarios=self._scenarios,
            earlier=self._earlier,
            degraded=self._newest.degraded,
        )

    def _risk(self) -> float | None:
        return self._combine(self._risks) if self._risks else None
