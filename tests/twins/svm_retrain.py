"""Twin of kernels/svm/retrain.py: every inverse from its matrix, every solution from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from twins import svm_dual

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


def conditions(K: Floats, rows: Ints) -> Floats:
    """Return H = [0 1'; 1 K_SS] for the rows S."""
    H = np.ones((len(rows) + 1, len(rows) + 1))
    H[0, 0], H[1:, 1:] = 0, K[np.ix_(rows, rows)]
    return H


def times(matrix: Floats, x: Floats, out: Floats) -> None:
    """Fill ``out`` (k,) with x (k,) times the leading rows and columns of ``matrix``."""
    out[:] = matrix[: len(x), : len(x)] @ x


def append(K: Floats, r: int, margin: Ints, inverse: Floats) -> bool:
    """Add row ``r`` to the margin and return True; or False, if it depends on those in it."""
    m = margin[0] + 1
    H = conditions(K, np.append(margin[1:m], r))
    if np.linalg.matrix_rank(H) <= m:
        return False
    margin[0], margin[m], inverse[: m + 1, : m + 1] = m, r, np.linalg.inv(H)
    return True


def remove(i: int, margin: Ints, inverse: Floats) -> None:
    """Take the row at place ``i`` out of the margin; the last one gets its place."""
    m = margin[0]
    kept = np.arange(m + 1)
    kept[i] = m
    margin[1:m], margin[0] = margin[kept[1:m]], m - 1
    if m > 1:
        H = np.linalg.inv(inverse[: m + 1, : m + 1])[np.ix_(kept[:m], kept[:m])]
        inverse[:m, :m] = np.linalg.inv(H)


def match(K: Floats, y: Floats, C: float, a: Floats, margin: Ints, inverse: Floats) -> bool:
    """Make the margin that of ``a``; return whether it is independent."""
    margin[0] = 0
    free = np.flatnonzero((a * y > 0) & (a * y < C))
    added = [append(K, int(r), margin, inverse) for r in free]
    return all(added)


def meet(K: Floats, margin: Ints, inverse: Floats, total: float, a: Floats, g: Floats) -> float:  # noqa: ARG001
    """Move a_S so that a adds up to ``total`` and g, which moves by K a, is the same on S."""
    S = margin[1 : margin[0] + 1]
    b, *move = np.linalg.solve(conditions(K, S), np.append(total - a.sum(), -g[S]))
    a[S] += move
    g += K[:, S] @ move
    return float(b)


def solve_again(
    K: Floats, y: Floats, C: float, tolerance: float, max_rounds: int,
    margin: Ints, inverse: Floats, a: Floats, g: Floats,
) -> tuple[float, float, int]:  # fmt: skip
    """Train as `svm_dual.solve` does; ``margin`` and ``inverse`` become those of the solution."""
    a[:] = 0
    solution = svm_dual.solve(K, y, C, tolerance, max_rounds, a, g)
    match(K, y, C, a, margin, inverse)
    return solution
