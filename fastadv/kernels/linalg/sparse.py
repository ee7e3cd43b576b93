"""Rows with few non-zeros: MNIST is 19 % dense, and what is zero need not be multiplied.

A matrix in rows is three arrays: the non-zero ``values`` row after row, the column of each, and
``starts`` (n + 1,), where each row begins.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.machine.intrinsics import prefetch
from fastadv.kernels.machine.registers import add_rows

_AHEAD = 4  # rows, by which their memory is asked for


@exact_kernel
def count(X, starts):
    """Fill ``starts`` (n + 1,) with where each row of X begins among the non-zeros."""
    starts[0] = 0
    for i in range(X.shape[0]):
        found = 0
        for j in range(X.shape[1]):
            found += X[i, j] != 0
        starts[i + 1] = starts[i] + found


@exact_kernel
def compress(X, starts, values, columns):
    """Fill ``values`` and ``columns`` with the non-zeros of X, after `count`."""
    # Each pixel is written where the next non-zero belongs, zero or not: a branch would be
    # mispredicted along the edges of every stroke.
    row_values = np.empty(X.shape[1], values.dtype)
    row_columns = np.empty(X.shape[1], columns.dtype)
    for i in range(X.shape[0]):
        found = 0
        for j in range(X.shape[1]):
            row_values[found], row_columns[found] = X[i, j], j
            found += X[i, j] != 0
        for k in range(found):
            values[starts[i] + k], columns[starts[i] + k] = row_values[k], row_columns[k]


@exact_kernel
def transpose(values, columns, starts, rows, out_values, out_rows, out_starts):
    """Fill the last three with the chosen ``rows`` column after column.

    ``out_rows`` gets positions in ``rows``; ``out_starts`` is (n_columns + 1,).
    """
    for j in range(out_starts.size):
        out_starts[j] = 0
    for i in range(rows.size):
        ahead = rows[min(i + _AHEAD, rows.size - 1)]
        prefetch(columns, starts[ahead], starts[ahead + 1])
        prefetch(values, starts[ahead], starts[ahead + 1])
        for p in range(starts[rows[i]], starts[rows[i] + 1]):
            out_starts[columns[p] + 1] += 1
    total = 0
    for j in range(1, out_starts.size):
        before, total = total, total + out_starts[j]
        out_starts[j] = before  # where column j - 1 begins, for now
    for i in range(rows.size):
        for p in range(starts[rows[i]], starts[rows[i] + 1]):
            place = out_starts[columns[p] + 1]
            out_values[place], out_rows[place] = values[p], i
            out_starts[columns[p] + 1] = place + 1


@exact_kernel
def times(values, columns, starts, rows, matrix, out):
    """Fill ``out`` (n, h) with X[rows] times ``matrix``, which is best `aligned`."""
    for i in range(rows.size):
        row = out[i]
        for j in range(row.size):
            row[j] = 0
        add_rows(values, columns, starts[rows[i]], starts[rows[i] + 1], matrix, row)


@exact_kernel
def aligned(n, m, kind):
    """Return an empty matrix (n, m) of type ``kind`` that begins with a cache line.

    Rows that straddle two lines take `add_rows` two fifths longer.
    """
    raw = np.empty(n * m + 64, kind)
    skip = (-raw.ctypes.data % 64) // raw.itemsize
    return raw[skip : skip + n * m].reshape((n, m))


@exact_kernel
def longest(starts):
    """Return the most non-zeros of a row."""
    most = 0
    for i in range(starts.size - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@exact_kernel
def gram_times(values, columns, starts, t_values, t_rows, t_starts, matrix, first, last, out):
    """Fill the columns ``first`` to ``last`` of ``out`` (n, h) with those of X X' ``matrix``.

    X is given row after row and, by `transpose`, column after column. Some columns at a time are
    copied, and X' times them stays in the cache, where whole rows would not.
    """
    n, d = starts.size - 1, t_starts.size - 1
    panel, between = np.empty((n, last - first), out.dtype), np.zeros((d, last - first), out.dtype)
    for i in range(n):
        for j in range(last - first):
            panel[i, j] = matrix[i, first + j]
    for q in range(d):
        add_rows(t_values, t_rows, t_starts[q], t_starts[q + 1], panel, between[q])
    for i in range(n):
        row = out[i, first:last]
        for j in range(row.size):
            row[j] = 0
        add_rows(values, columns, starts[i], starts[i + 1], between, row)
