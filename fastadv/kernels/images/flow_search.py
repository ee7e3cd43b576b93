"""The search for the flow of least loss that changes a label: Chambolle and Pock's primal-dual steps.

With m the margin, the problem of one image is: minimise the flow loss TV(f) subject to
m(f) <= -kappa. Around an iterate f0 the margin is replaced by its linear model, and

    f' = projection of  f - s D'p  onto  { excess + <g, f - f0> <= 0 }
    p  = projection of  p + 1/(8 s) D (2 f' - f)  onto the unit ball of each pixel

are steps to the saddle point of <D f, p> (Chambolle and Pock, JMIV 2011, algorithm 1): D are the
forward differences, p (4, H, W) the dual field, and 8 bounds the norm of D'D. The projection is
taken in a metric in which the constant flow, a translation, of which the flow loss sees nothing,
has 1 + N ``free`` times the length of other directions to go. The multiplier of the constraint is
what the paper calls 1/tau.

A dual field is stored after one row of zeros, (4, (H + 1) W): what flows into the first row.
"""

import numpy as np

from fastadv.kernels._jit import kernel
from fastadv.kernels.images.flow import BORDER, SLOPE, find, flow_loss, locate, warp_image


@kernel
def slope_gradient(image, cells, flow, n_channels, dout, memory, cell, down, right, found, slope):
    """Average the pullback of ``dout`` (H W C,) to the flow into ``slope`` (2, H, W), in place.

    ``memory`` is the share of the old average. The derivative is itself an average, over one pixel:
    I(x + 1/2) - I(x - 1/2), where the exact one jumps at the whole numbers that a flow starts from,
    and sees one side only. Within a cell, with b from its left edge, that is

        max(1/2 - b, 0) F(-1) + (1 - |1/2 - b|) F(0) + max(b - 1/2, 0) F(1)

    of the forward differences F of the cell and its two neighbours, interpolated across.
    """
    _, height, width = flow.shape
    kind = flow.dtype.type
    zero, half, one = kind(0.0), kind(0.5), kind(1.0)
    du, dv = slope[0].reshape(height * width), slope[1].reshape(height * width)
    for k in range(height * width):
        du[k] *= memory
        dv[k] *= memory
    locate(flow, cell, down, right)
    fresh = one - memory
    # Unsigned, or each read would first ask whether its index counts from the end.
    none, channels, row_size = np.uint64(0), np.uint64(n_channels), np.uint64(width * n_channels)
    for m in range(find(SLOPE, cells, cell, found)):
        pixel = found[m]
        a, b = down[pixel], right[pixel]
        west, east, far_east = channels, channels, channels + channels
        north, south, far_south = row_size, row_size, row_size + row_size
        if cells[cell[pixel]] & BORDER:  # beyond it the image repeats its edge
            i, j = cell[pixel] // width, cell[pixel] % width
            west, north = channels if j > 0 else none, row_size if i > 0 else none
            east = channels if j + 1 < width else none
            far_east = channels + channels if j + 2 < width else east
            south = row_size if i + 1 < height else none
            far_south = row_size + row_size if i + 2 < height else south
        a_north, a_south = max(half - a, zero), max(a - half, zero)
        b_west, b_east = max(half - b, zero), max(b - half, zero)
        a_here, b_here = one - a_north - a_south, one - b_west - b_east
        for c in range(n_channels):
            k = np.uint64(cell[pixel]) * channels + np.uint64(c)
            i00, i01, i10, i11 = (
                image[k],
                image[k + east],
                image[k + south],
                image[k + south + east],
            )
            across = (one - a) * (
                b_west * (i00 - image[k - west])
                + b_here * (i01 - i00)
                + b_east * (image[k + far_east] - i01)
            ) + a * (
                b_west * (i10 - image[k + south - west])
                + b_here * (i11 - i10)
                + b_east * (image[k + south + far_east] - i11)
            )
            along = (one - b) * (
                a_north * (i00 - image[k - north])
                + a_here * (i10 - i00)
                + a_south * (image[k + far_south] - i10)
            ) + b * (
                a_north * (i01 - image[k - north + east])
                + a_here * (i11 - i01)
                + a_south * (image[k + far_south + east] - i11)
            )
            g = fresh * dout[pixel * n_channels + c]
            du[pixel] += g * across
            dv[pixel] += g * along


