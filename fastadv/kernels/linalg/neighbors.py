"""Nearest neighbours by brute force, tile by tile: a product, and then a scan for what is nearer.

The products are `fastadv.kernels.linalg.product`'s: the bits of a distance do not hang on what else
is in the set, so that a list of neighbours can be kept while points come and go.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.linalg import product

QUERIES, POINTS = 128, 512  # rows of a tile: its product stays in the L2 cache
GROUP = 128  # distances that are compared with the farthest neighbour at once


@exact_kernel
def _comes_before(d, number, other_d, other):
    """Return whether a neighbour stands before another: the nearer, of equals that of lower number."""
    return d < other_d or (d == other_d and number < other)


@exact_kernel
def _insert(index, distance, row, number, d):
    """Put a point in its place among the sorted neighbours of ``row``; the last falls out."""
    k = index.shape[1] - 1
    while k > 0 and _comes_before(d, number, distance[row, k - 1], index[row, k - 1]):
        index[row, k], distance[row, k] = index[row, k - 1], distance[row, k - 1]
        k -= 1
    index[row, k], distance[row, k] = number, d


@exact_kernel
def nearest(queries, own, packed, numbers, start, stop, index, distance):
    """Let the points into the lists of neighbours of the queries ``start`` to ``stop``.

    Parameters
    ----------
    queries : ndarray of shape (n, d)
    own : ndarray of shape (n,)
        The number of the point that a query is, and that is not among its neighbours; or -1.
    packed : ndarray
        The points (d, m), as `product.pack` packs them.
    numbers : ndarray of shape (m,)
        Of the points.
    index, distance : ndarray of shape (n, k)
        The lists so far, the nearest first and, of equals, the one of lower number; without any
        neighbour yet a distance is infinite. ``distance`` is the product of query and point: with
        queries (-2 q, 1) and points (p, |p|^2) the squared distance less |q|^2.
    """
    products = np.empty(QUERIES * POINTS, queries.dtype)
    m, d, last = numbers.size, queries.shape[1], index.shape[1] - 1
    for first in range(start, stop, QUERIES):
        end = min(first + QUERIES, stop)
        for left in range(0, m, POINTS):
            right = min(left + POINTS, m)
            tile = products[: (end - first) * (right - left)].reshape((end - first, right - left))
            panels = packed[left * d : right * d if right < m else packed.size]
            product.product(queries[first:end], panels, tile)
            for i in range(first, end):
                for group in range(left, right, GROUP):
                    group_end = min(group + GROUP, right)
                    farthest, near = distance[i, last], np.int32(0)
                    for j in range(group - left, group_end - left):
                        near += np.int32(tile[i - first, j] <= farthest)
                    if near > 0:
                        for j in range(group, group_end):
                            gap, number = tile[i - first, j - left], numbers[j]
                            if number != own[i] and _comes_before(
                                gap, number, distance[i, last], index[i, last]
                            ):
                                _insert(index, distance, i, number, gap)
