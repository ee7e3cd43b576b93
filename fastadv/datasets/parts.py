"""The three parts of a dataset, and one of them as it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float32, Labels

Rows = npt.NDArray[np.intp]

PARTS = ("train", "val", "test")
KEYS = ("x_train", "y_train", "x_test", "y_test")  # x_val and y_val may be there, too


class Part(NamedTuple):
    """Images as the source has them, and their labels.

    Attributes
    ----------
    images : ndarray of shape (n, H, W, C)
        Of bytes or floats, from 0 to ``white``.
    labels : ndarray of int64, shape (n,)
    white : float
    """

    images: npt.NDArray[Any]
    labels: Labels
    white: float

    def take(self, rows: Rows) -> Part:
        """Return some of the rows."""
        return self._replace(images=self.images[rows], labels=self.labels[rows])

    def rows(self) -> Float32:
        """Return an image a row, as shares of white: (n, d), C-contiguous."""
        rows = self.images.reshape(len(self.images), -1)
        if self.white == 1:
            return np.ascontiguousarray(rows, dtype=np.float32)
        if rows.dtype != np.uint8:
            rows = rows.astype(np.float32)
        scaled: Float32 = np.divide(rows, np.float32(self.white), dtype=np.float32)
        return scaled


def hash_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return a hash of names, types, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for key, array in arrays.items():
        digest.update(f"{key} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