@kernel
def _dot(a, b):
    total = a.dtype.type(0.0)
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@kernel
def _sum(a):
    total = a.dtype.type(0.0)
    for k in range(a.size):
        total += a[k]
    return total


@kernel
def _steepest(a, constant):
    top = a.dtype.type(0.0)
    for k in range(a.size):
        top = max(top, abs(a[k] + constant))
    return top


@kernel
def _descend_dual(f, dual, size, width, slope, out):
    """Fill ``out`` with f - size D'p, for one component; return its product with the slope."""
    right, down = dual[0, width:], dual[1, width:]
    left, above = dual[0, width - 1 :], dual[1]
    total = f.dtype.type(0.0)
    for k in range(f.size):
        moved = f[k] + size * (down[k] - above[k] + right[k] - left[k])
        out[k] = moved
        total += slope[k] * moved
    return total


@kernel
def _extrapolate(f, slope, along, constant, ahead):
    """From ``ahead`` = f - s D'p to f' in ``f`` and 2 f' - f in ``ahead``. Modified in place."""
    two = f.dtype.type(2.0)
    for k in range(f.size):
        moved = ahead[k] - along * slope[k] - constant
        ahead[k] = two * moved - f[k]
        f[k] = moved


@kernel
def _ascend_dual(u, v, to_right, to_below, width, dual):
    """Add the weighted differences of the flow (u, v) and project each pixel. ``dual``: in place."""
    one = u.dtype.type(1.0)
    u_right, u_below, v_right, v_below = u[1:], u[width:], v[1:], v[width:]
    a, b, c, d = dual[0, width:], dual[1, width:], dual[2, width:], dual[3, width:]
    for k in range(to_right.size):
        p = a[k] + to_right[k] * (u_right[k] - u[k])
        q = b[k] + to_below[k] * (u_below[k] - u[k])
        r = c[k] + to_right[k] * (v_right[k] - v[k])
        t = d[k] + to_below[k] * (v_below[k] - v[k])
        scale = one / np.sqrt(max(p * p + q * q + r * r + t * t, one))
        a[k], b[k], c[k], d[k] = p * scale, q * scale, r * scale, t * scale


@kernel
def primal_dual(
    flow, dual, slope, excess, size, free, ceiling, reach, n_steps, ahead, to_right, to_below
):
    """Take ``n_steps`` primal-dual steps for one image. ``flow`` and ``dual`` are modified.

    Parameters
    ----------
    flow, slope : (2, H W)
        The iterate f0, and the gradient g of the margin there.
    dual : (4, (H + 1) W)
    excess : float
        The margin at f0 plus what is required of it; above 0 where the constraint is violated.
    size : float
        The primal step s.
    free : float
        How much further translations move; -1 / (H W) holds them.
    ceiling : float
        The largest multiplier: 1 / tau for a fixed tau, infinite for the constraint itself.
    reach : float
        How far, in pixels, one projection may move any component: a linear model holds no further,
        and where the slope vanishes the projection onto it is nowhere.
    ahead : (2, (H + 1) W)
        Room to work in, its last row zeros.
    to_right, to_below : (H W,)
        The dual step, and 0 where there is no neighbour.
    """
    n, width = flow.shape[1], dual.shape[1] - flow.shape[1]
    zero = flow.dtype.type(0.0)
    u, v, gu, gv = flow[0], flow[1], slope[0], slope[1]
    ahead_u, ahead_v = ahead[0, :n], ahead[1, :n]
    sum_u, sum_v = _sum(gu), _sum(gv)
    square = _dot(gu, gu) + _dot(gv, gv) + free * (sum_u * sum_u + sum_v * sum_v)
    steepest = max(_steepest(gu, free * sum_u), _steepest(gv, free * sum_v))
    longest = min(ceiling * size, reach / steepest)
    offset = excess - _dot(gu, u) - _dot(gv, v)
    for _ in range(n_steps):
        violation = offset + _descend_dual(u, dual[:2], size, width, gu, ahead_u)
        violation += _descend_dual(v, dual[2:], size, width, gv, ahead_v)
        along = zero
        if violation > zero and square > zero:
            along = min(violation / square, longest)
        _extrapolate(u, gu, along, along * free * sum_u, ahead_u)
        _extrapolate(v, gv, along, along * free * sum_v, ahead_v)
        _ascend_dual(ahead[0], ahead[1], to_right, to_below, width, dual)


