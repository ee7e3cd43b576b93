"""Twin of kernels/images/affine.py: whole arrays in float64, images with a black margin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from twins.flow_search import read

Floats = npt.NDArray[np.float64]


def rotate_translate(
    x: Floats, height: int, width: int, n_channels: int, black: float, moves: Floats, out: Floats
) -> None:
    """Fill ``out`` with the images, turned (degrees) and then shifted (pixels down and right)."""
    images = x.reshape(-1, height, width, n_channels)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=black)
    points = np.indices((height, width)).reshape(2, -1).astype(float)
    middle = np.array([[(height - 1) / 2], [(width - 1) / 2]])
    for s, (degrees, down, right) in enumerate(moves):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        back = np.array([[cosine, sine], [-sine, cosine]])
        rows, columns = back @ (points - middle - np.array([[down], [right]])) + middle + 1
        turned = read(padded[s : s + 1], rows[None, None], columns[None, None])
        out[s] = turned.ravel()
