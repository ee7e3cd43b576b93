"""Twin of kernels/images/flow.py, the part that no benchmark uses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastadv.reference.flow import ROOT_EPS, flow_loss, forward_differences, warp, warp_gradient  # noqa: F401

Floats = npt.NDArray[np.float64]

INK, SLOPE, BORDER = 1, 2, 4


def add_flow_loss_gradient(flow: Floats, weights: Floats, root_eps: float, dflow: Floats) -> None:
    """Add ``weights[s]`` times the gradient of each field's flow loss to ``dflow``."""
    down, right, root = forward_differences(flow, root_eps)
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
