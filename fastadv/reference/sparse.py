"""Twin of kernels/linalg/sparse.py: non-zeros by boolean masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def dense(values: Array, columns: Array, starts: Array, d: int) -> Array:
    """Return the matrix (n, d) itself."""
    X = np.zeros((len(starts) - 1, d), values.dtype)
    X[np.repeat(np.arange(len(X)), np.diff(starts)), columns] = values
    return X


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
    chosen = dense(values, columns, starts, len(out_starts) - 1)[rows]
    count(chosen.T, out_starts)
    n = out_starts[-1]
    compress(chosen.T, out_starts, out_values[:n], out_rows[:n])


def times(
    values: Array, columns: Array, starts: Array, rows: Array, matrix: Array, out: Array
) -> None:
    """Fill ``out`` (n, h) with X[rows] times ``matrix``."""
    out[:] = dense(values, columns, starts, len(matrix))[rows] @ matrix


def aligned(n: int, m: int, kind: np.dtype[Any]) -> Array:
    """Return an empty matrix (n, m); where it begins is a matter of speed alone."""
    return np.empty((n, m), kind)


def longest(starts: Array) -> int:
    """Return the most non-zeros of a row."""
    return int(np.diff(starts).max(initial=0))


def gram_times(
    values: Array, columns: Array, starts: Array, t_values: Array, t_rows: Array, t_starts: Array,
    matrix: Array, first: int, last: int, out: Array,
) -> None:  # fmt: skip
    """Fill the columns ``first`` to ``last`` of ``out`` with those of X X' ``matrix``."""
    X = dense(values, columns, starts, len(t_starts) - 1)
    X_transposed = dense(t_values, t_rows, t_starts, len(starts) - 1)
    out[:, first:last] = X @ (X_transposed @ matrix[:, first:last])
