"""Twin of kernels/svm_poison.py: from the definitions, every matrix whole, nothing kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference import svm

Floats = npt.NDArray[Any]


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


def update_kernel(
    rows: Floats, squares: Floats, points: Floats, c: int, gamma: float,  # noqa: ARG001
    K: Floats, K_val: Floats,
) -> None:  # fmt: skip
    """Bring what depends on point ``c`` in ``K`` and ``K_val`` up to date."""
    n = len(K) - len(points)
    K[n + c] = kernel(points[c : c + 1], np.vstack([rows[:n], points]), gamma)[0]
    K[:, n + c] = K[n + c]
    K_val[n + c] = kernel(points[c : c + 1], rows[n:], gamma)[0]


def hinge(K_val: Floats, y_val: Floats, a: Floats, bias: float, w: Floats) -> float:
    """Return the mean hinge loss of the validation rows; fill ``w`` (m,) with dL/df(x_k)."""
    slack = 1 - y_val * (a @ K_val + bias)
    w[:] = np.where(slack > 0, -y_val, 0) / len(y_val)
    return float(np.maximum(slack, 0).mean())


def adjoint(
    K: Floats, y: Floats, C: float, a: Floats, g: Floats, K_val: Floats, w: Floats, v: Floats
) -> None:
    """Fill ``v`` with the solution of [K_SS 1; 1' 0] v = [K_S,val; 1'] w."""
    v[:] = 0
    S = np.flatnonzero((a != 0) & (np.abs(a) < C))
    if len(S) == 0:
        for i in svm.worst_pair(y, C, a, g)[:2]:
            v[i] += w.sum() / 2
        return
    H = np.ones((len(S) + 1, len(S) + 1))
    H[:-1, :-1], H[-1, -1] = K[np.ix_(S, S)], 0
    v[S] = np.linalg.lstsq(H, np.append(K_val[S] @ w, w.sum()))[0][:-1]


def _gradient(
    rows: Floats, points: Floats, gamma: float, a: Floats, v: Floats, w: Floats, out: Floats
) -> None:
    n = len(a) - len(points)
    train, val = np.vstack([rows[:n], points]), rows[n:]
    for c, x in enumerate(points):
        a_c, v_c = a[n + c], v[n + c]
        out[c] = sum(
            a_c * w_k * kernel_derivative(z, x, gamma) for w_k, z in zip(w, val, strict=True)
        )
        for a_i, v_i, z in zip(a, v, train, strict=True):
            out[c] -= (a_c * v_i + v_c * a_i) * kernel_derivative(z, x, gamma)


def linear_gradient(
    rows: Floats, points: Floats, a: Floats, v: Floats, w: Floats, held: Floats, pull: Floats,
    out: Floats,
) -> None:  # fmt: skip
    """Fill ``out`` (p, d) with the derivative of the loss for the linear kernel."""
    held[:], pull[:] = w, w @ rows[-len(w) :]
    _gradient(rows, points, 0.0, a, v, w, out)


def rbf_gradient(
    rows: Floats, points: Floats, gamma: float, K: Floats, K_val: Floats,  # noqa: ARG001
    a: Floats, v: Floats, w: Floats, out: Floats,
) -> None:  # fmt: skip
    """Fill ``out`` (p, d) with the derivative of the loss for the RBF kernel."""
    _gradient(rows, points, gamma, a, v, w, out)


def poison_gradient(
    rows: Floats, squares: Floats, y: Floats, y_val: Floats, gamma: float, C: float,
    tolerance: float, max_rounds: int, points: Floats, last: Floats, K: Floats, K_val: Floats,
    a: Floats, g: Floats, v: Floats, w: Floats, held: Floats, pull: Floats, out: Floats,
) -> tuple[float, float, int]:  # fmt: skip
    """Train with the points; fill ``out`` (p, d) with the gradient of the loss, and return that."""
    for c in range(len(points)):
        update_kernel(rows, squares, points, c, gamma, K, K_val)
    last[:] = points
    a[:] = 0
    bias, violation, steps = svm.solve(K, y, C, tolerance, max_rounds, a, g)
    loss = hinge(K_val, y_val, a, bias, w)
    adjoint(K, y, C, a, g, K_val, w, v)
    if gamma == 0:
        linear_gradient(rows, points, a, v, w, held, pull, out)
    else:
        rbf_gradient(rows, points, gamma, K, K_val, a, v, w, out)
    return loss, violation, steps
