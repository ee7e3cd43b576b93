"""Twin of kernels/images/flow.py: whole arrays in float64, gathered by index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ROOT_EPS = 1e-8


def _sampling(flow: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the clamped sampling points (rows, columns) and where each one is not clamped."""
    height, width = flow.shape[2:]
    y = np.arange(height)[:, None] + flow[:, 1]
    x = np.arange(width)[None, :] + flow[:, 0]
    sy, sx = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    return sy, sx, (sy == y).astype(np.float64), (sx == x).astype(np.float64)


def _corners(x: Floats, sy: Floats, sx: Floats, n_channels: int) -> tuple[Floats, ...]:
    n, height, width = sy.shape
    images = x.reshape(n, height, width, n_channels)
    y0 = np.minimum(np.floor(sy).astype(int), max(height - 2, 0))
    x0 = np.minimum(np.floor(sx).astype(int), max(width - 2, 0))
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    s = np.arange(n)[:, None, None]
    a, b = (sy - y0)[..., None], (sx - x0)[..., None]
    return a, b, images[s, y0, x0], images[s, y0, x1], images[s, y1, x0], images[s, y1, x1]


def warp(x: Floats, flow: Floats, n_channels: int, out: Floats) -> None:
    """Fill ``out`` (n, H W C) with the images ``x`` read along ``flow`` (n, 2, H, W)."""
    sy, sx, _, _ = _sampling(flow)
    a, b, i00, i01, i10, i11 = _corners(x, sy, sx, n_channels)
    warped = (1 - a) * ((1 - b) * i00 + b * i01) + a * ((1 - b) * i10 + b * i11)
    out[:] = warped.reshape(out.shape)


def warp_gradient(x: Floats, flow: Floats, n_channels: int, dout: Floats, dflow: Floats) -> None:
    """Fill ``dflow`` with the pullback of ``dout`` (n, H W C) through `warp` to the flow."""
    sy, sx, inside_y, inside_x = _sampling(flow)
    a, b, i00, i01, i10, i11 = _corners(x, sy, sx, n_channels)
    g = dout.reshape(i00.shape)
    dflow[:, 0] = inside_x * (g * ((1 - a) * (i01 - i00) + a * (i11 - i10))).sum(axis=-1)
    dflow[:, 1] = inside_y * (g * ((1 - b) * (i10 - i00) + b * (i11 - i01))).sum(axis=-1)


def forward_differences(flow: Floats, root_eps: float = ROOT_EPS) -> tuple[Floats, Floats, Floats]:
    """Return the differences below and to the right, and the root of each pixel (n, H, W)."""
    down, right = np.zeros_like(flow), np.zeros_like(flow)
    down[:, :, :-1] = flow[:, :, 1:] - flow[:, :, :-1]
    right[:, :, :, :-1] = flow[:, :, :, 1:] - flow[:, :, :, :-1]
    root = np.sqrt((down**2 + right**2).sum(axis=1) + root_eps)
    return down, right, root


def flow_loss(flow: Floats, losses: Floats) -> None:
    """Fill ``losses`` (n,): one root a pixel over the forward differences of both components."""
    losses[:] = forward_differences(flow)[2].sum(axis=(1, 2))
