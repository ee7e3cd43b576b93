"""The nearest neighbours of images, as sanitizers look for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32, Floats
from fastadv.kernels.linalg import neighbors as kernels
from fastadv.threads import map_chunks

_CHUNK = 1024  # images whose neighbours a thread looks for at once

Ints = npt.NDArray[np.int64]


def nearest_others(points: Floats, k: int) -> tuple[Ints, Float32]:
    """Return the numbers of the ``k`` nearest other points, and how far they are, (n, k) each.

    The nearest come first. The points (n, d) are more than ``k``.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    queries, stored = _queries(points), with_squares(points)
    index = np.empty((len(points), k), dtype=np.int64)
    product = np.empty((len(points), k), dtype=np.float32)
    map_chunks(
        lambda start, stop: kernels.nearest(queries, stored, start, stop, index, product),
        len(points), _CHUNK,
    )  # fmt: skip
    return index, _distances(product, stored[:, -1])


def distances(X: Floats, stored: Float32, k: int) -> Float32:
    """Return how far the ``k`` nearest of ``stored`` (`with_squares`) are, (n, k).

    Runs in the calling thread. A row of X that is itself among them is its own neighbour.
    """
    X = np.ascontiguousarray(X, dtype=np.float32)
    # The kernel leaves query i out of its own neighbours: ours begin behind the points.
    n_points, dimension = stored.shape
    queries = np.zeros((n_points + len(X), dimension), dtype=np.float32)
    queries[n_points:] = _queries(X)
    index = np.empty((len(queries), k), dtype=np.int64)
    product = np.empty((len(queries), k), dtype=np.float32)
    kernels.nearest(queries, stored, n_points, len(queries), index, product)
    return _distances(product[n_points:], (X * X).sum(axis=1, dtype=np.float64))


def with_squares(points: Floats) -> Float32:
    """Return (points, |points|^2), (n, d + 1), as the kernel takes them."""
    points = np.ascontiguousarray(points, dtype=np.float32)
    squares = (points.astype(np.float64) ** 2).sum(axis=1, keepdims=True).astype(np.float32)
    return np.hstack([points, squares])


def _queries(X: Float32) -> Float32:
    return np.hstack([-2 * X, np.ones((len(X), 1), dtype=np.float32)])


def _distances(product: Float32, squares: npt.NDArray[np.floating]) -> Float32:
    """Return the distances from |p|^2 - 2 q p and |q|^2."""
    out: Float32 = np.sqrt(np.maximum(product + squares[:, None], 0)).astype(np.float32)
    return out
