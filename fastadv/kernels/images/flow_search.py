"""The search for the flow of least loss that changes a label: Chambolle and Pock's primal-dual steps.

With m the margin, the problem of one image is: minimise the flow loss TV(f) subject to
m(f) <= -kappa. Around an iterate f0 the margin is replaced by a model that is linear in the image,
and in each component of the flow as the bilinear warp is: linear within a cell of the image, with a
kink at its edges, where the component reads a pixel itself. The least flows lie in such kinks: a
pixel that has reached the darkest of its neighbours has nothing to gain by moving on, which no
linear model of the flow can know. A kink that bends the other way has no place in a convex model;
there the slope within the cell goes on. Of the model, the sum of phi_k(f_k),

    f' = argmin over z of  |z - (f - s D'p)|^2 / 2 + w (sum of phi_k(z_k)) + c z,   which is
         a soft threshold at each kink, and
    p  = projection of  p + 1/(8 s) D (2 f' - f)  onto the unit ball of each pixel

are steps to the saddle point of <D f, p> (Chambolle and Pock, JMIV 2011, algorithm 1): D are the
forward differences, p (4, H, W) the dual field, and 8 bounds the norm of D'D. The multiplier w / s
of the constraint, which is what the paper calls 1/tau, and those of the flow's mean, c / s, go on by
a Newton step from what the last f' violated.

A dual field is stored after one row of zeros, (4, (H + 1) W): what flows into the first row.
"""

import numpy as np

from fastadv.kernels._jit import kernel
from fastadv.kernels.images.flow import BORDER, SLOPE, find, flow_loss, locate, warp_image


@kernel
def cell_edges(flow, edges):
    """Fill ``edges`` (2, H W) with the component at which the cell that is read begins.

    It ends one pixel further, and what lies beyond is the next one.
    """
    _, height, width = flow.shape
    kind = flow.dtype.type
    zero, last_row, last_column = kind(0.0), kind(max(height - 2, 0)), kind(max(width - 2, 0))
    for i in range(height):
        for j in range(width):
            column = min(max(kind(j) + flow[0, i, j], zero), last_column)
            row = min(max(kind(i) + flow[1, i, j], zero), last_row)
            edges[0, i * width + j] = kind(np.int32(column) - np.int32(j))
            edges[1, i * width + j] = kind(np.int32(row) - np.int32(i))


@kernel
def piecewise_slopes(
    image, cells, flow, n_channels, dout, span, cell, down, right, found, slope, before, after
):
    """Pull ``dout`` (H W C,) back to the flow: the slopes within, before and behind each cell.

    Parameters
    ----------
    span : float
        Pixels, 0 to 2, over which the derivative within the cell is averaged, about the point that
        is read: I(x + span/2) - I(x - span/2). The exact one, at 0, jumps at the whole numbers
        that a flow starts from, and sees one side only.
    slope : (2, H W)
        Filled with that average.
    before, after : (2, H W)
        Filled with what to add to it where a component is below, or above, its cell: at most 0,
        and at least 0, so that the model is convex.
    """
    height, width = flow.shape[1], flow.shape[2]
    kind = flow.dtype.type
    zero, one, half = kind(0.0), kind(1.0), kind(0.5) * span
    share = one / max(span, kind(1e-6))
    for c in range(2):
        for k in range(height * width):
            slope[c, k] = before[c, k] = after[c, k] = zero
    locate(flow, cell, down, right)
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
        west_slope, slope_across, east_slope = zero, zero, zero
        north_slope, slope_along, south_slope = zero, zero, zero
        for c in range(n_channels):
            k = np.uint64(cell[pixel]) * channels + np.uint64(c)
            i00, i01, i10, i11 = (
                image[k],
                image[k + east],
                image[k + south],
                image[k + south + east],
            )
            g = dout[pixel * n_channels + c]
            west_slope += g * (
                (one - a) * (i00 - image[k - west]) + a * (i10 - image[k + south - west])
            )
            slope_across += g * ((one - a) * (i01 - i00) + a * (i11 - i10))
            east_slope += g * (
                (one - a) * (image[k + far_east] - i01) + a * (image[k + south + far_east] - i11)
            )
            north_slope += g * (
                (one - b) * (i00 - image[k - north]) + b * (i01 - image[k - north + east])
            )
            slope_along += g * ((one - b) * (i10 - i00) + b * (i11 - i01))
            south_slope += g * (
                (one - b) * (image[k + far_south] - i10) + b * (image[k + far_south + east] - i11)
            )
        for c in range(2):
            at = b if c == 0 else a
            below, within, above = (
                (west_slope, slope_across, east_slope)
                if c == 0
                else (north_slope, slope_along, south_slope)
            )
            short, beyond = share * max(half - at, zero), share * max(at + half - one, zero)
            mean = within + short * (below - within) + beyond * (above - within)
            slope[c, pixel] = mean
            before[c, pixel] = min(below - mean, zero)
            after[c, pixel] = max(above - mean, zero)


