"""The nearest neighbours of images, as sanitizers look for them, and who attacks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32, Floats
from fastadv.kernels.linalg import neighbors as kernels
from fastadv.kernels.linalg import product
from fastadv.threads import map_chunks

_CHUNK = 1024  # images whose neighbours a thread looks for at once

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """Points among which neighbours are looked for, as the kernel takes them.

    Attributes
    ----------
    packed : ndarray
        (p, |p|^2) of each.
    numbers : ndarray of shape (n,)
    """

    packed: Float32
    numbers: Ints

    @classmethod
    def of(cls, points: Floats, numbers: Ints | None = None) -> Self:
        """Pack points (n, d), numbered as they stand unless numbers are given."""
        points = np.asarray(points, dtype=np.float32)
        squares = (points.astype(np.float64) ** 2).sum(axis=1, keepdims=True).astype(np.float32)
        columns = np.ascontiguousarray(np.hstack([points, squares]).T)
        packed = np.empty(product.packed_size(*columns.shape, columns), dtype=np.float32)
        product.pack(columns, packed)
        return cls(packed, np.arange(len(points)) if numbers is None else numbers)


@dataclass(frozen=True)
class Neighbors:
    """The nearest others of some points, the nearest first; of equals, the one of lower number.

    Attributes
    ----------
    index : ndarray of shape (n, k)
        Their numbers.
    product : ndarray of shape (n, k)
        |p|^2 - 2 q p: the squared distances less |q|^2.
    """

    index: Ints
    product: Float32

    @classmethod
    def none(cls, n: int, k: int) -> Self:
        """Return lists without any neighbour yet."""
        most = np.iinfo(np.int64).max
        return cls(np.full((n, k), most), np.full((n, k), np.inf, dtype=np.float32))

    def meet(self, queries: Floats, own: Ints, points: Points) -> None:
        """Let points into the lists of ``queries`` (n, d), which are the points ``own`` (or -1)."""
        q, packed, numbers = _queries(queries), points.packed, points.numbers
        map_chunks(
            lambda start, stop: kernels.nearest(
                q, own, packed, numbers, start, stop, self.index, self.product
            ),
            len(q), _CHUNK,
        )  # fmt: skip

    def distances(self, queries: Floats) -> Float32:
        """Return how far the neighbours of ``queries`` (n, d) are, (n, k)."""
        squares = (np.asarray(queries, dtype=np.float64) ** 2).sum(axis=1, keepdims=True)
        out: Float32 = np.sqrt(np.maximum(self.product + squares, 0)).astype(np.float32)
        return out

    def rows(self, rows: Ints) -> Neighbors:
        """Return a copy of some of the lists."""
        return Neighbors(self.index[rows], self.product[rows])

    def put(self, rows: Ints, lists: Neighbors) -> None:
        """Take lists in place of those of some rows."""
        self.index[rows], self.product[rows] = lists.index, lists.product


def nearest_others(points: Floats, k: int) -> Neighbors:
    """Return the ``k`` nearest others of each of more than ``k`` points (n, d)."""
    found, numbers = Neighbors.none(len(points), k), np.arange(len(points))
    if k > 0:
        found.meet(points, numbers, Points.of(points))
    return found


def nearest_after(known: Neighbors, points: Floats, changed: Ints, k: int) -> Neighbors:
    """Return what `nearest_others` does, of points most of whose nearest others are known.

    Parameters
    ----------
    known : Neighbors
        The lists of the first points as they were; the longer than ``k`` they are, the fewer of
        them have to be made anew where points have changed.
    points : ndarray of shape (n, d)
        Those points, and others behind them.
    changed : ndarray of int
        The rows that are not what they were. Those behind are new in any case.
    """
    n, n_known = len(points), len(known.index)
    new = np.ones(n, dtype=bool)
    new[:n_known] = False
    new[changed] = True
    stay = ~new[known.index]
    place = np.cumsum(stay, axis=1) - 1  # of those that stay
    found = Neighbors.none(n, k)
    rows, columns = np.nonzero(stay & (place < k))
    to = rows, place[rows, columns]
    found.index[to], found.product[to] = known.index[rows, columns], known.product[rows, columns]
    anew = new.copy()
    anew[:n_known] |= stay.sum(axis=1) < k
    rows, others = np.flatnonzero(~anew), np.flatnonzero(new)
    lists = found.rows(rows)
    lists.meet(points[rows], rows, Points.of(points[others], others))
    found.put(rows, lists)
    rows = np.flatnonzero(anew)
    lists = Neighbors.none(len(rows), k)
    lists.meet(points[rows], rows, Points.of(points))
    found.put(rows, lists)
    return found


def distances(X: Floats, points: Points, k: int) -> Float32:
    """Return how far the ``k`` nearest of the points are, (n, k); a row that is one is its own."""
    found = Neighbors.none(len(X), k)
    found.meet(X, np.full(len(X), -1), points)
    return found.distances(X)


def _queries(X: Floats) -> Float32:
    X = np.asarray(X, dtype=np.float32)
    return np.hstack([-2 * X, np.ones((len(X), 1), dtype=np.float32)])
