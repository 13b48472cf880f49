"""`cascade:FIRST,SECOND`: a cheap detector decides if it is sure, and asks an expensive one if it is not."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from safemt.core.identity import Json
from safemt.core.schema import Message
from safemt.endpoints.asking import Ask
from safemt.endpoints.chat import ChatEndpoint
from safemt.moderation.detectors.detector import Assessment, Detector, Reading, Scan, assess_safely


@dataclass(frozen=True, slots=True)
class Band:
    """The risks between which the first detector is unsure."""

    low: float
    high: float

    def holds(self, risk: float) -> bool:
        """Whether a risk is uncertain."""
        return self.low <= risk < self.high


@dataclass(slots=True)
class Shares:
    """How often a cascade asked its second detector, and the cost. Several threads may count."""

    assessed: int = 0
    sent_on: int = 0
    failed: int = 0
    """Of those sent on: the second gave no verdict, and the first's stands."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, second: Assessment | None) -> None:
        """Count one assessment; `second` is None if only the first was asked."""
        with self._lock:
            self.assessed += 1
            if second is not None:
                self.sent_on += 1
                self.failed += second.risk is None
                self.prompt_tokens += second.prompt_tokens
                self.completion_tokens += second.completion_tokens

    @property
    def share(self) -> float:
        """The part that was sent on, in [0, 1]."""
        return self.sent_on / self.assessed if self.assessed else 0.0


class CascadeDetector:
    """Two detectors; the second is asked only if the first is unsure."""

    def __init__(self, first: Detector, second: Detector, band: Band) -> None:
        self.first = first
        self.second = second
        self.band = band
        self.name = f"cascade:{first.name},{second.name}"
        self.threshold = first.threshold
        self.endpoints: Sequence[ChatEndpoint] = (*first.endpoints, *second.endpoints)
        self.shares = Shares()

    @property
    def identity(self) -> Json:
        """Both detectors, and the band."""
        return {
            "kind": "cascade",
            "first": self.first.identity,
            "second": self.second.identity,
            "second_threshold": self.second.threshold,
            "band": [self.band.low, self.band.high],
        }

    def open(self, ask: Ask) -> Reading:
        """Begin a conversation."""
        return _CascadeReading(self, self.first.open(ask), self.second.open(ask))


class _CascadeReading:
    def __init__(self, cascade: CascadeDetector, first: Reading, second: Reading) -> None:
        self._cascade = cascade
        self._first = first
        self._second = second

    async def add(self, message: Message) -> Scan:
        """Both take the message in. The scan is the first's, since the second may never be asked."""
        scan = await self._first.add(message)
        await self._second.add(message)
        return scan

    async def assess(self) -> Assessment:
        sure = await assess_safely(self._first)
        if sure.risk is not None and not self._cascade.band.holds(sure.risk):
            self._cascade.shares.count(None)
            return sure
        asked = await assess_safely(self._second)
        self._cascade.shares.count(asked)
        sure = replace(
            sure,
            prompt_tokens=sure.prompt_tokens + asked.prompt_tokens,
            completion_tokens=sure.completion_tokens + asked.completion_tokens,
        )
        if asked.risk is None:
            return replace(sure, degraded=asked.degraded or sure.degraded)
        return replace(
            sure,
            risk=_on_the_first_scale(asked.risk, self._cascade),
            turn_risk=sure.turn_risk if asked.turn_risk is None else asked.turn_risk,
            linkage=sure.linkage if asked.linkage is None else asked.linkage,
            scenarios=asked.scenarios or sure.scenarios,
            degraded=asked.degraded or sure.degraded,
        )


def _on_the_first_scale(risk: float, cascade: CascadeDetector) -> float:
    """The second's risk, stretched so that its threshold becomes the first's: one threshold serves both."""
    first, second = cascade.first.threshold, cascade.second.threshold
    if risk >= second:
        return first + (1 - first) * ((risk - second) / (1 - second) if second < 1 else 1.0)
    return first * risk / second
