"""Rows by their blocks of four columns that hold a non-zero: what a vector register takes at once.

Strokes are some pixels wide, so that of a digit most blocks are empty or nearly full. Rows (n, d)
are three arrays: the ``values`` (b, 4) of the blocks, row after row, with the zeros among them and
those beyond the last column; the first column of each block; and ``starts`` (n + 1,), where each row
begins. Vectors that go with them are as long as whole blocks are.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.machine.blocks import add_blocks, dot_blocks


@exact_kernel
def compress(X, values, columns, starts):
    """Fill the last three with the blocks of X (n, d), and return how many there are."""
    n, d = X.shape
    found, tail = 0, d - d % 4
    last = np.zeros(4, X.dtype)
    for i in range(n):
        starts[i] = found
        for c in range(0, tail, 4):
            found += _put(X[i, c : c + 4], c, found, values, columns)
        if tail < d:
            for c in range(tail, d):
                last[c - tail] = X[i, c]
            found += _put(last, tail, found, values, columns)
    starts[n] = found
    return found


@exact_kernel
def _put(block, c, place, values, columns):
    """Write a block there, zero or not, and return whether it is not."""
    p, q, r, s = block[0], block[1], block[2], block[3]
    values[place, 0], values[place, 1], values[place, 2], values[place, 3] = p, q, r, s
    columns[place] = c
    return not abs(p) + abs(q) + abs(r) + abs(s) <= 0.0  # true of NaN


@exact_kernel
def product(rows, i, x):
    """Return the product of row ``i`` with x."""
    values, columns, starts = rows
    return dot_blocks(values, columns, starts[i], starts[i + 1], x)


@exact_kernel
def products(rows, x, out):
    """Fill ``out`` (n,) with the products of the rows with x."""
    for i in range(out.size):
        out[i] = product(rows, i, x)


@exact_kernel
def add(factor, rows, i, out):
    """Add to ``out`` row ``i`` times a factor."""
    values, columns, starts = rows
    add_blocks(values, columns, starts[i], starts[i + 1], factor, out)


@exact_kernel
def squares(rows, out):
    """Fill ``out`` (n,) with |x|^2 of the rows."""
    values, _, starts = rows
    for i in range(out.size):
        out[i] = 0.0
        for b in range(starts[i], starts[i + 1]):
            for k in range(4):
                value = np.float64(values[b, k])
                out[i] += value * value
