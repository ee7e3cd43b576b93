"""A data set."""

from __future__ import annotations

from typing import Any

import numpy as np


def stripes(n: int = 900, noise: float = 0.2) -> dict[str, Any]:
    """Stripes that lie, stand or slant, 8 x 8 grey pixels under noise.

    Parameters
    ----------
    n : int
        How many images there are; every third is for testing.
    noise : float
        Standard deviation of the noise, in pixel values.
    """
    row, column = np.indices((8, 8))
    stripes = np.array([row // 2 % 2, column // 2 % 2, (row + column) // 2 % 2])
    y = np.arange(n) // 3 % 3
    x = stripes[y] + np.random.default_rng(0).normal(0, noise, (n, 8, 8))
    x = np.clip(x, 0, 1)
    test = np.arange(n) % 3 == 0
    return {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}
