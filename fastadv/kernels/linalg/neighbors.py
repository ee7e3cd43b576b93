"""Nearest neighbours by brute force, tile by tile: a product, and then a scan for what is nearer."""

import numpy as np

from fastadv.kernels._jit import exact_kernel

QUERIES, POINTS = 128, 512  # rows of a tile: its product stays in the L2 cache
GROUP = 128  # distances that are compared with the farthest neighbour at once


@exact_kernel
def _insert(index, distance, row, column, d):
    """Put point ``column`` in its place among the sorted neighbours of ``row``."""
    k = index.shape[1] - 1
    while k > 0 and distance[row, k - 1] > d:
        index[row, k], distance[row, k] = index[row, k - 1], distance[row, k - 1]
        k -= 1
    index[row, k], distance[row, k] = column, d


@exact_kernel
def nearest(queries, points, start, stop, index, distance):
    """Fill the rows ``start`` to ``stop`` of ``index`` (n, k) with the nearest other points.

    ``distance`` (n, k) gets the product of query and point: with queries (-2 q, 1) and points
    (p, |p|^2) that is the squared distance less |q|^2. The nearest come first; of equals, the one
    of lower number. Query i is point i, and not among its own neighbours.
    """
    products = np.empty(QUERIES * POINTS, points.dtype)
    n, last = points.shape[0], index.shape[1] - 1
    for i in range(start, stop):
        for k in range(last + 1):
            distance[i, k] = np.inf
    for first in range(start, stop, QUERIES):
        end = min(first + QUERIES, stop)
        for left in range(0, n, POINTS):
            right = min(left + POINTS, n)
            tile = products[: (end - first) * (right - left)].reshape((end - first, right - left))
            np.dot(queries[first:end], points[left:right].T, tile)
            for i in range(first, end):
                for group in range(left, right, GROUP):
                    group_end = min(group + GROUP, right)
                    farthest, nearer = distance[i, last], np.int32(0)
                    for j in range(group - left, group_end - left):
                        nearer += np.int32(tile[i - first, j] < farthest)
                    if nearer > 0:
                        for j in range(group, group_end):
                            d = tile[i - first, j - left]
                            if d < distance[i, last] and j != i:
                                _insert(index, distance, i, j, d)
