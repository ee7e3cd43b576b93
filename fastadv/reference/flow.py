"""Twin of kernels/images/flow.py: whole arrays in float64, gathered by index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ROOT_EPS = 1e-8
INK, SLOPE, BORDER = 1, 2, 4


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


def _differences(flow: Floats) -> tuple[Floats, Floats, Floats]:
    down, right = np.zeros_like(flow), np.zeros_like(flow)
    down[:, :, :-1] = flow[:, :, 1:] - flow[:, :, :-1]
    right[:, :, :, :-1] = flow[:, :, :, 1:] - flow[:, :, :, :-1]
    root = np.sqrt((down**2 + right**2).sum(axis=1) + ROOT_EPS)
    return down, right, root


def flow_loss(flow: Floats, losses: Floats) -> None:
    """Fill ``losses`` (n,): one root a pixel over the forward differences of both components."""
    losses[:] = _differences(flow)[2].sum(axis=(1, 2))


def add_flow_loss_gradient(flow: Floats, weights: Floats, dflow: Floats) -> None:
    """Add ``weights[s]`` times the gradient of each field's flow loss to ``dflow``."""
    down, right, root = _differences(flow)
    scale = weights[:, None, None, None] / root[:, None]
    dflow -= scale * (down + right)
    dflow[:, :, 1:] += (scale * down)[:, :, :-1]
    dflow[:, :, :, 1:] += (scale * right)[:, :, :, :-1]


def add_pair_loss(
    flow: Floats, weights: Floats, diagonal: bool, losses: Floats, dflow: Floats
) -> None:
    """Fill the flow loss with a root for each ordered pair, and add its weighted gradient."""
    height, width = flow.shape[2:]
    losses[:] = 0
    adjacent, corners = [(0, 1), (1, 0), (0, -1), (-1, 0)], [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for below, aside in corners if diagonal else adjacent:
        rows = np.arange(max(-below, 0), height - max(below, 0))[:, None]
        columns = np.arange(max(-aside, 0), width - max(aside, 0))[None, :]
        here, there = (rows, columns), (rows + below, columns + aside)
        difference = flow[:, :, *here] - flow[:, :, *there]
        root = np.sqrt((difference**2).sum(axis=1, keepdims=True) + ROOT_EPS)
        losses += root.sum(axis=(1, 2, 3))
        slope = weights[:, None, None, None] * difference / root
        dflow[:, :, *here] += slope
        dflow[:, :, *there] -= slope


def keep_flows(flow: Floats, rows: Floats, better: Floats, best: Floats) -> None:
    """Copy the flows of the images ``rows`` that got ``better`` into ``best``."""
    best[rows[better]] = flow[rows[better]]


def mark_cells(x: Floats, height: int, width: int, n_channels: int, cells: Floats) -> None:
    """Fill ``cells`` (n, H W) with the marks of the cell below and right of each pixel."""
    images = x.reshape(-1, height, width, n_channels)
    for s, image in enumerate(images):
        padded = np.pad(image, ((0, 1), (0, 1), (0, 0)), mode="edge")
        corners = np.stack([padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]])
        ink = (corners != 0).any(axis=(0, 3))
        varied = np.pad((corners != corners[0]).any(axis=(0, 3)), 1)
        slope = np.zeros((height, width), dtype=bool)
        for i in range(3):
            for j in range(3):
                slope |= varied[i : i + height, j : j + width]
        border = np.ones((height, width), dtype=bool)
        border[1 : height - 2, 1 : width - 2] = False
        cells[s] = (INK * ink + SLOPE * slope + BORDER * border).ravel()
