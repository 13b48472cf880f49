"""What audit logs say about a deployment over time, and whether its traffic has drifted.

Requests of one conversation hang together: a conversation that was flagged at its third turn is flagged at
every later one. So everything that is compared is counted by conversation, in the window of its last request.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np

from safemt.core.errors import UsageError
from safemt.stats.comparison import holm
from safemt.stats.intervals import Estimate, proportion

MONITOR_SCHEMA: Final = "safemt.monitor/1"
SIGNIFICANT: Final = 0.01
"""A change counts as drift below this p-value, adjusted for all windows and figures."""
LEAST_CHANGE: Final = 0.02
"""A share that changes by less is not drift, however many conversations there are."""
LEAST_DISTANCE: Final = 0.1
"""The same for distributions of risk: the largest difference of their distribution functions."""
QUANTILES: Final = (0.5, 0.9, 0.99)
_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Seen:
    """One conversation in one window."""

    risk: float | None
    """The highest."""
    flagged: bool
    degraded: bool


@dataclass(slots=True, kw_only=True)
class Window:
    """One stretch of time."""

    start: datetime
    end: datetime
    requests: int = 0
    conversations: int = 0
    alerts: Estimate | None = None
    """Share of conversations that were flagged."""
    degraded: Estimate | None = None
    """Share of conversations with a degraded verdict."""
    risk: Mapping[str, float] = field(default_factory=dict)
    """Quantiles of the conversations' highest risk, by their names: `p50`, `p90`, `p99`."""
    actions: Mapping[str, int] = field(default_factory=dict)
    """Requests by action."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """The gateway's own errors, by code."""
    causes: Mapping[str, int] = field(default_factory=dict)
    """Degraded verdicts, by cause."""
    unscanned: Mapping[str, int] = field(default_factory=dict)
    """Requests with parts that nobody looked at, by why."""
    scenarios: Mapping[str, int] = field(default_factory=dict)
    """Flagged requests by scenario."""
    images_seen: Estimate | None = None
    """Share of pictures that were looked at."""
    moderation_ms: Mapping[str, float] = field(default_factory=dict)
    """Quantiles of the time for a verdict."""
    settings: Sequence[str] = ()
    """Moderators and thresholds in force, such as `embedded at 0.62`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A figure that changed against the reference."""

    window: datetime
    figure: str
    """`alerts`, `degraded` or `risk`."""
    before: float
    now: float
    """Shares; for `risk`, 0 and the distance of the distributions."""
    p_value: float
    """Adjusted (Holm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitored:
    """All that `safemt monitor` shows."""

    reference: Window
    """The windows that the others are compared with, as one."""
    windows: Sequence[Window]
    drifts: Sequence[Drift]
    groups: Mapping[str, Mapping[str, Window]]
    """`tenant` and `model` → each of them over all windows."""


def monitor(
    records: Iterable[Mapping[str, Any]], *, window: timedelta, reference: timedelta | None = None
) -> Monitored:
    """Windows of time from the lines of audit logs, and what drifted.

    Args:
        records: As `read_audit` gives them, in any order.
        window: Length of a window; windows begin at multiples of it since 1970, in UTC.
        reference: How long the stretch at the beginning is that the rest is compared with; None is a third of
            the time, at least one window.

    Raises:
        UsageError: there are no records, or none after the reference.
    """
    ordered = sorted(records, key=lambda record: str(record["time"]))
    if not ordered:
        raise UsageError("no_records", "The audit logs hold no request. Give others.")
    lines = [(datetime.fromisoformat(str(record["time"])), record) for record in ordered]
    begin, end = _floor(lines[0][0], window), lines[-1][0]
    count = math.floor((end - begin) / window) + 1
    if reference is None:
        reference = window * max(1, count // 3)
    split = begin + reference
    if split > end:
        raise UsageError(
            "nothing_to_compare",
            f"All requests lie within the reference, which ends at {split:%Y-%m-%d %H:%M}. Give a shorter "
            "`reference` or `window`, or more logs.",
        )
    stretches = [(begin + n * window, begin + (n + 1) * window) for n in range(count)]
    cut = [
        (stretch, [record for when, record in lines if stretch[0] <= when < stretch[1]])
        for stretch in stretches
    ]
    before = [record for when, record in lines if when < split]
    later = [(stretch, found) for stretch, found in cut if stretch[1] > split and found]
    return Monitored(
        reference=_window(begin, split, before),
        windows=[_window(*stretch, found) for stretch, found in cut],
        drifts=_drifts(before, later),
        groups={
            name: {
                value: _window(begin, end, [record for record in ordered if str(record[name]) == value])
                for value in sorted({str(record[name]) for record in ordered})
            }
            for name in ("tenant", "model")
        },
    )


def monitored_json(monitored: Monitored) -> dict[str, Any]:
    """The published form, for `--json` and for the page."""
    return {"schema": MONITOR_SCHEMA, **msgspec.to_builtins(monitored)}


def duration_of(text: str) -> timedelta:
    """A length of time such as `15m`, `1h`, `1d`, `2w`.

    Raises:
        UsageError: it is none.
    """
    number, unit = text[:-1], text[-1:]
    if not number.isascii() or not number.isdigit() or unit not in _UNITS or not 0 < int(number) <= 10_000:
        raise UsageError(
            "bad_duration", f"{text!r} is not a length of time. Write 15m, 6h, 1d or 2w.", value=text
        )
    return timedelta(seconds=int(number) * _UNITS[unit])


def conversations_of(records: Iterable[Mapping[str, Any]]) -> dict[str, Seen]:
    """The conversations in some records, each with the worst that was found in it."""
    found: dict[str, Seen] = {}
    for record in records:
        verdict = record.get("verdict")
        if not isinstance(verdict, dict):
            continue
        name = f"{record.get('tenant')}/{record.get('conversation') or record.get('id')}"
        before = found.get(name, Seen(None, False, False))
        risks = [risk for risk in (before.risk, verdict.get("risk")) if risk is not None]
        found[name] = Seen(
            max(risks, default=None),
            before.flagged or bool(verdict.get("flagged")),
            before.degraded or verdict.get("degraded") is not None,
        )
    return found


def _window(start: datetime, end: datetime, records: Sequence[Mapping[str, Any]]) -> Window:
    seen = list(conversations_of(records).values())
    verdicts = [record["verdict"] for record in records if isinstance(record.get("verdict"), dict)]
    risks = [each.risk for each in seen if each.risk is not None]
    coverage = [each["coverage"] for each in verdicts]
    return Window(
        start=start,
        end=end,
        requests=len(records),
        conversations=len(seen),
        alerts=proportion(sum(each.flagged for each in seen), len(seen)),
        degraded=proportion(sum(each.degraded for each in seen), len(seen)),
        risk=_quantiles(risks),
        actions=Counter(each["action"] for each in verdicts),
        errors=Counter(str(record["error"]) for record in records if record.get("error")),
        causes=Counter(each["degraded"] for each in verdicts if each["degraded"]),
        unscanned=Counter(why for each in verdicts for why in each["unscanned"]),
        scenarios=Counter(each["scenario"] or "none" for each in verdicts if each["flagged"]),
        images_seen=proportion(sum(each[2] for each in coverage), sum(each[3] for each in coverage)),
        moderation_ms=_quantiles([record["ms"]["moderation"] for record in records if record.get("verdict")]),
        settings=sorted({f"{each['moderator']} at {each['threshold']:g}" for each in verdicts}),
    )


def _drifts(
    before: Sequence[Mapping[str, Any]],
    later: Sequence[tuple[tuple[datetime, datetime], Sequence[Mapping[str, Any]]]],
) -> list[Drift]:
    """Changes of each window against the reference, tested as one family."""
    old = list(conversations_of(before).values())
    tests: list[tuple[Drift, bool]] = []
    for (start, _), records in later:
        new = list(conversations_of(records).values())
        for figure, flags in (("alerts", "flagged"), ("degraded", "degraded")):
            hits = [[getattr(each, flags) for each in group] for group in (old, new)]
            p, shares = two_shares(*hits)
            large = abs(shares[1] - shares[0]) >= LEAST_CHANGE
            drift = Drift(window=start, figure=figure, before=shares[0], now=shares[1], p_value=p)
            tests.append((drift, large))
        risks = [[each.risk for each in group if each.risk is not None] for group in (old, new)]
        distance, p = two_samples(*risks)
        drift = Drift(window=start, figure="risk", before=0.0, now=distance, p_value=p)
        tests.append((drift, distance >= LEAST_DISTANCE))
    adjusted = holm([drift.p_value for drift, _ in tests])
    return [
        replace(drift, p_value=p)
        for (drift, large), p in zip(tests, adjusted, strict=True)
        if large and p < SIGNIFICANT
    ]


def two_shares(before: Sequence[bool], now: Sequence[bool]) -> tuple[float, tuple[float, float]]:
    """p-value of equal shares, and both shares.

    The normal approximation with pooled variance and Yates' correction, which errs towards no difference in
    small samples. 1 if a sample is empty.
    """
    n, m = len(before), len(now)
    if not n or not m:
        return 1.0, (sum(before) / max(n, 1), sum(now) / max(m, 1))
    p, q = sum(before) / n, sum(now) / m
    pooled = (sum(before) + sum(now)) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    gap = max(0.0, abs(p - q) - (1 / n + 1 / m) / 2)
    return (math.erfc(gap / error / math.sqrt(2)) if error else 1.0), (p, q)


def two_samples(before: Sequence[float], now: Sequence[float]) -> tuple[float, float]:
    """Distance of two empirical distributions (Kolmogorov-Smirnov), and the p-value of equal ones.

    p = 2 Σ (-1)^(k-1) exp(-2 k² λ²), with λ = (√n + 0.12 + 0.11/√n) D and n the harmonic size (Stephens
    1970). With ties it errs towards no difference. (0, 1) if a sample is empty.
    """
    if not before or not now:
        return 0.0, 1.0
    one, two = np.sort(np.asarray(before)), np.sort(np.asarray(now))
    both = np.concatenate([one, two])
    below = [np.searchsorted(each, both, side="right") / len(each) for each in (one, two)]
    distance = float(np.abs(below[0] - below[1]).max())
    root = math.sqrt(len(one) * len(two) / (len(one) + len(two)))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # the series converges too slowly, and p is 1 to many digits
        return distance, 1.0
    tail = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))
    return distance, min(1.0, max(0.0, tail))


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    found = np.quantile(np.asarray(values, float), QUANTILES)
    return {
        f"p{100 * share:g}": round(float(value), 6) for share, value in zip(QUANTILES, found, strict=True)
    }


def _floor(moment: datetime, window: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // window * window
