"""Twin of kernels/svm/poison.py: from the definitions, every matrix whole, nothing kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from twins import svm_dual

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Rows = tuple[Floats, npt.NDArray[np.uint32], npt.NDArray[np.int64]]  # values, columns, starts


def whole(rows: Rows, width: int) -> Floats:
    """Return the matrix (n, width) of rows by their blocks of four columns."""
    values, columns, starts = rows
    X = np.zeros((len(starts) - 1, width // 4, 4), values.dtype)
    X[np.repeat(np.arange(len(X)), np.diff(starts)), columns // 4] = values
    return X.reshape(len(X), width)


def kernel(X: Floats, Z: Floats, gamma: float) -> Floats:
    """Return K(x, z) for each row of X with each of Z; gamma 0 is the linear kernel."""
    if gamma == 0:
        products: Floats = X @ Z.T
        return products
    values: Floats = np.exp(-gamma * ((X[:, np.newaxis] - Z) ** 2).sum(axis=2))
    return values


def kernel_derivative(z: Floats, x: Floats, gamma: float) -> Floats:
    """Return dK(z, x)/dx, where z is held."""
    if gamma == 0:
        return z
    slope: Floats = 2 * gamma * np.exp(-gamma * ((z - x) ** 2).sum()) * (z - x)
    return slope


def fill_kernel(
    clean: Rows, val: Rows, width: int, gamma: float, squares: Floats, K: Floats, K_val: Floats
) -> None:
    """Fill what depends on the clean rows alone in ``K`` and ``K_val``; ``squares`` too for RBF."""
    X, X_val = whole(clean, width), whole(val, width)
    K[: len(X), : len(X)] = kernel(X, X, gamma)
    if gamma > 0:
        K_val[: len(X)] = kernel(X, X_val, gamma)
        squares[:] = np.square(np.vstack([X, X_val])).sum(axis=1)


def update_kernel(
    clean: Rows, val: Rows, squares: Floats, points: Floats, c: int, gamma: float,  # noqa: ARG001
    K: Floats, K_val: Floats,
) -> None:  # fmt: skip
    """Bring what depends on point ``c`` in ``K`` and ``K_val`` up to date."""
    width, n = points.shape[1], len(K) - len(points)
    x, train = points[c : c + 1], np.vstack([whole(clean, width), points])
    K[n + c] = kernel(x, train, gamma)[0]
    K[:, n + c] = K[n + c]
    if gamma > 0:
        K_val[n + c] = kernel(x, whole(val, width), gamma)[0]


def hinge(y_val: Floats, f: Floats, w: Floats) -> float:
    """Return the mean hinge loss of decision values ``f`` (m,); fill ``w`` (m,) with dL/df."""
    slack = 1 - y_val * f
    w[:] = np.where(slack > 0, -y_val, 0) / len(y_val)
    return float(np.maximum(slack, 0).mean())


def adjoint(
    K: Floats, y: Floats, C: float, a: Floats, g: Floats, load: Floats, total: float, v: Floats
) -> None:
    """Fill ``v`` with the solution of [K_SS 1; 1' 0] v = [load_S; total]."""
    v[:] = 0
    S = np.flatnonzero((a != 0) & (np.abs(a) < C))
    if len(S) == 0:
        for i in svm_dual.worst_pair(y, C, a, g)[:2]:
            v[i] += total / 2
        return
    H = np.ones((len(S) + 1, len(S) + 1))
    H[:-1, :-1], H[-1, -1] = K[np.ix_(S, S)], 0
    v[S] = np.linalg.lstsq(H, np.append(load[S], total))[0][:-1]


def _gradient(
    clean: Rows, val: Rows, points: Floats, gamma: float, a: Floats, v: Floats, w: Floats,
    out: Floats,
) -> None:  # fmt: skip
    (p, width), d = points.shape, out.shape[1]
    train = np.vstack([whole(clean, width), points])[:, :d]
    n = len(train) - p
    for c, x in enumerate(train[n:]):
        a_c, v_c = a[n + c], v[n + c]
        out[c] = sum(
            a_c * w_k * kernel_derivative(z, x, gamma)
            for w_k, z in zip(w, whole(val, width)[:, :d], strict=True)
        )
        for a_i, v_i, z in zip(a, v, train, strict=True):
            out[c] -= (a_c * v_i + v_c * a_i) * kernel_derivative(z, x, gamma)


def poison_gradient(
    clean: Rows, val: Rows, squares: Floats, y: Floats, y_val: Floats, gamma: float, C: float,
    tolerance: float, max_rounds: int, points: Floats,
    last: Floats, K: Floats, K_val: Floats, margin: Ints, inverse: Floats, a: Floats, g: Floats,  # noqa: ARG001
    v: Floats, w: Floats, held: Floats, pull: Floats, out: Floats,  # noqa: ARG001
) -> tuple[float, float, int]:  # fmt: skip
    """Train with the points; fill ``out`` (p, d) with the gradient of the loss, and return that."""
    if not np.isfinite(points).all():
        return math.nan, math.nan, 0
    last[:, : points.shape[1]] = points
    for c in range(len(points)):
        update_kernel(clean, val, squares, last, c, gamma, K, K_val)
    a[:] = 0
    bias, violation, steps = svm_dual.solve(K, y, C, tolerance, max_rounds, a, g)
    width = last.shape[1]
    train = np.vstack([whole(clean, width), last])
    to_val = kernel(train, whole(val, width), gamma)
    loss = hinge(y_val, a @ to_val + bias, w)
    adjoint(K, y, C, a, g, to_val @ w, w.sum(), v)
    _gradient(clean, val, last, gamma, a, v, w, out)
    return loss, violation, steps
