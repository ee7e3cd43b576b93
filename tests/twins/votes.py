"""Twin of kernels/network/votes.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def fit_softmax(X: Float64, labels: Ints, n_classes: int, steps: int, rate: float) -> Float64:
    """Return the weights (d, k) of softmax regression after full-batch descent from 0."""
    W = np.zeros((X.shape[1], n_classes))
    one_hot = np.eye(n_classes)[labels]
    for _ in range(steps):
        logits = X @ W
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        W -= rate * X.T @ (P - one_hot) / len(X)
    return W


def count_votes(logits: Float64, n_classes: int) -> Ints:
    """Return how many models vote for each class, (n, k)."""
    winners = logits.reshape(len(logits), n_classes, -1).argmax(axis=1)
    counts: Ints = (winners[:, :, None] == np.arange(n_classes)).sum(axis=1)
    return counts
