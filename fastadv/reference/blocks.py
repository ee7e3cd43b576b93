"""Twin of kernels/linalg/blocks.py: the rows are put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Rows = tuple[Floats, npt.NDArray[np.uint32], npt.NDArray[np.int64]]  # values, columns, starts


def dense(rows: Rows, width: int) -> Floats:
    """Return the rows whole, (n, width); the width is a multiple of four."""
    values, columns, starts = rows
    X = np.zeros((len(starts) - 1, width // 4, 4), values.dtype)
    X[np.repeat(np.arange(len(X)), np.diff(starts)), columns // 4] = values
    return X.reshape(len(X), width)


def compress(
    X: Floats, values: Floats, columns: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64]
) -> int:
    """Fill the last three with the blocks of X (n, d), and return how many there are."""
    blocks = np.pad(X, ((0, 0), (0, -X.shape[1] % 4))).reshape(len(X), -1, 4)
    i, b = np.nonzero(blocks.any(axis=2))
    values[: len(i)], columns[: len(i)] = blocks[i, b], 4 * b
    starts[:] = np.searchsorted(i, np.arange(len(X) + 1))
    return len(i)


def product(rows: Rows, i: int, x: Floats) -> float:
    """Return the product of row ``i`` with x."""
    return float(dense(rows, len(x))[i] @ x)


def products(rows: Rows, x: Floats, out: Floats) -> None:
    """Fill ``out`` (n,) with the products of the rows with x."""
    out[:] = dense(rows, len(x)) @ x


def add(factor: float, rows: Rows, i: int, out: Floats) -> None:
    """Add to ``out`` row ``i`` times a factor."""
    out += factor * dense(rows, len(out))[i].astype(np.float64)


def squares(rows: Rows, out: Floats) -> None:
    """Fill ``out`` (n,) with |x|^2 of the rows."""
    values, _, starts = rows
    sums = np.square(values, dtype=np.float64).sum(axis=1)
    out[:] = [sums[starts[i] : starts[i + 1]].sum() for i in range(len(out))]
