"""Many small linear classifiers: training each on its few images, and counting their votes."""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.network.loss import softmax


@exact_kernel
def fit_softmax(G, labels, steps, learning_rate, A, Z, P):
    """Fill ``A`` (n, k): softmax regression by ``steps`` steps of descent from 0, W = X' A.

    Descent never leaves the span of the images, so that their products G = X X' / n, (n, n), are
    all that it needs. Z and P (n, k) are room to work in.
    """
    A[:] = 0.0
    for _ in range(steps):
        np.dot(G, A, Z)
        softmax(Z, P)
        for i in range(labels.size):
            P[i, labels[i]] -= 1.0
            for j in range(A.shape[1]):
                A[i, j] -= learning_rate * P[i, j]


@exact_kernel
def count_votes(logits, votes):
    """Add each model's vote to ``votes`` (n, k): the first class of its largest logit.

    ``logits`` is (n, k * m): class after class, so that the models are compared side by side.
    """
    m = logits.shape[1] // votes.shape[1]
    best, winners = np.empty(m, dtype=logits.dtype), np.empty(m, dtype=np.int32)
    for i in range(logits.shape[0]):
        best[:], winners[:] = logits[i, :m], 0
        for j in range(1, votes.shape[1]):
            number, of_class = np.int32(j), logits[i, j * m : (j + 1) * m]
            for model in range(m):  # two selects: a branch would keep it from vectorising
                larger = of_class[model] > best[model]
                winners[model] = number if larger else winners[model]
                best[model] = of_class[model] if larger else best[model]
        for model in range(m):
            votes[i, winners[model]] += 1


@exact_kernel
def votes_nearby(X, rows, points, logits, weights, votes):
    """Add the votes on images that differ in few pixels from points whose logits are known.

    Image i of ``X`` (n, d) is near ``points[rows[i]]``, whose logits are ``logits[rows[i]]``
    (k * m,): only the pixels that differ are multiplied by ``weights`` (d, k * m).
    """
    moved = np.empty((1, logits.shape[1]), dtype=logits.dtype)
    for i in range(X.shape[0]):
        moved[0] = logits[rows[i]]
        _move(points[rows[i]], X[i], weights, moved[0])
        count_votes(moved, votes[i : i + 1])


@exact_kernel
def move(X, rows, points, logits, weights):
    """Move ``points[rows[i]]`` to image i of ``X``, and their logits. Both are modified in place."""
    for i in range(X.shape[0]):
        _move(points[rows[i]], X[i], weights, logits[rows[i]])
        points[rows[i]] = X[i]


@exact_kernel
def _move(x, moved, weights, logits):
    """Make ``logits`` of the image ``x`` those of ``moved``."""
    for p in range(x.size):
        change, of_pixel = moved[p] - x[p], weights[p]
        if change != 0.0:
            for j in range(logits.size):
                logits[j] += change * of_pixel[j]
