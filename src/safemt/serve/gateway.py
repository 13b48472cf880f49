"""A gateway in service: the configuration in force, and everything that outlives a change of it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from safemt.core.errors import SafemtError
from safemt.moderation.policies.inject import Position
from safemt.serve.audit import AuditLog
from safemt.serve.config import ServeConfig
from safemt.serve.fetch import PictureFetcher
from safemt.serve.generation import Generation, open_tenants
from safemt.serve.lanes import Lanes
from safemt.serve.metrics import Metrics
from safemt.serve.state import States
from safemt.serve.upstream import Upstream

MODELS_KEPT: Final = 1000
"""Models whose position for policies is remembered."""
_TRY_AGAIN: Final = 2.0
"""Seconds until a moderator that could not be reached is tried again."""

log = logging.getLogger("safemt.serve")


@dataclass(slots=True)
class Gateway:
    """What requests share. Its methods are called on the event loop."""

    generation: Generation
    states: States
    lanes: Lanes
    metrics: Metrics
    positions: dict[str, Position]
    """Where policies go for each model of the upstream, as learnt from its errors."""
    reread: Callable[[], ServeConfig] | None = None
    """Reads the configuration again; None if it did not come from a file."""
    ready: bool = False
    draining: bool = False
    busy: int = 0
    """Requests in progress, of all generations."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there are none."""

    @classmethod
    async def open(cls, config: ServeConfig, reread: Callable[[], ServeConfig] | None = None) -> "Gateway":
        """Open all that a configuration needs. It is ready once `prove` has returned.

        Raises:
            SafemtError: something in the configuration cannot be used.
        """
        limits = config.limits
        metrics = Metrics()
        states = States(limits.state_mb * 2**20, 3600 * limits.state_hours)
        lanes = Lanes(limits.threads, limits.max_waiting, metrics.queue.observe)
        try:
            generation = await open_generation(1, config, states, lanes, metrics)
        except BaseException:
            lanes.close()
            raise
        gateway = cls(generation, states, lanes, metrics, {}, reread)
        gateway.idle.set()
        gateway._add_gauges()
        return gateway

    async def prove(self) -> None:
        """Return once every moderator has given a verdict.

        Raises:
            SafemtError: one cannot be used at all.
        """
        for tenant in self.generation.tenants.values():
            verdict = await tenant.guard.try_out()
            while verdict.risk is None:
                cause = verdict.degraded.cause if verdict.degraded else "no risk"
                log.warning("The moderator of tenant %s is not ready: %s.", tenant.name, cause)
                await asyncio.sleep(_TRY_AGAIN)
                verdict = await tenant.guard.try_out()
        self.ready = True

    def enter(self) -> Generation:
        """The generation for a request that begins now; `leave` follows."""
        self.busy += 1
        self.idle.clear()
        self.generation.inflight += 1
        return self.generation

    def leave(self, generation: Generation) -> None:
        """A request has ended. An old generation closes with its last one."""
        self.busy -= 1
        if not self.busy:
            self.idle.set()
        generation.inflight -= 1
        if generation is not self.generation:
            self._retire(generation)

    def _retire(self, generation: Generation) -> None:
        if generation.inflight == 0 and generation.closing is None:
            generation.closing = asyncio.ensure_future(generation.close())

    def position_for(self, model: str) -> Position:
        """Where a policy goes if the configuration leaves it to the gateway."""
        return self.positions.get(model, Position.LATE_SYSTEM)

    def learn_position(self, model: str, position: Position) -> None:
        """Remember what a model's template takes."""
        if len(self.positions) < MODELS_KEPT:
            self.positions[model] = position

    async def reload(self) -> None:
        """Take the configuration as it is now; on an error the one in force stays.

        Raises:
            SafemtError: the new configuration cannot be used.
        """
        if self.reread is None:
            return
        try:
            config = await asyncio.to_thread(self.reread)
            new = await open_generation(
                self.generation.number + 1, config, self.states, self.lanes, self.metrics
            )
            for tenant in new.tenants.values():
                await tenant.guard.try_out()
        except SafemtError:
            self.metrics.reloads.add("failed")
            raise
        old, self.generation = self.generation, new
        self.states.limit = config.limits.state_mb * 2**20
        self.positions.clear()
        self.metrics.reloads.add("ok")
        self._retire(old)

    def reopen_logs(self) -> None:
        """Open the audit log again: a rotation has moved it."""
        if self.generation.audit is not None:
            self.generation.audit.reopen()

    async def close(self) -> None:
        """Close everything. Requests in progress lose their upstream."""
        await self.generation.close()
        self.lanes.close()

    def _add_gauges(self) -> None:
        states, gauge = self.states, self.metrics.gauge
        gauge("safemt_state_entries", "Conversations in memory.", lambda: len(states))
        gauge("safemt_state_bytes", "Memory of conversations, estimated.", lambda: states.bytes)
        gauge("safemt_state_hits", "Requests whose beginning was known.", lambda: states.hits)
        gauge("safemt_state_misses", "Requests whose beginning was not known.", lambda: states.misses)
        gauge("safemt_state_evictions", "Conversations that had to go.", lambda: states.evictions)
        gauge("safemt_inflight", "Requests in progress.", lambda: self.busy)
        gauge("safemt_waiting", "Work that waits for the moderator or is done.", lambda: self.lanes.waiting)
        gauge("safemt_config_generation", "Number of the configuration.", lambda: self.generation.number)


async def open_generation(
    number: int, config: ServeConfig, states: States, lanes: Lanes, metrics: Metrics
) -> Generation:
    """Open all that a configuration needs.

    Raises:
        SafemtError: something in it cannot be used.
    """
    tenants = await asyncio.to_thread(open_tenants, config, states, lanes)
    audit = AuditLog(config.audit, metrics.audit_lost.add) if config.audit else None
    return Generation(
        number=number,
        config=config,
        tenants=tenants,
        upstream=Upstream(config.upstream),
        audit=audit,
        fetcher=PictureFetcher(config.images) if config.images.urls == "fetch" else None,
    )
