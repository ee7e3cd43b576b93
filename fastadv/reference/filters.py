"""Twin of the median of kernels/images/filters.py: every window laid out, then sorted."""

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
