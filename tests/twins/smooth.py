"""Twin of kernels/network/smooth.py: one image and one draw after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference import dense, loss
from twins import random

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]


def _above(first: Floats, params: Floats, sizes: Ints, activation: int) -> tuple[Floats, Floats]:
    """Return logits and hidden activations from the sums of the first layer (m, width)."""
    m = len(first)
    hidden, logits = np.empty(m * dense.hidden_width(sizes)), np.empty((m, sizes[-1]))
    [*dense.blocks(hidden, sizes, m), logits][0][:] = first
    dense.forward_above(params, sizes, activation, hidden, logits)
    return logits, hidden


def votes(
    sums: Floats, factor: Floats, params: Floats, sizes: Ints, activation: int, key: int,
    sample: int, start: int, n_draws: int, counts: Ints,
) -> None:  # fmt: skip
    """Add to ``counts`` the vote of each draw."""
    for draw in range(start, start + n_draws):
        z = np.empty((1, len(factor)))
        random.gauss(key, np.array([sample], dtype=np.uint64), draw, z)
        logits, _ = _above(sums + z @ factor, params, sizes, activation)
        counts[logits[0].argmax()] += 1


def expected(
    sums: Floats, noise: Floats, params: Floats, sizes: Ints, activation: int, hidden: Floats,
    shares: Floats, mean: Floats, winners: Ints,
) -> None:  # fmt: skip
    """Fill the mean softmax over the draws and the class of most votes."""
    blocks = hidden.reshape(len(sums), -1)
    for s, row in enumerate(sums):
        logits, blocks[s] = _above(row + noise, params, sizes, activation)
        loss.softmax(logits, shares[s])
        mean[s] = shares[s].mean(axis=0)
        counts = np.bincount(logits.argmax(axis=1), minlength=len(mean[s]))
        winners[s] = np.lexsort((mean[s], counts))[-1]


def expected_gradient(
    params: Floats, sizes: Ints, activation: int, hidden: Floats, shares: Floats, dmean: Floats,
    dsums: Floats,
) -> None:  # fmt: skip
    """Fill ``dsums`` by the chain rule through each draw's softmax."""
    n, m, _ = shares.shape
    for s, block in enumerate(hidden.reshape(n, -1)):
        p = shares[s]
        dlogits = p * (dmean[s] - (dmean[s] * p).sum(axis=1, keepdims=True)) / m
        deltas = np.empty_like(block)
        dense.backward(params, sizes, activation, block, dlogits, deltas)
        dsums[s] = [*dense.blocks(deltas, sizes, m), dlogits][0].sum(axis=0)
