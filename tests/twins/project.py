"""Twin of kernels/images/project.py, the part that no benchmark uses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastadv.reference.project import l2_project  # noqa: F401

Floats = npt.NDArray[np.float64]


def linf_project(x: Floats, eps: float, low: float, high: float, x_adv: Floats) -> None:
    """Bring ``x_adv`` into the box and within ``eps`` of ``x``."""
    x_adv[:] = np.clip(x_adv, np.maximum(x - eps, low), np.minimum(x + eps, high))


def linf_step(gradient: Floats, steps: Floats, x_adv: Floats) -> None:
    """Add ``steps`` (n,) times the sign of the gradient."""
    x_adv += steps[:, None] * np.sign(gradient)


def l2_step(gradient: Floats, steps: Floats, x_adv: Floats) -> None:
    """Add ``steps`` (n,) times the unit gradient."""
    norm = np.linalg.norm(gradient, axis=1, keepdims=True)
    x_adv += steps[:, None] * np.divide(gradient, norm, out=np.zeros_like(gradient), where=norm > 0)


def momentum_step(moved: Floats, weight: float, x_adv: Floats, previous: Floats) -> None:
    """Go on by ``weight`` toward ``moved``, by the rest as the last step went."""
    new = x_adv + weight * (moved - x_adv) + (1.0 - weight) * (x_adv - previous)
    previous[:] = x_adv
    x_adv[:] = new


def climb(
    x: Floats, gradient: Floats, away: Floats, low: float, high: float, momentum: float,
    steps: Floats, heading: Floats, out: Floats,
) -> None:  # fmt: skip
    """Turn ``heading`` towards the ascent direction; fill ``out`` with x moved along it."""
    stuck = ((x <= low) & (gradient < 0)) | ((x >= high) & (gradient > 0))
    along = np.where(stuck, 0.0, gradient)
    along = np.where(along.any(axis=1, keepdims=True), along, away - x)
    heading *= momentum
    heading += _unit(along)
    out[:] = x + steps[:, np.newaxis] * _unit(heading)


def _unit(x: Floats) -> Floats:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    unit: Floats = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    return unit


def distances(x: Floats, x_adv: Floats, linf: Floats, l2: Floats) -> None:
    """Fill ``linf`` and ``l2`` (n,) with the size of the change of each row."""
    linf[:] = np.abs(x_adv - x).max(axis=1)
    l2[:] = np.linalg.norm(x_adv - x, axis=1)
