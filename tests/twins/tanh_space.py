"""Twin of kernels/images/tanh_space.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def pull_to_weights(x: Floats, x_adv: Floats, tanh: Floats, half: float, dx: Floats) -> None:
    """Add the gradient of |x_adv - x|^2 to ``dx`` and pull it to w."""
    dx[:] = (dx + 2.0 * (x_adv - x)) * half * (1.0 - tanh**2)


def adam_step(w: Floats, dw: Floats, mean: Floats, square: Floats, step: int, rate: float) -> None:
    """Take step number ``step`` (from 1) of Adam."""
    mean[:] = 0.9 * mean + 0.1 * dw
    square[:] = 0.999 * square + 0.001 * dw**2
    w -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
