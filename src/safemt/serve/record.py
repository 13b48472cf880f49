"""What is noted about one request, for the audit log and the metrics."""

import re
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from safemt.core.schema import Message
from safemt.core.taxonomy import Action
from safemt.core.verdict import Verdict
from safemt.serve.audit import AUDIT_SCHEMA, text_entry, verdict_entry
from safemt.serve.generation import Generation, Tenant
from safemt.serve.metrics import Metrics

_FIRST: Final = 16
"""Chunks at the beginning that are kept: they hold the id of a response."""
_LAST: Final = 4
"""Chunks of a response that are kept: the usage comes in the last but one."""
_TAIL: Final = 16 * 2**10
_TOKENS: Final = re.compile(rb'"(prompt|input|completion|output)_tokens"\s*:\s*(\d{1,12})')


@dataclass(slots=True)
class Tee:
    """Looks at a response as it passes: its beginning, and its end, where the tokens are counted."""

    first: list[bytes] = field(default_factory=list)
    last: deque[bytes] = field(default_factory=lambda: deque(maxlen=_LAST))

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        if len(self.first) < _FIRST:
            self.first.append(chunk)
        self.last.append(chunk)

    @property
    def tokens(self) -> dict[str, int]:
        """`prompt` and `completion` as the upstream counted them last."""
        found: dict[str, int] = {}
        for name, number in _TOKENS.findall(b"".join(self.last)[-_TAIL:]):
            found["prompt" if name in (b"prompt", b"input") else "completion"] = int(number)
        return found

    @property
    def response_id(self) -> str | None:
        """The id of a response, from its JSON or from its first event."""
        line = b"".join(self.first)
        if not line.lstrip().startswith(b"{"):
            line = next((each[5:] for each in line.split(b"\n") if each.startswith(b"data:")), b"")
        try:
            body = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        body = body.get("response", body) if isinstance(body, dict) else {}
        response_id = body.get("id") if isinstance(body, dict) else None
        return response_id if isinstance(response_id, str) else None


@dataclass(slots=True)
class Record:
    """One request. Its fields fill as it is dealt with."""

    endpoint: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.perf_counter)
    tenant: Tenant | None = None
    model: str = ""
    messages: Sequence[Message] = ()
    verdicts: Sequence[Verdict] = ()
    conversation: str | None = None
    known: bool = False
    position: str | None = None
    phase: str = "request"
    """Where it is: `request`, `moderation`, `upstream`, `response`."""
    status: int = 0
    code: str | None = None
    """Of the gateway's own error."""
    gone: bool = False
    """Whether the client left before the end."""
    moderation_seconds: float = 0.0
    upstream_seconds: float | None = None
    """Until the upstream's response began."""
    tee: Tee = field(default_factory=Tee)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that decided; of several, the strictest."""
        return max(self.verdicts, key=lambda each: _STRICTNESS[each.action], default=None)

    @property
    def action(self) -> str:
        """What was done: an action, or `error`."""
        verdict = self.verdict
        return "error" if self.code is not None or verdict is None else verdict.action.value

    @property
    def reason(self) -> str:
        """Why: `policy`, `error` (the moderator's), `overload`, `unscanned`, `clean`; or an error's code."""
        verdict = self.verdict
        if self.code is not None or verdict is None:
            return self.code or "none"
        if verdict.flagged:
            return "policy"
        if verdict.degraded is None:
            return "clean"
        cause = verdict.degraded.cause
        return {"overload": "overload", "unknown_part": "unscanned"}.get(cause, "error")

    def count(self, metrics: Metrics) -> None:
        """Count the request."""
        metrics.requests.add(self.endpoint, self.action, self.reason)
        if self.tenant is not None:
            metrics.tenants.add(self.tenant.name)
        if self.code is not None:
            metrics.errors.add(self.code)
        if self.gone:
            metrics.gone.add(self.phase)
        if self.upstream_seconds is not None:
            metrics.first_byte.observe(self.upstream_seconds)
        for verdict in self.verdicts:
            metrics.moderation.observe(self.moderation_seconds, "yes" if self.known else "no")
            if verdict.flagged:
                metrics.scenarios.add(verdict.scenario.value if verdict.scenario else "none")
            if verdict.degraded is not None:
                metrics.degraded.add(verdict.degraded.cause)
            for each in verdict.coverage.unscanned:
                metrics.unscanned.add(each.why)
        if self.position is not None:
            metrics.positions.add(self.model, self.position)

    def entry(self, generation: Generation) -> dict[str, Any]:
        """The request's line in the audit log: no header, no key, and texts only as the operator set."""
        tenant, verdict, audit = self.tenant, self.verdict, generation.config.audit
        entry: dict[str, Any] = {
            "schema": AUDIT_SCHEMA,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": self.id,
            "tenant": tenant.name if tenant else None,
            "model": self.model,
            "endpoint": self.endpoint,
            "generation": generation.number,
            "status": self.status,
            "error": self.code,
            "gone": self.phase if self.gone else None,
            "known": self.known,
            "conversation": self.conversation,
            "detector": tenant.guard.detector if tenant else None,
            "position": self.position,
            "verdict": verdict_entry(verdict) if verdict else None,
            "ms": {
                "moderation": round(1000 * self.moderation_seconds, 2),
                "upstream": None if self.upstream_seconds is None else round(1000 * self.upstream_seconds, 2),
                "total": round(1000 * (time.perf_counter() - self.started), 2),
            },
            "tokens": self.tee.tokens,
        }
        if audit is not None and audit.text != "none" and tenant is not None:
            flagged = verdict is not None and verdict.flagged
            entry |= text_entry(audit.text, tenant.secret, self.messages, flagged=flagged)
        return entry


_STRICTNESS: Final = {Action.ALLOW: 0, Action.INJECT: 1, Action.BLOCK: 2}
