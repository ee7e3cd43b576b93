"""Twin of kernels/images/boundary.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LINF, L2 = 0, 1


def dual_norms(w: Floats, norm: int, out: Floats) -> None:
    """Fill ``out`` (n,): how much w'x gains for each unit of the norm."""
    out[:] = np.linalg.norm(w, ord=1 if norm == LINF else 2, axis=1)


def add_step(w: Floats, lengths: Floats, duals: Floats, norm: int, change: Floats) -> None:
    """Add to ``change`` the step of ``lengths`` (n,) in the norm that w'x gains most by."""
    unit = np.sign(w) if norm == LINF else w / np.maximum(duals, 1e-300)[:, None]
    change += np.where(duals > 0, lengths, 0.0)[:, None] * unit
