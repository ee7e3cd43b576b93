"""Twin of kernels/images/filters.py, the part that no benchmark uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.reference.filters import median  # noqa: F401

Floats = npt.NDArray[np.float64]


def scatter(dout: Floats, source: npt.NDArray[Any], dx: Floats) -> None:
    """Fill ``dx`` with each ``dout`` sent back to the column it came from."""
    dx[:] = 0.0
    for s in range(len(dout)):
        np.add.at(dx[s], source[s], dout[s])


def _averaging(height: int, width: int, n_channels: int, size: int) -> Floats:
    """Return the matrix (H W C, H W C) that takes a row of pixels to the means of their windows."""
    shape = (height, width, n_channels)
    matrix = np.zeros((height * width * n_channels,) * 2)
    before, after = size // 2, size - 1 - size // 2
    for i, j, c in np.ndindex(*shape):
        for ii in range(i - before, i + after + 1):
            for jj in range(j - before, j + after + 1):
                inside = (min(max(ii, 0), height - 1), min(max(jj, 0), width - 1), c)
                row = np.ravel_multi_index(inside, shape)
                matrix[row, np.ravel_multi_index((i, j, c), shape)] += 1 / size**2
    return matrix


def mean(x: Floats, height: int, width: int, n_channels: int, size: int, out: Floats) -> None:
    """Fill ``out`` with the mean of each window."""
    out[:] = x @ _averaging(height, width, n_channels, size)


def spread(dout: Floats, height: int, width: int, n_channels: int, size: int, dx: Floats) -> None:
    """Fill ``dx`` with each ``dout`` spread over its window: the transpose of `mean`."""
    dx[:] = dout @ _averaging(height, width, n_channels, size).T
