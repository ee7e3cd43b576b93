"""Many small linear classifiers: training each on its few images, and counting their votes."""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.loss import softmax


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
def count_votes(logits, n_models, votes):
    """Add each model's vote to ``votes`` (n, k): the first class of the largest logit.

    ``logits`` is (n, n_models * k), model after model.
    """
    n_classes = votes.shape[1]
    for i in range(votes.shape[0]):
        for model in range(n_models):
            start, best = model * n_classes, 0
            for j in range(1, n_classes):
                if logits[i, start + j] > logits[i, start + best]:
                    best = j
            votes[i, best] += 1
