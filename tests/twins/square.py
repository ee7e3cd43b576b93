"""Twin of kernels/images/square.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Shape = tuple[int, int, int]


def place(u: float, room: int) -> int:
    """Return one of 0 ... ``room``, all equally likely for ``u`` in [0, 1)."""
    return min(int(u * (room + 1)), room)


def corner(draws: Floats, shape: Shape, side: int, spared: int) -> tuple[int, int]:
    """Return the top left of a window that leaves the last ``spared`` rows and columns alone."""
    height, width, _ = shape
    return place(draws[0], height - spared - side), place(draws[1], width - spared - side)


def _window(draws: Floats, shape: Shape, side: int, spared: int) -> tuple[slice, slice]:
    top, left = corner(draws, shape, side, spared)
    return slice(top, top + side), slice(left, left + side)


def linf_window(
    x: Floats, eps: float, low: float, high: float, shape: Shape, side: int, spared: int,
    draws: Floats, x_adv: Floats,
) -> None:  # fmt: skip
    """Set a window of each image to ``x`` plus or minus ``eps``, one sign a channel."""
    for s in range(len(x)):
        window = _window(draws[s], shape, side, spared)
        signs = np.where(draws[s, 2:] < 0.5, 1.0, -1.0)
        clean, moved = x[s].reshape(shape)[window], x_adv[s].reshape(shape)[window]
        new = np.clip(clean + eps * signs, low, high)
        if np.array_equal(new, moved):
            new = np.clip(clean - eps * signs, low, high)
        moved[:] = new


def l2_window(
    x: Floats, eps: float, shape: Shape, bump: Floats, spared: int, draws: Floats, x_adv: Floats
) -> None:
    """Move all change out of one window into another, shaped by ``bump``."""
    side, channels = len(bump), shape[2]
    for s in range(len(x)):
        change = (x_adv[s] - x[s]).reshape(shape)
        to, out_of = (_window(d, shape, side, spared) for d in (draws[s, :2], draws[s, 2:4]))
        unused = max(eps**2 - np.sum(change**2), 0.0) / channels
        both = np.zeros(shape[:2], dtype=bool)
        both[to] = both[out_of] = True
        for k in range(channels):
            available = np.sqrt(np.sum(change[..., k][both] ** 2) + unused)
            old = change[..., k][to]
            norm = np.linalg.norm(old)
            sign = 1.0 if draws[s, 5 + k] < 0.5 else -1.0
            new = sign * (bump.T if draws[s, 4] < 0.5 else bump) + (old / norm if norm > 0 else 0.0)
            norm = np.linalg.norm(new)
            change[..., k][out_of] = 0.0
            change[..., k][to] = new / norm * available if norm > 0 else 0.0
        x_adv[s] = x[s] + change.reshape(-1)
