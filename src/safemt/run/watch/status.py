"""How far a run is, while it goes on and after. The store is the source; a heartbeat adds what it lacks."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from safemt.core.taxonomy import Label
from safemt.endpoints.prices import PriceTable
from safemt.endpoints.spend import Asked, Usage, cost_of, recorded_prices
from safemt.run.database import is_in_use
from safemt.run.manifest import require_manifest
from safemt.run.store import Store
from safemt.run.watch.heartbeat import Heartbeat, read_heartbeat

STALE_SECONDS: Final = 10.0
"""A heartbeat comes every second; one this old is news no more."""


class State(StrEnum):
    """What has become of the newest command on a run directory."""

    RUNNING = "running"
    STOPPED = "stopped"
    """It ended before everything was done; the same command continues."""
    KILLED = "killed"
    """It never said how it ended, and no process is there any more."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Calls that failed for good, for one cause."""

    role: str
    """`target` or `judge`."""
    cause: str
    samples: int
    message: str
    """The newest one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a run is."""

    target: str
    judge: str
    simulated: bool
    shard: str | None
    """`N/M` if it is one of several."""
    state: State
    in_use: bool | None
    """Whether a process works on it; None where that cannot be told."""
    ending: str | None
    """How the newest command ended; None while it runs or if it was killed."""
    started: str
    written: str
    """When the store was last written."""
    samples: int
    elsewhere: int
    """Samples of the whole benchmark that belong to other shards."""
    done: int
    ungraded: Mapping[str, int]
    """By cause; the next run tries these again."""
    labels: Mapping[str, int]
    failures: tuple[Failures, ...]
    spend: Mapping[Asked, Usage]
    cost: float | None
    """US dollars; None if a price is unknown."""
    max_cost: float | None
    max_tokens: int | None
    heartbeat: Heartbeat | None

    @property
    def left(self) -> int:
        """Samples that nothing is known of yet."""
        return self.samples - self.done - sum(self.ungraded.values())

    @property
    def fresh(self) -> Heartbeat | None:
        """The heartbeat, unless it is stale."""
        beat = self.heartbeat
        return beat if beat is not None and self.in_use is not False and beat.age <= STALE_SECONDS else None

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None if there is none."""
        rate = self.fresh.rate if self.fresh else None
        return self.left / rate if rate else None

    @property
    def silent_seconds(self) -> float:
        """Since the store was last written, by this machine's clock."""
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.written)).total_seconds())


def read_status(folder: Path, *, prices: PriceTable | None = None) -> Status:
    """The status of the run in `folder`; the run is not disturbed.

    `prices` stand in place of those that the run counted by.

    Raises:
        RunError: there is no run, or its store cannot be read.
    """
    in_use = is_in_use(folder)
    heartbeat = read_heartbeat(folder)
    store = Store.open_for_reading(folder)
    try:
        invocation = store.invocation()
        labels: Counter[str] = Counter()
        ungraded: Counter[str] = Counter()
        samples = done = 0
        for sample in store.scored_samples(setup=invocation.setup, judge=invocation.judge):
            samples += 1
            if sample.label is Label.UNGRADED:
                ungraded[sample.cause] += 1
            elif sample.label is not None:
                done += 1
                if sample.twin_of is None:
                    labels[sample.label] += 1
        failures = tuple(
            Failures(role=role, cause=cause, samples=count, message=message)
            for role, cause, count, message in store.failures(setup=invocation.setup, judge=invocation.judge)
        )
        spend = store.spend()
        written = store.last_written()
    finally:
        store.close()
    manifest = require_manifest(invocation.manifest, store.path)
    budget = manifest.get("budget", {})
    alive = in_use is True or (in_use is None and heartbeat is not None and heartbeat.age <= STALE_SECONDS)
    return Status(
        target=manifest["target"]["name"],
        judge=manifest["judge"]["name"],
        simulated=manifest["target"]["simulated"],
        shard=manifest.get("shard"),
        state=_state(alive, invocation.ending),
        in_use=in_use,
        ending=invocation.ending,
        started=invocation.started,
        written=written.isoformat() if written else invocation.started,
        samples=samples,
        elsewhere=max(0, manifest["benchmark"]["samples"] - samples),
        done=done,
        ungraded=dict(sorted(ungraded.items(), key=lambda each: (-each[1], each[0]))),
        labels=dict(sorted(labels.items())),
        failures=failures,
        spend=spend,
        cost=cost_of(spend, prices or recorded_prices(manifest)),
        max_cost=budget.get("max_cost"),
        max_tokens=budget.get("max_tokens"),
        heartbeat=heartbeat,
    )


def _state(alive: bool, ending: str | None) -> State:
    if alive:
        return State.RUNNING
    if ending is None:
        return State.KILLED
    return State.COMPLETE if ending == "complete" else State.STOPPED
