"""Figures that stand in a row, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

_Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson, JASA 1927).

    Parameters
    ----------
    successes : int
        From 0 to n, of one run: the mean over several has the interval of `fastadv.runs`.
    n : int
        At least 1.

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


def mcnemar_exact(lost: int, won: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar, Psychometrika 1947).

    Images that two classifiers both get right or both get wrong say nothing about which is better.
    Of the others, were the two equally good, each would go either way with probability 1/2.

    Parameters
    ----------
    lost, won : int
        Images that only the first gets right, and that only the second does.

    Examples
    --------
    >>> mcnemar_exact(0, 6)
    0.03125
    """
    n = lost + won
    term, tail = 1, 0
    for k in range(min(lost, won) + 1):
        tail += term
        term = term * (n - k) // (k + 1)  # the next binomial coefficient, exactly
    return min(1.0, 2 * tail / (1 << n))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number (Holm, Scand. J. Statist. 1979).

    With what is then at most 0.05 called significant, the chance of a single false alarm among all
    of them is at most 5 %, however they depend on one another.

    Examples
    --------
    >>> holm([0.03, 0.01, 0.5])
    [0.06, 0.03, 0.5]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
