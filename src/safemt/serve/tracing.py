"""A span for each verdict, under the caller's trace, if OpenTelemetry is installed (extra `serve`)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from safemt.core.verdict import Verdict

Note = Callable[[Verdict | None], None]
"""Puts what is known about a verdict into the span; no text."""


@contextmanager
def span(name: str, headers: Mapping[str, str]) -> Iterator[Note]:
    """A span under the trace that the headers name."""
    tracing = _tracing()
    if tracing is None or not tracing.recorded():
        yield _ignore
        return
    tracer, extract = tracing.tracer, tracing.extract
    with tracer.start_as_current_span(name, context=extract(headers)) as opened:
        yield lambda verdict: _note(opened, verdict)


def _note(opened: Any, verdict: Verdict | None) -> None:
    if verdict is None or not opened.is_recording():
        return
    opened.set_attribute("safemt.action", verdict.action.value)
    opened.set_attribute("safemt.flagged", verdict.flagged)
    opened.set_attribute("safemt.turns", len(verdict.turns))
    if verdict.risk is not None:
        opened.set_attribute("safemt.risk", verdict.risk)
    if verdict.degraded is not None:
        opened.set_attribute("safemt.degraded", verdict.degraded.cause)


def _ignore(verdict: Verdict | None) -> None:
    """Note nothing."""


@dataclass(frozen=True, slots=True)
class _Tracing:
    tracer: Any
    extract: Callable[[Mapping[str, str]], Any]
    recorded: Callable[[], bool]
    """Whether the program has set up where spans go; without that they cost time for nothing."""


@cache
def _tracing() -> _Tracing | None:
    try:
        from opentelemetry import propagate, trace
    except ImportError:
        return None
    return _Tracing(
        trace.get_tracer("safemt"),
        propagate.extract,
        lambda: not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider),
    )