@kernel
def advance(
    x, cells, n_channels, rows, dout, excess, size, free, ceiling, reach, memory, n_steps,
    flow, dual, slope, x_adv, losses,
):  # fmt: skip
    """Take one step of the search for each image in ``rows``, while it is in the cache.

    Parameters
    ----------
    x, cells, flow, dual, slope : (n, ...)
        All images and their state; ``flow`` (n, 2, H, W), ``dual`` and ``slope`` are modified.
    rows : (m,)
        The images to move.
    dout, excess : (m, H W C) and (m,)
        d(margin)/d(image) at the iterate, and the violation of the constraint there.
    memory : float
        Share of the old slope in the average; of each image's first slope it has to be 0.
    x_adv, losses : (m, H W C) and (m,)
        Filled: the warped images and the flow losses of the new iterate.
    """
    _, _, height, width = flow.shape
    n, kind = height * width, flow.dtype.type
    cell, found = np.empty(n, np.int32), np.empty(n + 1, np.int32)
    down, right = np.empty(n, flow.dtype), np.empty(n, flow.dtype)
    ahead = np.zeros((2, n + width), flow.dtype)
    to_right, to_below = np.zeros(n, flow.dtype), np.zeros(n, flow.dtype)
    rate = kind(1.0) / (kind(8.0) * size)
    for k in range(n):
        to_right[k] = rate if k % width < width - 1 else kind(0.0)
        to_below[k] = rate if k < n - width else kind(0.0)
    for k in range(rows.size):
        s = rows[k]
        slope_gradient(
            x[s], cells[s], flow[s], n_channels, dout[k], memory, cell, down, right, found, slope[s]
        )
        primal_dual(
            flow[s].reshape(2, n), dual[s], slope[s].reshape(2, n), excess[k], size, free, ceiling,
            reach, n_steps, ahead, to_right, to_below,
        )  # fmt: skip
        warp_image(x[s], cells[s], flow[s], n_channels, cell, down, right, found, x_adv[k])
        flow_loss(flow[s : s + 1], losses[k : k + 1])


@kernel
def climb(x, cells, n_channels, dout, size, bound, flow):
    """Step by ``size`` along the sign of the pullback of ``dout``, within the box of ``bound``.

    ``flow`` (n, 2, H, W) is modified; where the slope is 0 it stays.
    """
    n, _, height, width = flow.shape
    kind = flow.dtype.type
    cell, found = np.empty(height * width, np.int32), np.empty(height * width + 1, np.int32)
    down, right = np.empty(height * width, flow.dtype), np.empty(height * width, flow.dtype)
    slope = np.zeros((2, height, width), flow.dtype)
    for s in range(n):
        slope_gradient(
            x[s], cells[s], flow[s], n_channels, dout[s], kind(0.0), cell, down, right, found, slope
        )
        f, g = flow[s].reshape(2 * height * width), slope.reshape(2 * height * width)
        for k in range(f.size):
            moved = f[k]
            if g[k] > 0.0:
                moved += size
            elif g[k] < 0.0:
                moved -= size
            f[k] = min(max(moved, -bound), bound)
