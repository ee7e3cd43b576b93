"""Twin of kernels/linalg/neighbors.py: every product, and a sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]


def nearest(
    queries: Floats, points: Floats, start: int, stop: int, index: npt.NDArray[Any],
    distance: Floats,
) -> None:  # fmt: skip
    """Fill the rows ``start`` to ``stop`` with the nearest other points, the nearest first."""
    for i in range(start, stop):
        d = points.astype(np.float64) @ queries[i].astype(np.float64)
        d[i] = np.inf
        index[i] = np.argsort(d, kind="stable")[: index.shape[1]]
        distance[i] = d[index[i]]
