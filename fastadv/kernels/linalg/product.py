"""The product of two matrices, a row at a time as far as any bit of it is concerned.

BLAS gives a row other bits in another place of a batch: in its last rows, in a small product or,
with the kernels for AVX2, in every second half dozen. Here an entry is one sum in the order of the
inner index, one fused multiply-add a term, wherever the row stands, however many there are, and
whatever the width of the processor's registers.

A block of rows by some registers' worth of columns stays in registers while rows of the right
matrix go by. That comes packed in panels of so many columns, and is taken as deep at a time as fits
the nearest cache (Goto and van de Geijn, ACM TOMS 2008).
"""

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.linalg import sparse
from fastadv.kernels.machine.registers import (
    NARROW_ROWS,
    ROWS,
    add_products,
    add_products_narrow,
    add_products_narrow_row,
    add_products_row,
    lanes,
    wide,
)

_DEPTH = 64  # rows of a panel at a time


@exact_kernel
def packed_size(d, m, like):
    """Return how many numbers a matrix (d, m) of the type of the array ``like`` takes once packed."""
    width = wide(like)
    return (m + width - 1) // width * width * d


@exact_kernel
def pack(w, packed):
    """Fill the vector ``packed`` with the matrix, panel after panel of columns, padded with zeros."""
    (d, m), width = w.shape, wide(packed)
    for j in range(0, m, width):
        for k in range(d):
            row = packed[j * d + k * width : j * d + (k + 1) * width]
            for q in range(width):
                row[q] = w[k, j + q] if j + q < m else 0


@exact_kernel
def product(x, packed, out):
    """Fill ``out`` (n, m) with x (n, d) times a matrix (d, m) that `pack` has packed.

    All are of one type, float32 or float64, and C-contiguous.
    """
    (n, m), d, width, lane = out.shape, x.shape[1], wide(out), lanes(out)
    panels, whole = packed.reshape((packed.size // max(d * width, 1), d, width)), m // width
    for i in range(n):
        for j in range(m):
            out[i, j] = 0
    four = n - n % ROWS
    for p in range(whole):
        for k in range(0, d, _DEPTH):
            depth = min(_DEPTH, d - k)
            for i in range(0, four, ROWS):
                add_products(x, i, k, depth, panels[p], 0, out, p * width)
            for i in range(four, n):
                add_products_row(x, i, k, depth, panels[p], 0, out, p * width)
    first = whole * width
    if first == m or d == 0:
        return
    rest = (m - first + lane - 1) // lane * lane
    sums = sparse.aligned(n, rest, out.dtype)
    sums[:] = 0
    many = n - n % NARROW_ROWS
    for j in range(0, rest, lane):
        for i in range(0, many, NARROW_ROWS):
            add_products_narrow(x, i, 0, d, panels[whole], j, sums, j)
        for i in range(many, n):
            add_products_narrow_row(x, i, 0, d, panels[whole], j, sums, j)
    for i in range(n):
        for j in range(m - first):
            out[i, first + j] = sums[i, j]