@kernel
def _steepest(a):
    top = a.dtype.type(0.0)
    for k in range(a.size):
        top = max(top, abs(a[k]))
    return top


@kernel
def _sum(a):
    total = a.dtype.type(0.0)
    for k in range(a.size):
        total += a[k]
    return total


@kernel
def _model(f, slope, before, after, edge):
    """Return what the model says of one component: the sum of its phi_k, but for a constant."""
    zero, one = f.dtype.type(0.0), f.dtype.type(1.0)
    total = zero
    for k in range(f.size):
        beyond = max(f[k] - edge[k] - one, zero)
        total += slope[k] * f[k] + before[k] * min(f[k] - edge[k], zero) + after[k] * beyond
    return total


# Loops of few arrays: of many, the compiler would not check that none overlaps another, and go
# through them number by number.
@kernel
def _descend(f, dual, size, width, offset, point):
    """Fill ``point`` with f - size D'p - offset, for one component."""
    right, down = dual[0, width:], dual[1, width:]
    left, above = dual[0, width - 1 :], dual[1]
    for k in range(f.size):
        point[k] = f[k] + size * (down[k] - above[k] + right[k] - left[k]) - offset


@kernel
def _threshold(point, slope, before, after, edge, weight, out):
    """Fill ``out`` with the f' of each ``point``."""
    one = point.dtype.type(1.0)
    for k in range(out.size):
        inside = point[k] - weight * slope[k]
        under, over = inside - weight * before[k], inside - weight * after[k]
        out[k] = min(max(inside, min(edge[k], under)), max(edge[k] + one, over))


@kernel
def _sums(point, slope, before, after, edge, weight):
    """Return the model at the f' of each ``point``, and four sums over them.

    Of the squares of the slopes there, of the slopes, of ones, all of what is not held in a kink;
    and of f'.
    """
    zero, one = point.dtype.type(0.0), point.dtype.type(1.0)
    model, squares, slopes, loose, total = zero, zero, zero, zero, zero
    for k in range(edge.size):
        low, high = edge[k], edge[k] + one
        inside = point[k] - weight * slope[k]
        under, over = inside - weight * before[k], inside - weight * after[k]
        moved = min(max(inside, min(low, under)), max(high, over))
        beneath, beyond = min(moved - low, zero), max(moved - high, zero)
        model += slope[k] * moved + before[k] * beneath + after[k] * beyond
        low_side, high_side = (one if moved < low else zero), (one if moved > high else zero)
        free = max(max(low_side, high_side), one if moved == inside else zero)
        steep = free * (slope[k] + low_side * before[k] + high_side * after[k])
        squares += steep * steep
        slopes += steep
        loose += free
        total += moved
    return model, squares, slopes, loose, total


@kernel
def _extrapolate(f, moved, ahead):
    """Fill ``ahead`` with 2 f' - f, and ``f`` with f'."""
    two = f.dtype.type(2.0)
    for k in range(f.size):
        ahead[k] = two * moved[k] - f[k]
        f[k] = moved[k]


