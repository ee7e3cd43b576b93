"""Figures that stand in a row, with their intervals."""

from __future__ import annotations

import math

_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson, JASA 1927).

    Parameters
    ----------
    successes, n : int
        ``0 <= successes <= n`` and ``n >= 1``.

    Examples
    --------
    >>> low, high = wilson_interval(98, 100)
    >>> round(low, 4), round(high, 4)
    (0.93, 0.9945)
    """
    p = successes / n
    centre = p + _Z95**2 / (2 * n)
    half = _Z95 * math.sqrt(p * (1 - p) / n + _Z95**2 / (4 * n**2))
    scale = 1 + _Z95**2 / n
    # At p = 0 and 1 the bound is exact; the subtraction would leave an ulp on the wrong side.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high
