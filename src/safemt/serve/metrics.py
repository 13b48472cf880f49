"""Counters and histograms, and their text for Prometheus (exposition format 0.0.4)."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of every histogram."""
MOST_SERIES: Final = 500
"""Label values of one metric; further ones are counted as `other`, so that no client fills the memory."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Counter:
    """A number for each combination of label values."""

    kind = "counter"

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.name, self.about, self.labels = name, about, labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}
        self._lock = threading.Lock()

    def add(self, *values: str, by: float = 1.0) -> None:
        """Count, under these label values."""
        with self._lock:
            if values not in self._values and len(self._values) >= MOST_SERIES:
                values = ("other",) * len(values)
            self._values[values] = self._values.get(values, 0.0) + by

    def value(self, *values: str) -> float:
        """What was counted under these label values."""
        return self._values.get(values, 0.0)

    def lines(self) -> Iterator[str]:
        """The samples of the metric."""
        for values, number in sorted(self._values.items()):
            yield f"{self.name}{_labels(self.labels, values)} {number:g}"


class Gauge(Counter):
    """A number that is read when somebody asks."""

    kind = "gauge"

    def __init__(self, name: str, about: str, read: Callable[[], float]) -> None:
        super().__init__(name, about)
        self._read = read

    def lines(self) -> Iterator[str]:
        """The sample of the metric."""
        yield f"{self.name} {self._read():g}"


class Histogram(Counter):
    """Seconds, counted in buckets."""

    kind = "histogram"

    def __init__(self, name: str, about: str, *labels: str) -> None:
        super().__init__(name, about, *labels)
        self._buckets: dict[tuple[str, ...], list[int]] = {}

    def observe(self, seconds: float, *values: str) -> None:
        """Count a time."""
        self.add(*values, by=seconds)
        with self._lock:
            if values not in self._buckets and len(self._buckets) >= MOST_SERIES:
                values = ("other",) * len(values)
            buckets = self._buckets.setdefault(values, [0] * (len(SECONDS) + 1))
            buckets[bisect_left(SECONDS, seconds)] += 1

    def count(self, *values: str) -> int:
        """How many times were observed."""
        return sum(self._buckets.get(values, ()))

    def lines(self) -> Iterator[str]:
        """The buckets, each with those below it, and the sum."""
        names = (*self.labels, "le")
        for values, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, number in zip((*map(str, SECONDS), "+Inf"), buckets, strict=True):
                total += number
                yield f"{self.name}_bucket{_labels(names, (*values, bound))} {total}"
            yield f"{self.name}_sum{_labels(self.labels, values)} {self._values.get(values, 0.0):g}"
            yield f"{self.name}_count{_labels(self.labels, values)} {total}"


class Metrics:
    """All metrics of a gateway. Labels never hold texts of a conversation."""

    def __init__(self) -> None:
        self._all: list[Counter] = []
        self.requests = self._counter(
            "safemt_requests_total", "Requests, by what was done with them and why.",
            "endpoint", "action", "reason",
        )  # fmt: skip
        self.scenarios = self._counter(
            "safemt_flagged_total", "Flagged conversations, by scenario.", "scenario"
        )
        self.tenants = self._counter("safemt_tenant_requests_total", "Requests by tenant.", "tenant")
        self.errors = self._counter(
            "safemt_errors_total", "Answers of the gateway's own in place of the upstream's.", "code"
        )
        self.degraded = self._counter("safemt_degraded_total", "Degraded verdicts, by cause.", "cause")
        self.unscanned = self._counter(
            "safemt_unscanned_total", "Parts that the moderator did not look at, and why.", "why"
        )
        self.gone = self._counter("safemt_client_gone_total", "Clients that left early, by phase.", "phase")
        self.positions = self._counter(
            "safemt_position_total", "Injections, by the upstream's model and their place.",
            "model", "position",
        )  # fmt: skip
        self.reloads = self._counter("safemt_reload_total", "Reloads of the configuration.", "result")
        self.audit_lost = self._counter("safemt_audit_lost_total", "Audit lines that could not be kept.")
        self.moderation = self._histogram("safemt_moderation_seconds", "Time for a verdict.", "known")
        self.queue = self._histogram("safemt_queue_seconds", "Time that work for the moderator waited.")
        self.first_byte = self._histogram(
            "safemt_upstream_ttfb_seconds", "Time until the upstream's response began."
        )

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Add a number that is read when somebody asks."""
        self._all.append(Gauge(name, about, read))

    def text(self) -> str:
        """All of it, for a scrape."""
        lines: list[str] = []
        for metric in self._all:
            lines += [f"# HELP {metric.name} {metric.about}", f"# TYPE {metric.name} {metric.kind}"]
            lines += metric.lines()
        return "\n".join([*lines, ""])

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        self._all.append(Counter(name, about, *labels))
        return self._all[-1]

    def _histogram(self, name: str, about: str, *labels: str) -> Histogram:
        made = Histogram(name, about, *labels)
        self._all.append(made)
        return made


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