@kernel
def _step(f, dual, size, width, slope, before, after, edge, weight, offset, moved, ahead):
    """Take one component to f'; fill ``ahead`` with 2 f' - f and return what `_sums` says."""
    _descend(f, dual, size, width, offset, ahead)
    _threshold(ahead, slope, before, after, edge, weight, moved)
    sums = _sums(ahead, slope, before, after, edge, weight)
    _extrapolate(f, moved, ahead)
    return sums


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
    flow, dual, slope, before, after, edges, excess, size, free, ceiling, reach, n_steps, force,
    moved, ahead, to_right, to_below,
):  # fmt: skip
    """Take ``n_steps`` primal-dual steps for one image. ``flow``, ``dual``, ``force``: in place.

    Parameters
    ----------
    flow, slope, before, after, edges : (2, H W)
        The iterate f0, and the model of the margin there; see `piecewise_slopes` and `cell_edges`.
    dual : (4, (H + 1) W)
    excess : float
        The margin at f0 plus what is required of it; above 0 where the constraint is violated.
    size : float
        The primal step s.
    free : float
        Below 0 the mean of the flow is held at 0; else a translation of the whole flow, of which
        the flow loss sees nothing, steps by so many times the sum of the slopes.
    ceiling : float
        The largest multiplier: 1 / tau for a fixed tau, infinite for the constraint itself.
    reach : float
        How far, in pixels, the slope may move any component in one step: where it vanishes, the
        constraint is met nowhere.
    force : (3,)
        The multipliers of the constraint and of the mean of each component.
    moved, ahead : (H W,) and (2, (H + 1) W)
        Room to work in, the last row of ``ahead`` zeros.
    to_right, to_below : (H W,)
        The dual step, and 0 where there is no neighbour.
    """
    n, width = flow.shape[1], dual.shape[1] - flow.shape[1]
    kind = flow.dtype.type
    zero, one = kind(0.0), kind(1.0)
    u, v = flow[0], flow[1]
    steepest = max(_steepest(slope[0]), _steepest(slope[1]))
    sum_u, sum_v = _sum(slope[0]), _sum(slope[1])
    if free > zero:
        steepest += free * max(abs(sum_u), abs(sum_v))
    longest = min(ceiling * size, reach / max(steepest, kind(1e-30)))
    start = excess
    start -= _model(u, slope[0], before[0], after[0], edges[0])
    start -= _model(v, slope[1], before[1], after[1], edges[1])
    weight = min(force[0] * size, longest)
    hold_u, hold_v = force[1] * size, force[2] * size
    for _ in range(n_steps):
        if free > zero:
            hold_u, hold_v = weight * free * sum_u, weight * free * sum_v
        model_u, square_u, sum_u, loose_u, mean_u = _step(
            u, dual[:2], size, width, slope[0], before[0], after[0], edges[0], weight, hold_u,
            moved, ahead[0, :n],
        )  # fmt: skip
        model_v, square_v, sum_v, loose_v, mean_v = _step(
            v, dual[2:], size, width, slope[1], before[1], after[1], edges[1], weight, hold_v,
            moved, ahead[1, :n],
        )  # fmt: skip
        _ascend_dual(ahead[0], ahead[1], to_right, to_below, width, dual)
        # By how much the next f' meets the constraints, were nothing else to change.
        violation, square = start + model_u + model_v, square_u + square_v
        least, one_over_u, one_over_v = kind(1e-3) * square, zero, zero
        if free > zero:
            square += free * (sum_u * sum_u + sum_v * sum_v)
        else:
            one_over_u, one_over_v = one / max(loose_u, one), one / max(loose_v, one)
            violation -= sum_u * mean_u * one_over_u + sum_v * mean_v * one_over_v
            square -= sum_u * sum_u * one_over_u + sum_v * sum_v * one_over_v
        last = weight
        if square > least:
            weight = min(max(weight + violation / square, zero), longest)
        hold_u += (mean_u - (weight - last) * sum_u) * one_over_u
        hold_v += (mean_v - (weight - last) * sum_v) * one_over_v
    if free < zero:
        for k in range(n):
            u[k] -= mean_u / kind(n)
            v[k] -= mean_v / kind(n)
    force[0], force[1], force[2] = weight / size, hold_u / size, hold_v / size


