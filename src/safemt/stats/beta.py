"""Quantiles of the beta distribution, for intervals of shares."""

import math
from typing import Final

_TINY: Final = 1e-300
_CLOSE: Final = 1e-15
_MOST_STEPS: Final = 10_000


def beta_quantile(chance: float, a: float, b: float) -> float:
    """The x with P(X ≤ x) = `chance`, X ~ Beta(a, b), a > 0, b > 0, 0 < chance < 1.

    Newton's method on `beta_cdf`, kept between bounds that close in by bisection.
    """
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    low, high, x = 0.0, 1.0, a / (a + b)
    for _ in range(200):
        excess = beta_cdf(x, a, b) - chance
        low, high = (low, x) if excess > 0.0 else (x, high)
        density = math.exp(scale + (a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x))
        step = x - excess / density if density > 0.0 else -1.0
        if not low < step < high:
            step = (low + high) / 2.0
        if abs(step - x) <= 1e-14 * x or step in (low, high):
            return step
        x = step
    return x


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X ≤ x), X ~ Beta(a, b): the regularised incomplete beta function.

    Its continued fraction by the modified Lentz method (Press, Teukolsky, Vetterling & Flannery 2007, §6.4).
    """
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    numerator, inverse = 1.0, 1.0 / _off_zero(1.0 - (a + b) * x / (a + 1.0))
    fraction = inverse
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for part in (even, odd):
            inverse = 1.0 / _off_zero(1.0 + part * inverse)
            numerator = _off_zero(1.0 + part / numerator)
            fraction *= inverse * numerator
        if abs(inverse * numerator - 1.0) < _CLOSE:
            break
    return math.exp(logs) * fraction / a


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
