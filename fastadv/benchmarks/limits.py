"""What the machine could do at all: the matrix products of some work, and nothing else, by BLAS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastadv.arrays import Float32
from fastadv.attacks.evasion.base import CHUNK
from fastadv.benchmarks.race import Work
from fastadv.threads import map_chunks

NAME = "its BLAS products"


def attack_products(
    weights: Sequence[Float32], X: Float32, forward: float, backward: float
) -> Work:
    """Return the products of an attack's passes over X, in the chunks and threads of ours.

    Parameters
    ----------
    weights : sequence of ndarray (n_in, n_out)
    X : ndarray of shape (n, d)
    forward, backward : float
        Passes an image.
    """
    tile = CHUNK
    sizes = [len(weights[0]), *(w.shape[1] for w in weights)]
    x = np.resize(X, (tile, sizes[0]))
    n_tiles = -(-len(X) // tile)
    n_forward, n_backward = round(n_tiles * forward), round(n_tiles * backward)

    def multiply(start: int, stop: int) -> None:
        ahead = [x, *(np.empty((tile, size), np.float32) for size in sizes[1:])]
        back = [np.ones((tile, size), np.float32) for size in sizes]
        for k in range(start, stop):
            for layer, w in enumerate(weights if k < n_forward else ()):
                np.dot(ahead[layer], w, out=ahead[layer + 1])
            for layer in reversed(range(len(weights) if k < n_backward else 0)):
                np.dot(back[layer + 1], weights[layer].T, out=back[layer])

    def work() -> dict[str, float]:
        map_chunks(multiply, max(n_forward, n_backward), 16)
        return {}

    return work


def training_products(sizes: Sequence[int], batch_size: int, n_batches: int) -> Work:
    """Return the dense products of so many batches' steps, BLAS with all of its threads."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(batch_size, size)).astype(np.float32) for size in sizes]
    weights = [
        (rng.normal(size=pair) / pair[0]).astype(np.float32)
        for pair in zip(sizes, sizes[1:], strict=False)
    ]
    outs, gradients = [layer.copy() for layer in layers], [w.copy() for w in weights]

    def work() -> dict[str, float]:
        for _ in range(n_batches):
            for k, w in enumerate(weights):
                np.dot(layers[k], w, out=outs[k + 1])
            for k, w in reversed(list(enumerate(weights))):
                np.dot(layers[k].T, layers[k + 1], out=gradients[k])
                if k > 0:
                    np.dot(layers[k + 1], w.T, out=outs[k])
        return {}

    return work