@kernel
def advance(
    x, cells, n_channels, rows, dout, excess, size, span, free, ceiling, reach, memory, n_steps,
    flow, dual, pull, force, x_adv, losses,
):  # fmt: skip
    """Take one step of the search for each image in ``rows``, while it is in the cache.

    Parameters
    ----------
    x, cells, flow, dual, pull, force : (n, ...)
        All images and their state; ``flow`` (n, 2, H, W), ``dual``, ``pull`` (n, H W C) and
        ``force`` (n, 3) are modified.
    rows : (m,)
        The images to move.
    dout, excess : (m, H W C) and (m,)
        d(margin)/d(image) at the iterate, and the violation of the constraint there.
    memory : float
        The share of the earlier steps in ``pull``, an average of dout; at the first it has to be 0.
    x_adv, losses : (m, H W C) and (m,)
        Filled: the warped images and the flow losses of the new iterate.
    """
    _, _, height, width = flow.shape
    n, kind = height * width, flow.dtype.type
    cell, found = np.empty(n, np.int32), np.empty(n + 1, np.int32)
    down, right = np.empty(n, flow.dtype), np.empty(n, flow.dtype)
    slope, before, after = (
        np.empty((2, n), flow.dtype),
        np.empty((2, n), flow.dtype),
        np.empty((2, n), flow.dtype),
    )
    edges, moved = np.empty((2, n), flow.dtype), np.empty(n, flow.dtype)
    ahead = np.zeros((2, n + width), flow.dtype)
    to_right, to_below = np.zeros(n, flow.dtype), np.zeros(n, flow.dtype)
    rate = kind(1.0) / (kind(8.0) * size)
    for k in range(n):
        to_right[k] = rate if k % width < width - 1 else kind(0.0)
        to_below[k] = rate if k < n - width else kind(0.0)
    for k in range(rows.size):
        s = rows[k]
        for m in range(pull.shape[1]):
            pull[s, m] = memory * pull[s, m] + (kind(1.0) - memory) * dout[k, m]
        piecewise_slopes(
            x[s], cells[s], flow[s], n_channels, pull[s], span, cell, down, right, found, slope,
            before, after,
        )  # fmt: skip
        cell_edges(flow[s], edges)
        primal_dual(
            flow[s].reshape(2, n), dual[s], slope, before, after, edges, excess[k], size, free,
            ceiling, reach, n_steps, force[s], moved, ahead, to_right, to_below,
        )  # fmt: skip
        warp_image(x[s], cells[s], flow[s], n_channels, cell, down, right, found, x_adv[k])
        flow_loss(flow[s : s + 1], losses[k : k + 1])


@kernel
def climb(x, cells, n_channels, dout, size, bound, flow):
    """Step by ``size`` along the sign of the pullback of ``dout``, within the box of ``bound``.

    The derivative is averaged over one pixel. ``flow`` (n, 2, H, W) is modified; where the slope is
    0 it stays.
    """
    n, _, height, width = flow.shape
    pixels, kind = height * width, flow.dtype.type
    cell, found = np.empty(pixels, np.int32), np.empty(pixels + 1, np.int32)
    down, right = np.empty(pixels, flow.dtype), np.empty(pixels, flow.dtype)
    slope, before, after = (
        np.empty((2, pixels), flow.dtype),
        np.empty((2, pixels), flow.dtype),
        np.empty((2, pixels), flow.dtype),
    )
    for s in range(n):
        piecewise_slopes(
            x[s], cells[s], flow[s], n_channels, dout[s], kind(1.0), cell, down, right, found, slope,
            before, after,
        )  # fmt: skip
        f, g = flow[s].reshape(2 * pixels), slope.reshape(2 * pixels)
        for k in range(f.size):
            moved = f[k]
            if g[k] > 0.0:
                moved += size
            elif g[k] < 0.0:
                moved -= size
            f[k] = min(max(moved, -bound), bound)
