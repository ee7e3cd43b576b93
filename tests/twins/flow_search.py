"""Twin of kernels/images/flow_search.py: whole arrays in float64, one image after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastadv.reference import flow as flow_twin

Floats = npt.NDArray[np.float64]


def read(images: Floats, y: Floats, x: Floats) -> Floats:
    """Return the images (n, H, W, C) at the points y, x (n, H, W), clamped to the image."""
    height, width = images.shape[1:3]
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    s = np.arange(len(images))[:, None, None]
    a, b = (y - y0)[..., None], (x - x0)[..., None]
    top = (1 - b) * images[s, y0, x0] + b * images[s, y0, x1]
    bottom = (1 - b) * images[s, y1, x0] + b * images[s, y1, x1]
    out: Floats = (1 - a) * top + a * bottom
    return out


def slope_gradient(
    x: Floats, flow: Floats, n_channels: int, dout: Floats, memory: float, slope: Floats
) -> None:
    """Average into ``slope`` the pullback of ``dout``, the derivative being taken over a pixel."""
    n, _, height, width = flow.shape
    images, g = (v.reshape(n, height, width, n_channels) for v in (x, dout))
    row = np.clip(np.arange(height)[:, None] + flow[:, 1], 0, height - 1)
    column = np.clip(np.arange(width)[None, :] + flow[:, 0], 0, width - 1)
    across = read(images, row, column + 0.5) - read(images, row, column - 0.5)
    along = read(images, row + 0.5, column) - read(images, row - 0.5, column)
    fresh = np.stack([(g * across).sum(axis=-1), (g * along).sum(axis=-1)], axis=1)
    slope[:] = memory * slope + (1 - memory) * fresh


def differences(f: Floats) -> Floats:
    """Return D f (4, H, W) of a flow (2, H, W): to the right and below of du, then of dv."""
    out = np.zeros((4, *f.shape[1:]))
    for c in range(2):
        out[2 * c, :, :-1] = f[c, :, 1:] - f[c, :, :-1]
        out[2 * c + 1, :-1] = f[c, 1:] - f[c, :-1]
    return out


def transposed(p: Floats) -> Floats:
    """Return D'p (2, H, W) of a dual field (4, H, W)."""
    out = np.zeros((2, *p.shape[1:]))
    for c in range(2):
        out[c, :, 1:] += p[2 * c, :, :-1]
        out[c, :, :-1] -= p[2 * c, :, :-1]
        out[c, 1:] += p[2 * c + 1, :-1]
        out[c, :-1] -= p[2 * c + 1, :-1]
    return out


def primal_dual(
    f: Floats, p: Floats, g: Floats, excess: float, size: float, free: float, ceiling: float,
    reach: float, n_steps: int,
) -> None:  # fmt: skip
    """Take steps for one image: ``f`` (2, H, W) and ``p`` (4, H, W) are modified."""
    start = f.copy()
    metric = g + free * g.sum(axis=(1, 2), keepdims=True)
    square = (g * metric).sum()
    longest = reach / np.abs(metric).max() if square > 0 else 0.0
    for _ in range(n_steps):
        moved = f - size * transposed(p)
        violation = excess + (g * (moved - start)).sum()
        along = (
            min(violation / square, ceiling * size, longest)
            if violation > 0 and square > 0
            else 0.0
        )
        moved = moved - along * metric
        p += differences(2 * moved - f) / (8 * size)
        p /= np.maximum(np.sqrt((p**2).sum(axis=0)), 1)
        f[:] = moved


def advance(
    x: Floats, n_channels: int, rows: npt.NDArray[np.intp], dout: Floats, excess: Floats,
    size: float, free: float, ceiling: float, reach: float, memory: float, n_steps: int,
    flow: Floats, dual: Floats, slope: Floats, x_adv: Floats, losses: Floats,
) -> None:  # fmt: skip
    """Take one step of the search for the images in ``rows``; ``dual`` is (n, 4, H, W)."""
    for k, s in enumerate(rows):
        one = slice(s, s + 1)
        slope_gradient(x[one], flow[one], n_channels, dout[k : k + 1], memory, slope[one])
        primal_dual(flow[s], dual[s], slope[s], excess[k], size, free, ceiling, reach, n_steps)
        flow_twin.warp(x[one], flow[one], n_channels, x_adv[k : k + 1])
        flow_twin.flow_loss(flow[one], losses[k : k + 1])


def climb(
    x: Floats, n_channels: int, dout: Floats, size: float, bound: float, flow: Floats
) -> None:
    """Step along the sign of the pullback of ``dout``, within the box of ``bound``."""
    slope = np.zeros_like(flow)
    slope_gradient(x, flow, n_channels, dout, 0.0, slope)
    flow[:] = np.clip(flow + size * np.sign(slope), -bound, bound)
