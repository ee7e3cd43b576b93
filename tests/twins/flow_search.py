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


def piecewise_slopes(
    x: Floats, flow: Floats, n_channels: int, dout: Floats, span: float
) -> tuple[Floats, Floats, Floats]:
    """Return the slopes within, and what to add before and behind, each cell: (2, H, W) each.

    Of one image. The slope of a cell is the difference of two reads at its edges; that within is
    averaged over ``span`` pixels, by reads at both ends (the exact one at 0).
    """
    _, height, width = flow.shape
    image, g = x.reshape(1, height, width, n_channels), dout.reshape(height, width, n_channels)
    row = np.clip(np.arange(height)[:, None] + flow[1], 0, height - 1)
    column = np.clip(np.arange(width)[None, :] + flow[0], 0, width - 1)
    slope, before, after = np.zeros_like(flow), np.zeros_like(flow), np.zeros_like(flow)
    for c, (point, size) in enumerate(((column, width), (row, height))):

        def between(low: Floats, high: Floats, c: int = c) -> Floats:
            """The change from reads at ``low`` to those at ``high``, along the component."""
            ends = [(z, column) if c == 1 else (row, z) for z in (low, high)]
            before, after = (read(image, y[None], x[None])[0] for y, x in ends)
            change: Floats = (g * (after - before)).sum(axis=-1)
            return change

        cell = np.minimum(np.floor(point), max(size - 2, 0))
        here = between(cell, cell + 1)
        if span > 0:
            half = span / 2
            here = between(point - half, point + half) / span
        slope[c] = here
        before[c] = np.minimum(between(cell - 1, cell) - here, 0)
        after[c] = np.maximum(between(cell + 1, cell + 2) - here, 0)
    return slope, before, after


def cell_edges(flow: Floats) -> Floats:
    """Return the components at which the cells that are read begin, (2, H, W)."""
    _, height, width = flow.shape
    i, j = np.arange(height)[:, None], np.arange(width)[None, :]
    column = np.floor(np.clip(j + flow[0], 0, max(width - 2, 0)))
    row = np.floor(np.clip(i + flow[1], 0, max(height - 2, 0)))
    return np.stack([column - j, row - i])


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


def phi(z: Floats, slope: Floats, before: Floats, after: Floats, edge: Floats) -> Floats:
    """Return the model of each component, (2, H, W): linear, but for the kinks of its cell."""
    total: Floats = slope * z
    total += before * np.minimum(z - edge, 0) + after * np.maximum(z - edge - 1, 0)
    return total


def primal_dual(
    f: Floats, p: Floats, slope: Floats, before: Floats, after: Floats, edge: Floats,
    excess: float, size: float, free: float, ceiling: float, reach: float, n_steps: int,
    force: Floats,
) -> None:  # fmt: skip
    """Take steps for one image: ``f`` (2, H, W), ``p`` (4, H, W) and ``force`` (3,) are modified."""
    held = free < 0
    sums = slope.sum(axis=(1, 2))
    steepest = np.abs(slope).max() + (0 if held else free * np.abs(sums).max())
    longest = min(ceiling * size, reach / max(steepest, 1e-30))
    start = excess - phi(f, slope, before, after, edge).sum()
    weight, hold = min(force[0] * size, longest), force[1:] * size
    for _ in range(n_steps):
        if not held:
            hold = weight * free * sums
        point = f - size * transposed(p) - hold[:, None, None]
        # The minimiser of the model is where its subgradient vanishes: in one of three pieces, or
        # in a kink between two.
        below, within, above = (point - weight * s for s in (slope + before, slope, slope + after))
        moved = np.where(within < edge, np.minimum(below, edge), within)
        moved = np.where(within > edge + 1, np.maximum(above, edge + 1), moved)
        loose = (moved < edge) | (moved > edge + 1) | (moved == within)
        steep = slope + np.where(moved < edge, before, 0) + np.where(moved > edge + 1, after, 0)
        steep = np.where(loose, steep, 0)
        p += differences(2 * moved - f) / (8 * size)
        p /= np.maximum(np.sqrt((p**2).sum(axis=0)), 1)
        f[:] = moved
        violation = start + phi(moved, slope, before, after, edge).sum()
        square, sums = (steep**2).sum(), steep.sum(axis=(1, 2))
        enough = 1e-3 * square
        number = np.maximum(loose.sum(axis=(1, 2)), 1)
        if held:
            violation -= (sums * moved.sum(axis=(1, 2)) / number).sum()
            square -= (sums**2 / number).sum()
        else:
            square += free * (sums**2).sum()
        last = weight
        if square > enough:
            weight = min(max(weight + violation / square, 0.0), longest)
        if held:
            hold = hold + (moved.sum(axis=(1, 2)) - (weight - last) * sums) / number
    if held:
        f -= f.mean(axis=(1, 2), keepdims=True)
    force[:] = weight / size, *(hold / size)


def advance(
    x: Floats, n_channels: int, rows: npt.NDArray[np.intp], dout: Floats, excess: Floats,
    size: float, span: float, free: float, ceiling: float, reach: float, memory: float,
    n_steps: int, flow: Floats, dual: Floats, pull: Floats, force: Floats, x_adv: Floats,
    losses: Floats,
) -> None:  # fmt: skip
    """Take one step of the search for the images in ``rows``; ``dual`` is (n, 4, H, W)."""
    for k, s in enumerate(rows):
        pull[s] = memory * pull[s] + (1 - memory) * dout[k]
        slopes = piecewise_slopes(x[s], flow[s], n_channels, pull[s], span)
        primal_dual(
            flow[s], dual[s], *slopes, cell_edges(flow[s]), excess[k], size, free, ceiling, reach,
            n_steps, force[s],
        )  # fmt: skip
        one = slice(s, s + 1)
        flow_twin.warp(x[one], flow[one], n_channels, x_adv[k : k + 1])
        flow_twin.flow_loss(flow[one], losses[k : k + 1])


def climb(
    x: Floats, n_channels: int, dout: Floats, size: float, bound: float, flow: Floats
) -> None:
    """Step along the sign of the pullback of ``dout``, within the box of ``bound``."""
    for s in range(len(x)):
        slope, _, _ = piecewise_slopes(x[s], flow[s], n_channels, dout[s], 1.0)
        flow[s] = np.clip(flow[s] + size * np.sign(slope), -bound, bound)
