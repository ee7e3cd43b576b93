"""Twin of kernels/images/filters.py: every window laid out, then sorted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def median(
    x: Floats,
    height: int,
    width: int,
    n_channels: int,
    size: int,
    out: Floats,
    source: npt.NDArray[Any],
) -> None:
    """Fill ``out`` with the upper median of each window, ``source`` with where it came from."""
    images = x.reshape(-1, height, width, n_channels)
    columns = np.broadcast_to(np.arange(x.shape[1]).reshape(images.shape[1:]), images.shape)
    before, after = size // 2, size - 1 - size // 2
    around = ((0, 0), (before, after), (before, after), (0, 0))
    windows = [  # (n, H, W, C, size, size)
        np.lib.stride_tricks.sliding_window_view(
            np.pad(a, around, mode="edge"), (size, size), (1, 2)
        )
        for a in (images, columns)
    ]
    values, froms = (w.reshape(*w.shape[:4], size * size) for w in windows)
    order = np.argsort(values, axis=-1, kind="stable")[..., size * size // 2, None]
    out[:] = np.take_along_axis(values, order, axis=-1).reshape(out.shape)
    source[:] = np.take_along_axis(froms, order, axis=-1).reshape(source.shape)


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
