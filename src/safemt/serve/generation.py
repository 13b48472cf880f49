"""One generation of a gateway: a configuration with its tenants and moderators, swapped as a whole."""

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from safemt.core.errors import UsageError
from safemt.io.yaml import typed
from safemt.moderation.open import ModeratorConfig, open_moderator
from safemt.moderation.policies.inject import Position
from safemt.serve.audit import AuditLog
from safemt.serve.config import (
    DEFAULT_TENANT,
    BlockConfig,
    CapsConfig,
    ServeConfig,
    TenantConfig,
    key_from,
)
from safemt.serve.fetch import PictureFetcher
from safemt.serve.guard import Guard
from safemt.serve.lanes import Lanes
from safemt.serve.problems import Problem, invalid
from safemt.serve.state import States
from safemt.serve.upstream import Upstream

_LENGTHS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample")
_SECRET: Final = os.urandom(32)
"""Of this process: hashes in memory and in logs cannot be made by others."""


@dataclass(slots=True)
class Rate:
    """Requests of a tenant, at most so many a minute: a bucket that fills steadily."""

    per_minute: int | None
    room: float = field(init=False)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.room = float(self.per_minute or 0)

    def wait(self) -> float:
        """Seconds until the next request is allowed; 0 allows and counts this one."""
        if self.per_minute is None:
            return 0.0
        now, each = time.monotonic(), 60.0 / self.per_minute
        self.room = min(float(self.per_minute), self.room + (now - self.since) / each)
        self.since = now
        if self.room < 1:
            return (1 - self.room) * each
        self.room -= 1
        return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Whose requests are treated alike."""

    name: str
    guard: Guard
    position: Position | None
    """None finds out what the upstream's chat template takes."""
    budget: int
    """Approximate tokens of an injection."""
    block: BlockConfig
    caps: CapsConfig
    reveal: str
    upstream_key: str | None
    secret: bytes
    rate: Rate

    def require_within_caps(self, body: Mapping[str, Any]) -> None:
        """Raise the problem of a request that asks for more than the tenant may."""
        caps = self.caps
        n = body.get("n")
        if caps.n is not None and isinstance(n, int) and n > caps.n:
            raise invalid("n_too_large", f"`n` may be at most {caps.n}.", "n")
        for name in _LENGTHS if caps.max_tokens is not None else ():
            length = body.get(name)
            if isinstance(length, int) and length > (caps.max_tokens or 0):
                raise invalid("max_tokens_too_large", f"`{name}` may be at most {caps.max_tokens}.", name)
        if not caps.logprobs and (body.get("logprobs") or body.get("top_logprobs")):
            raise invalid("logprobs_not_allowed", "`logprobs` is not allowed here.", "logprobs")

    def require_rate(self) -> None:
        """Raise the problem of a request that comes too soon."""
        wait = self.rate.wait()
        if wait:
            seconds = str(max(1, round(wait)))
            raise Problem(429, "rate_limit", "Too many requests.", headers={"Retry-After": seconds})


@dataclass(slots=True, kw_only=True)
class Generation:
    """A configuration in service."""

    number: int
    config: ServeConfig
    tenants: Mapping[str, Tenant]
    upstream: Upstream
    audit: AuditLog | None
    fetcher: PictureFetcher | None
    inflight: int = 0
    """Requests that began under it and have not ended."""
    closing: "asyncio.Future[None] | None" = None

    def tenant_of(self, headers: Mapping[str, str]) -> Tenant:
        """The tenant of a request.

        Raises:
            Problem: the gateway asks for keys, and this request has none or an unknown one.
        """
        keys = self.config.keys
        if not keys:
            return self.tenants[DEFAULT_TENANT]
        given = headers.get("x-api-key") or headers.get("Authorization", "").removeprefix("Bearer ").strip()
        name = keys.get(hashlib.sha256(given.encode("utf-8", "replace")).hexdigest())
        if name is None:
            raise Problem(401, "invalid_api_key", "The key is missing or wrong.")
        return self.tenants[name]

    async def close(self) -> None:
        """Close its connections, and write what the audit log still holds."""
        for tenant in self.tenants.values():
            await tenant.guard.close()
        await self.upstream.close()
        if self.fetcher is not None:
            await self.fetcher.close()
        if self.audit is not None:
            await asyncio.to_thread(self.audit.close)


def open_tenants(config: ServeConfig, states: States, lanes: Lanes) -> Mapping[str, Tenant]:
    """Open the moderators of all tenants.

    Raises:
        UsageError, DataError, ModeratorError: something in the configuration cannot be used.
    """
    named = {DEFAULT_TENANT: TenantConfig(), **config.tenants}
    return {name: _open_tenant(name, tenant, config, states, lanes) for name, tenant in named.items()}


def _open_tenant(
    name: str, tenant: TenantConfig, config: ServeConfig, states: States, lanes: Lanes
) -> Tenant:
    merged = {**msgspec.to_builtins(config.moderator, enc_hook=str), **tenant.moderator}
    settings = typed(merged, ModeratorConfig, where=f"tenants.{name}.moderator")
    position = tenant.policy_position or config.policy_position
    variable = tenant.upstream_key_env or config.upstream.api_key_env
    secret = hashlib.blake2b(name.encode(), key=_SECRET).digest()
    try:
        guard = Guard(
            open_moderator(settings), states, lanes, secret=secret, seconds=config.limits.moderation_seconds
        )
    except UsageError as error:
        raise UsageError(error.code, f"Tenant {name}: {error}", **error.fields) from error
    return Tenant(
        name=name,
        guard=guard,
        position=None if position == "auto" else Position(position),
        budget=settings.policy_budget,
        block=tenant.block or config.block,
        caps=tenant.caps,
        reveal=tenant.reveal,
        upstream_key=key_from(variable) if variable else None,
        secret=secret,
        rate=Rate(tenant.caps.requests_per_minute),
    )
