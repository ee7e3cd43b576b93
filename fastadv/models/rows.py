"""A matrix as the kernels take it: dense, or by its non-zeros."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats
from fastadv.kernels.linalg import sparse
from fastadv.threads import map_chunks

Ints = npt.NDArray[np.int64]

MOST = np.iinfo(np.uint16).max  # columns, or rows of a batch, that can be numbered
_CHUNK = 4096  # rows that a thread compresses at a time


class Rows(NamedTuple):
    """A matrix (n, d) dense, with empty ``starts``, or by its non-zeros; X is (0, d) then.

    Attributes
    ----------
    X : ndarray, float32 or float64
    values, columns, starts : ndarray
        As in kernels/linalg/sparse.py.
    """

    X: Floats
    values: Floats
    columns: npt.NDArray[np.uint16]
    starts: Ints

    @classmethod
    def dense(cls, X: Floats) -> Self:
        """Return X as it is."""
        return cls(X, np.empty(0, X.dtype), np.empty(0, np.uint16), np.empty(0, np.int64))

    @classmethod
    def sparse(cls, X: Floats, starts: Ints | None = None) -> Self:
        """Return X, of at most `MOST` columns, by its non-zeros; `row_starts` may be at hand."""
        starts = row_starts(X) if starts is None else starts
        values, columns = np.empty(starts[-1], X.dtype), np.empty(starts[-1], np.uint16)

        def compress(first: int, last: int) -> None:
            sparse.compress(X[first:last], starts[first : last + 1], values, columns)

        map_chunks(compress, len(X), _CHUNK)
        return cls(X[:0], values, columns, starts)

    def by_columns(self) -> tuple[Floats, npt.NDArray[np.uint16], Ints]:
        """Return the non-zeros column after column: values, the row of each, and starts."""
        out: tuple[Any, ...] = (
            np.empty_like(self.values), np.empty_like(self.columns),
            np.empty(self.X.shape[1] + 1, np.int64),
        )  # fmt: skip
        sparse.transpose(*self[1:], np.arange(len(self.starts) - 1), *out)
        return out


def row_starts(X: Floats) -> Ints:
    """Return where each row of X begins among its non-zeros, and their number, (n + 1,)."""
    starts = np.empty(len(X) + 1, np.int64)
    sparse.count(X, starts)
    return starts
