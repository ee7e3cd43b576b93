"""Twin of kernels/linalg/lbfgs.py: the inverse Hessian as a matrix, one problem at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def find_direction(
    gradient: Floats, moves: Floats, changes: Floats, n_kept: int, newest: int, direction: Floats
) -> None:
    """Fill ``direction`` by the BFGS formula (Nocedal and Wright, equation 6.17), oldest first."""
    m, d = moves.shape
    inverse = np.eye(d)
    if n_kept:
        y = changes[newest]
        inverse *= (moves[newest] @ y) / (y @ y)
    for back in range(n_kept - 1, -1, -1):
        s, y = moves[(newest - back) % m], changes[(newest - back) % m]
        rho = 1 / (s @ y)
        left = np.eye(d) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    direction[:] = -inverse @ gradient
