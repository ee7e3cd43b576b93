"""Twin of kernels/linalg/product.py: a packed matrix is the matrix, row after row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def packed_size(d: int, m: int, like: Floats) -> int:  # noqa: ARG001
    """Return how many numbers a matrix (d, m) takes."""
    return d * m


def pack(w: Floats, packed: Floats) -> None:
    """Fill the vector ``packed`` with the matrix."""
    packed[:] = w.ravel()


def product(x: Floats, packed: Floats, out: Floats) -> None:
    """Fill ``out`` (n, m) with x (n, d) times the packed matrix (d, m)."""
    out[:] = x @ packed.reshape(x.shape[1], out.shape[1])
