"""Thresholds that keep false alarms below a given rate, with confidence.

The only assumption is that future benign dialogues resemble the present ones.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from safemt.core.errors import UsageError
from safemt.stats.intervals import LEVEL, Estimate, Interval

DIGITS: Final = 6
"""Decimal places of a threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A threshold, and how many false alarms it raises."""

    threshold: float
    """A risk of at least this is an alarm. It may lie above 1; then nothing raises an alarm."""
    rate: float
    """The rate that was asked for."""
    allowed: int
    """How many benign dialogues may raise an alarm if the rate is to be kept with confidence."""
    alarms: int
    """How many do; fewer than `allowed` if risks are equal."""
    benign: int
    achieved: Estimate
    """Their share, with Clopper and Pearson's interval, whose upper end is at most `rate`."""


def clopper_pearson(successes: int, n: int) -> Interval:
    """The exact 95 % interval (Clopper & Pearson 1934) for `successes` of `n` ≥ 1 independent trials.

    With X ~ Binomial(n, p), it goes from the p with P(X ≥ successes) = 2.5 %, or 0 for no success, to that
    with P(X ≤ successes) = 2.5 %, or 1 if all succeed. Both are found by bisection to the last bit.

    Raises:
        UsageError: `impossible_counts`: there are more successes than trials, or no trials.
    """
    if not 0 <= successes <= n or n == 0:
        raise UsageError("impossible_counts", f"{successes} successes of {n} trials are impossible.")
    tail = (1.0 - LEVEL) / 2.0
    # P(X ≤ k) falls as p rises. P(X ≥ k) = tail is P(X ≤ k - 1) = 1 - tail.
    low = 0.0 if successes == 0 else _root(lambda p: at_most(successes - 1, n, p) - (1.0 - tail))
    high = 1.0 if successes == n else _root(lambda p: at_most(successes, n, p) - tail)
    return Interval(low, high)


def at_most(successes: int, n: int, p: float) -> float:
    """P(X ≤ successes) for X ~ Binomial(n, p), 0 < p < 1, from logarithms."""
    steps = range(successes + 1)
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p)
        + (n - k) * math.log1p(-p)
        for k in steps
    ]  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))


def needed_for(rate: float) -> int:
    """How many benign dialogues are needed to promise `rate`: the least n with (1 - rate)^n ≤ 2.5 %."""
    return math.ceil(math.log((1.0 - LEVEL) / 2.0) / math.log1p(-rate))


def allowed_alarms(rate: float, benign: int) -> int | None:
    """The most alarms among `benign` dialogues whose Clopper-Pearson interval ends at `rate` or below.

    That is the largest k with P(X ≤ k) ≤ 2.5 %, X ~ Binomial(benign, rate): the tolerance limit of the order
    statistic (Wilks 1941). None if even no alarm is not enough to promise the rate.
    """
    tail = (1.0 - LEVEL) / 2.0
    if benign < needed_for(rate):
        return None
    low, high = 0, math.floor(rate * benign)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if at_most(middle, benign, rate) <= tail else (low, middle - 1)
    return low


def promise(benign: Sequence[float], rate: float) -> Promise | None:
    """The lowest threshold that keeps false alarms at `rate` or below with 97.5 % confidence.

    `benign` holds the highest risk of each independent benign dialogue, or of each cluster. If k alarms are
    allowed, the threshold lies just above the (k+1)-th highest risk, rounded up to six decimal places. None
    if there are too few dialogues (`needed_for`).

    Raises:
        UsageError: `bad_rate`: it does not lie between 0 and 1.
    """
    require_rate(rate)
    allowed = allowed_alarms(rate, len(benign))
    if allowed is None:
        return None
    highest = sorted(benign, reverse=True)[allowed]
    threshold = (math.floor(highest * 10**DIGITS) + 1) / 10**DIGITS
    alarms = sum(risk >= threshold for risk in benign)
    achieved = Estimate(alarms / len(benign), clopper_pearson(alarms, len(benign)))
    return Promise(
        threshold=threshold,
        rate=rate,
        allowed=allowed,
        alarms=alarms,
        benign=len(benign),
        achieved=achieved,
    )


def require_rate(rate: float) -> None:
    """Accept a rate that can be promised.

    Raises:
        UsageError: `bad_rate`: it does not lie between 0 and 1.
    """
    if not 0.0 < rate < 1.0:
        raise UsageError(
            "bad_rate", f"A false-alarm rate must lie between 0 and 1, such as 0.01, not {rate:g}.", rate=rate
        )


def _root(falling: Callable[[float], float]) -> float:
    """The share at which a falling function crosses 0."""
    low, middle, high = 0.0, 0.5, 1.0
    while low < middle < high:
        low, high = (middle, high) if falling(middle) > 0.0 else (low, middle)
        middle = (low + high) / 2.0
    return middle
