"""Twin of a projection of kernels/images/project.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def l2_project(x: Floats, eps: float, low: float, high: float, x_adv: Floats) -> None:
    """Bring ``x_adv`` into the ball around ``x``, then into the box."""
    change = x_adv - x
    norm = np.linalg.norm(change, axis=1, keepdims=True)
    scale = np.minimum(1.0, eps / np.maximum(norm, 1e-300))
    x_adv[:] = np.clip(x + scale * change, low, high)
