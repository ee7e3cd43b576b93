"""Twin of kernels/linalg/neighbors.py: every product, and a sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


def nearest(
    queries: Floats, own: Ints, points: Floats, numbers: Ints, start: int, stop: int, index: Ints,
    distance: Floats,
) -> None:  # fmt: skip
    """Let points (d, m), not packed, into the lists of the queries ``start`` to ``stop``."""
    for i in range(start, stop):
        others = numbers != own[i]
        gaps = queries[i].astype(np.float64) @ points[:, others].astype(np.float64)
        met = np.concatenate([index[i], numbers[others]])
        gaps = np.concatenate([distance[i], gaps])
        first = np.lexsort((met, gaps))[: index.shape[1]]
        index[i], distance[i] = met[first], gaps[first]
