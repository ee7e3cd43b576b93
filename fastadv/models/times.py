"""The product of images and one matrix, as attacks and certificates need it."""

from __future__ import annotations

import numpy as np

from fastadv.arrays import Float32, Floats
from fastadv.kernels.linalg import product


class Times:
    """The product with a matrix (d, m), in float32: a row has the same bits in any batch."""

    def __init__(self, matrix: Floats) -> None:
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        self._packed = np.empty(product.packed_size(*matrix.shape, matrix), dtype=np.float32)
        self._n_columns = matrix.shape[1]
        product.pack(matrix, self._packed)

    def __call__(self, X: Floats) -> Float32:
        """Return X (n, d) times the matrix, (n, m), in the calling thread."""
        out = np.empty((len(X), self._n_columns), dtype=np.float32)
        product.product(np.ascontiguousarray(X, dtype=np.float32), self._packed, out)
        return out
