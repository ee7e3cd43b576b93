"""Twin of kernels/sparse.py: non-zeros by boolean masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def count(X: Array, starts: Array) -> None:
    """Fill ``starts`` (n + 1,) with where each row of X begins among the non-zeros."""
    starts[:] = [0, *np.cumsum(np.count_nonzero(X, axis=1))]


def compress(X: Array, starts: Array, values: Array, columns: Array) -> None:
    """Fill ``values`` and ``columns`` with the non-zeros of X, row after row."""
    assert starts[-1] == np.count_nonzero(X)
    columns[:] = np.nonzero(X)[1]
    values[:] = X[X != 0]


def transpose(
    values: Array, columns: Array, starts: Array, rows: Array,
    out_values: Array, out_rows: Array, out_starts: Array,
) -> None:  # fmt: skip
    """Fill the last three with the chosen ``rows`` column after column."""
    dense = np.zeros((len(rows), len(out_starts) - 1), values.dtype)
    for i, row in enumerate(rows):
        part = slice(starts[row], starts[row + 1])
        dense[i, columns[part]] = values[part]
    count(dense.T, out_starts)
    n = out_starts[-1]
    compress(dense.T, out_starts, out_values[:n], out_rows[:n])


def gram_times(
    values: Array, columns: Array, starts: Array, t_values: Array, t_rows: Array, t_starts: Array,
    matrix: Array, first: int, last: int, out: Array,
) -> None:  # fmt: skip
    """Fill the columns ``first`` to ``last`` of ``out`` with those of X X' ``matrix``."""
    n, d = len(starts) - 1, len(t_starts) - 1
    X, X_transposed = np.zeros((n, d)), np.zeros((d, n))
    X[np.repeat(np.arange(n), np.diff(starts)), columns] = values
    X_transposed[np.repeat(np.arange(d), np.diff(t_starts)), t_rows] = t_values
    out[:, first:last] = X @ (X_transposed @ matrix[:, first:last])
