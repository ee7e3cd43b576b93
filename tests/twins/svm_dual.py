"""Twin of kernels/svm/dual.py: pairs alone (SMO, the most violating pair)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]


def dual_gradient(K: Floats, y: Floats, a: Floats, g: Floats) -> None:
    """Fill ``g`` with K a - y."""
    g[:] = K @ a - y


def rounding(K: Floats, a: Floats) -> float:
    """Return a bound of what rounding has done to an entry of K a - y."""
    roots = np.sqrt(np.diag(K))
    return float(16 * 2.0**-52 * (1 + roots.max() * (np.abs(a) @ roots)))


def worst_pair(y: Floats, C: float, a: Floats, g: Floats) -> tuple[int, int, float]:
    """Return the pair (i, j) of the largest violation g_j - g_i, and the violation."""
    can_grow = np.where(y > 0, a < C, a < 0)
    can_shrink = np.where(y > 0, a > 0, a > -C)
    i = int(np.where(can_grow, g, np.inf).argmin())
    j = int(np.where(can_shrink, g, -np.inf).argmax())
    return i, j, float(g[j] - g[i])


def bias(y: Floats, C: float, a: Floats, g: Floats) -> float:
    """Return the mean of -g over the margin, or the middle of what the bounded rows allow."""
    free = (a != 0) & (np.abs(a) < C)
    if free.any():
        return -float(g[free].mean())
    i, j, _ = worst_pair(y, C, a, g)
    return -float(g[i] + g[j]) / 2


def solve(
    K: Floats, y: Floats, C: float, tolerance: float, max_rounds: int, a: Floats, g: Floats
) -> tuple[float, float, int]:
    """Train. ``a`` (n,), feasible at first, becomes the optimum, and ``g`` its gradient K a - y."""
    steps = 0
    while True:
        dual_gradient(K, y, a, g)
        i, j, violation = worst_pair(y, C, a, g)
        if violation <= max(tolerance, rounding(K, a)) or steps == 1000 * max_rounds:
            return bias(y, C, a, g), violation, steps
        curvature = max(K[i, i] + K[j, j] - 2 * K[i, j], 1e-12)
        low, high = np.minimum(0, C * y), np.maximum(0, C * y)
        step = min(violation / curvature, high[i] - a[i], a[j] - low[j])
        a[i] = high[i] if step == high[i] - a[i] else a[i] + step
        a[j] = low[j] if step == a[j] - low[j] else a[j] - step
        steps += 1


def linear_decision(X: Floats, coef: Floats, intercept: float, out: Floats) -> None:
    """Fill ``out`` (n,) with X coef + intercept."""
    out[:] = X @ coef + intercept


def rbf_decision(
    X: Floats, support: Floats, squares: Floats, dual: Floats, intercept: float, gamma: float,  # noqa: ARG001
    K: Floats, out: Floats,
) -> None:  # fmt: skip
    """Fill ``K`` (n, s) with exp(-gamma |x - z|^2), and ``out`` (n,) with K dual + intercept."""
    K[:] = np.exp(-gamma * ((X[:, :, np.newaxis] - support) ** 2).sum(axis=1))
    out[:] = K @ dual + intercept


def rbf_input_gradient(
    X: Floats, support: Floats, dual: Floats, gamma: float, K: Floats, scale: Floats, out: Floats
) -> None:
    """Fill ``out`` (n, d) with scale_i df/dx_i; ``support`` (s, d) has a support vector a row."""
    difference = support - X[:, np.newaxis, :]
    out[:] = scale[:, np.newaxis] * np.einsum("is,isd->id", 2 * gamma * K * dual, difference)
