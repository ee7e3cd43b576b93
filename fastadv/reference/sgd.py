"""Twin of kernels/training/sgd.py: one batch after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference import dense, loss

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[Any]


def whole(features: tuple[Floats, Floats, Ints, Ints], d: int) -> Floats:
    """Return the matrix (n, d) that is given, or whose non-zeros stand row after row."""
    X, values, columns, starts = features
    if len(starts) == 0:
        return X
    X = np.zeros((len(starts) - 1, d), values.dtype)
    X[np.repeat(np.arange(len(X)), np.diff(starts)), columns] = values
    return X


def epoch(
    X: Floats, values: Floats, columns: Ints, starts: Ints, y: Ints, order: Ints, batch_size: int,
    params: Floats, velocity: Floats, sizes: Ints, activation: int,
    rates: Floats, momentum: float, alpha: float, threads: int,  # noqa: ARG001
) -> float:  # fmt: skip
    """Run once over ``X[order]``, the k-th batch at ``rates[k]``; return the loss.

    ``params`` and ``velocity`` are modified.
    """
    X = whole((X, values, columns, starts), sizes[0])
    total = 0.0
    for rate, first in zip(rates, range(0, len(order), batch_size), strict=True):
        rows = order[first : first + batch_size]
        x, n = X[rows], len(rows)
        hidden, deltas = (np.empty(n * dense.hidden_width(sizes)) for _ in range(2))
        logits, dlogits = (np.empty((n, sizes[-1])) for _ in range(2))
        losses, gradient = np.empty(n), np.empty_like(params)
        dense.forward(x, params, sizes, activation, hidden, logits)
        loss.cross_entropy(logits, y[rows], losses, dlogits)
        dense.backward(params, sizes, activation, hidden, dlogits, deltas)
        dense.parameter_gradient(x, sizes, hidden, dlogits, deltas, gradient)
        dense.add_penalty(params, sizes, alpha, gradient)
        velocity[:] = momentum * velocity - rate * gradient / n
        params += velocity
        total += float(losses.sum())
    return total
