"""What is known of something that works off a plan, be it one engine or many."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, Self

from safemt.core.taxonomy import Action, Label
from safemt.endpoints.spend import Spend
from safemt.run.watch.events import EventLog
from safemt.stats.scores import ScoredSample


@dataclass(slots=True)
class Tracker:
    """How far a run is; what was stored before this invocation counts as well."""

    total: int
    done: int
    already_done: int
    started: float = field(default_factory=time.monotonic)
    unsafe: Counter[int] = field(default_factory=Counter)
    """Harmful samples with that label, by turns."""
    graded: Counter[int] = field(default_factory=Counter)
    ungraded: int = 0
    last_problem: str = ""
    moderated: Counter[Action] = field(default_factory=Counter)
    """What a moderator did with the requests of this invocation."""

    @classmethod
    def of(cls, samples: Iterable[ScoredSample]) -> Self:
        """Where a run stands whose samples are these."""
        tracker = cls(total=0, done=0, already_done=0)
        for sample in samples:
            tracker.total += 1
            if sample.label not in (None, Label.UNGRADED):
                tracker.already_done += 1
                tracker.count(sample.turns, sample.label, twin=sample.twin_of is not None)
        return tracker

    def count(self, turns: int, label: Label, *, twin: bool) -> None:
        """Count a sample that is done."""
        self.done += 1
        if twin:
            return
        if label is Label.UNGRADED:
            self.ungraded += 1
            return
        self.graded[turns] += 1
        if label is Label.UNSAFE:
            self.unsafe[turns] += 1


class Running(Protocol):
    """What the display, the heartbeat and Ctrl-C need."""

    @property
    def tracker(self) -> Tracker:
        """How far it is."""

    @property
    def spend(self) -> Spend:
        """What it has spent."""

    @property
    def events(self) -> EventLog:
        """Where it tells what happens."""

    @property
    def retries(self) -> int:
        """Attempts made again so far."""

    @property
    def limits(self) -> dict[str, int]:
        """How many calls each endpoint gets at once now."""

    @property
    def stopping(self) -> bool:
        """Whether no new sample is taken up any more."""

    def stop(self, reason: str) -> None:
        """Take up no new sample; finish what is in flight. Called again: let go of that, too."""

    async def run(self) -> None:
        """Work off everything that is unfinished.

        Raises:
            RunStopped: it stopped before the end; everything finished is stored.
            RunError: the store cannot be written.
            BenchmarkError: an image has changed since the plan was made.
        """
