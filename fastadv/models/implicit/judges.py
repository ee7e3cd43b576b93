"""The attacker's loss: the mean over validation images of a loss of their scores."""

from __future__ import annotations

import numpy as np

from fastadv.arrays import Float64, Labels
from fastadv.models.implicit.smooth import Judge, Logistic, Multinomial


def cross_entropy(columns: Labels, q: int) -> Judge:
    """Return the mean cross-entropy of q columns of scores; of one, that of the second class."""
    loss = Logistic(signs(columns, 2)) if q == 1 else Multinomial(columns)
    return lambda f: (float(loss.value(f).mean()), loss.slope(f) / len(f))


def hinge(columns: Labels, q: int) -> Judge:
    """Return the mean of max(0, 1 - (f of the true class - the largest other f) / 2).

    Where classes are trained to 1 and -1 that is 0 for an image which each machine has beyond its
    margin. Of one column, whose other class has -f, it is max(0, 1 - y f).
    """
    y, each = signs(columns, 2), np.arange(len(columns))

    def of_two(f: Float64) -> tuple[float, Float64]:
        slack = 1.0 - y * f
        return float(np.maximum(slack, 0.0).mean()), np.where(slack > 0, -y / len(f), 0.0)

    def of_several(f: Float64) -> tuple[float, Float64]:
        others = f.copy()
        others[each, columns] = -np.inf
        rival = others.argmax(axis=1)
        slack = 1.0 - (f[each, columns] - f[each, rival]) / 2
        slope, half = np.zeros_like(f), np.where(slack > 0, 0.5 / len(f), 0.0)
        slope[each, columns], slope[each, rival] = -half, half
        return float(np.maximum(slack, 0.0).mean()), slope

    return of_two if q == 1 else of_several


def signs(columns: Labels, k: int) -> Float64:
    """Return 1 where a row is of a column's class, else -1: (n, k); of two classes (n, 1)."""
    if k == 2:
        return np.where(columns == 1, 1.0, -1.0)[:, np.newaxis]
    return np.where(columns[:, np.newaxis] == np.arange(k), 1.0, -1.0)
