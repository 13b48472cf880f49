"""What is known of something that works a plan off, be it one engine or many."""

from typing import Protocol

from safemt.endpoints.spend import Spend
from safemt.run.engine import Tracker
from safemt.run.watch.events import EventLog


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
        """Where it tells of what happens."""

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
        """Take up no new sample; what is in flight is finished. Called again: let go of that too."""

    async def run(self) -> None:
        """Work off everything that is unfinished.

        Raises:
            RunStopped: it stopped before the end; everything finished is stored.
            RunError: the store cannot be written.
            BenchmarkError: an image has changed since the plan was made.
        """
