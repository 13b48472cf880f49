"""A span for each verdict, under the caller's trace, if OpenTelemetry is installed (extra `serve`)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from safemt.core.verdict import Verdict

Note = Callable[[Verdict | None], None]
"""Puts what is known about a verdict into the span; no text."""


@contextmanager
def span(name: str, headers: Mapping[str, str]) -> Iterator[Note]:
    """A span under the trace that the headers name."""
    tracing = _tracing()
    if tracing is None:
        yield lambda _: None
        return
    tracer, extract = tracing
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


@cache
def _tracing() -> tuple[Any, Callable[[Mapping[str, str]], Any]] | None:
    try:
        from opentelemetry import propagate, trace
    except ImportError:
        return None
    return trace.get_tracer("safemt"), propagate.extract
