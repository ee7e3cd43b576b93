"""Twin of kernels/unroll.py, whose second derivatives are taken by the complex step.

For a real analytic f, f(w + i h v) = f(w) + i h f'(w) v + O(h^2): with h = 1e-100 the imaginary
part is the derivative along v to rounding, for there is no difference of near numbers (Squire and
Trapp, SIAM Review 1998). So nothing here repeats the formulas of the R-operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference import dense
from fastadv.reference.loss import cross_entropy

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]

_STEP = 1e-100


def _gradient(
    X: Floats, y: Ints, params: Floats, sizes: Ints, activation: int, alpha: float
) -> tuple[complex, Floats, Floats]:
    """Return the mean cross-entropy, its gradient with the penalty's, and d(loss)/d(A_1)."""
    n, width = len(X), int(sizes[1:-1].sum())
    hidden, deltas = np.empty((2, n * width), params.dtype)
    logits, d = np.empty((2, n, int(sizes[-1])), params.dtype)
    losses, gradient = np.empty(n, params.dtype), np.empty_like(params)
    dense.forward(X, params, sizes, activation, hidden, logits)
    cross_entropy(logits, y, losses, d)
    d /= n
    dense.backward(params, sizes, activation, hidden, d, deltas)
    dense.parameter_gradient(X, sizes, hidden, d, deltas, gradient)
    dense.add_penalty(params, sizes, alpha / n, gradient)
    first = [*dense.blocks(deltas, sizes, n), d][0]
    return complex(losses.mean()), gradient, first


def loss_gradient(
    X: Floats, y: Ints, params: Floats, sizes: Ints, activation: int, alpha: float, gradient: Floats
) -> float:
    """Fill ``gradient`` with that of the mean cross-entropy plus alpha |W|^2 / (2 n).

    Returns the mean cross-entropy alone.
    """
    loss, gradient[...], _ = _gradient(X, y, params, sizes, activation, alpha)
    return loss.real


def train(
    X: Floats, y: Ints, batches: Ints, params: Floats, velocity: Floats, sizes: Ints,
    activation: int, learning_rate: float, momentum: float, alpha: float, trajectory: Floats,
) -> None:  # fmt: skip
    """Take one heavy-ball step a row of ``batches``. ``params``, ``velocity`` are modified."""
    gradient = np.empty_like(params)
    for t, batch in enumerate(batches):
        if len(trajectory):
            trajectory[t] = params
        rows = [i for i in batch if i >= 0]
        loss_gradient(X[rows], y[rows], params, sizes, activation, alpha, gradient)
        velocity[...] = momentum * velocity - learning_rate * gradient
        params += velocity


def hessian_vector(
    X: Floats, y: Ints, params: Floats, direction: Floats, sizes: Ints, activation: int,
    alpha: float, out: Floats, first: Floats, r_first: Floats,
) -> None:  # fmt: skip
    """Fill ``out`` with H v, where v is ``direction``; ``first``, ``r_first`` with D_1, R D_1."""
    moved = params + 1j * _STEP * direction
    _, gradient, d = _gradient(X, y, moved, sizes, activation, alpha)
    out[...] = gradient.imag / _STEP
    first[...], r_first[...] = d.real, d.imag / _STEP


def mixed_rows(
    params: Floats, direction: Floats, sizes: Ints, first: Floats, r_first: Floats, out: Floats
) -> None:
    """Fill ``out`` with d(v . gradient)/dx for each row: the derivative along v of D_1 W_1'."""
    moved = params + 1j * _STEP * direction
    out[...] = ((first + 1j * _STEP * r_first) @ dense.weights(moved, sizes, 0).T).imag / _STEP


def reverse(
    X: Floats, y: Ints, slots: Ints, batches: Ints, trajectory: Floats, sizes: Ints,
    activation: int, learning_rate: float, momentum: float, alpha: float,
    adjoint: Floats, adjoint_velocity: Floats, dX: Floats,
) -> None:  # fmt: skip
    """Run `train` backwards over its stored trajectory. The last three arguments are modified."""
    curvature = np.empty_like(adjoint)
    for t in reversed(range(len(batches))):
        rows = [i for i in batches[t] if i >= 0]
        first, r_first = np.empty((2, len(rows), int(sizes[1])))
        mixed = np.empty((len(rows), X.shape[1]))
        adjoint_velocity += adjoint
        hessian_vector(
            X[rows], y[rows], trajectory[t], adjoint_velocity, sizes, activation, alpha,
            curvature, first, r_first,
        )  # fmt: skip
        mixed_rows(trajectory[t], adjoint_velocity, sizes, first, r_first, mixed)
        for i, row in zip(rows, mixed, strict=True):
            if slots[i] >= 0:
                dX[slots[i]] -= learning_rate * row
        adjoint -= learning_rate * curvature
        adjoint_velocity *= momentum
