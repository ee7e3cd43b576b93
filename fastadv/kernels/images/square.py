"""Square Attack's proposals: one window of each image is changed, by numbers drawn before."""

import math

import numpy as np

from fastadv.kernels._jit import exact_kernel, kernel


@exact_kernel
def place(u, room):
    """Return one of 0 ... ``room``, all equally likely for ``u`` in [0, 1)."""
    return min(int(u * (room + 1)), room)


@exact_kernel
def corner(draws, shape, side, spared):
    """Return the top left of a window that leaves the last ``spared`` rows and columns alone."""
    height, width, _ = shape
    return place(draws[0], height - spared - side), place(draws[1], width - spared - side)


@exact_kernel
def linf_window(x, eps, low, high, shape, side, spared, draws, x_adv):
    """Set a window of each image to ``x`` plus or minus ``eps``, one sign a channel.

    ``draws`` (n, 2 + channels) in [0, 1) says where and which signs; where they would leave the
    window as it is, all signs turn. ``x_adv`` is modified in place.
    """
    _, width, channels = shape
    kind = x.dtype.type
    size = kind(eps)
    for s in range(x.shape[0]):
        top, left = corner(draws[s, :2], shape, side, spared)
        for turn in (size, -size):
            changed = False
            for i in range(top, top + side):
                for j in range(left, left + side):
                    for k in range(channels):
                        p = (i * width + j) * channels + k
                        step = turn if draws[s, 2 + k] < 0.5 else -turn
                        new = min(max(x[s, p] + step, kind(low)), kind(high))
                        changed |= new != x_adv[s, p]
                        x_adv[s, p] = new
            if changed:
                break


@kernel
def l2_window(x, eps, shape, bump, spared, draws, x_adv):
    """Move all change out of one window into another, shaped by ``bump``, and use up the budget.

    ``bump`` (side, side) has norm 1. ``draws`` (n, 5 + channels) in [0, 1): the places of the two
    windows, whether the bump lies on its side, and its sign in each channel. The change has norm
    ``eps`` then, before any cut to the box. ``x_adv`` is modified in place.
    """
    _, width, channels = shape
    side = bump.shape[0]
    window = np.empty((side, side))
    for s in range(x.shape[0]):
        top, left = corner(draws[s, :2], shape, side, spared)
        top2, left2 = corner(draws[s, 2:4], shape, side, spared)
        turned = draws[s, 4] < 0.5
        total = 0.0
        for p in range(x.shape[1]):
            total += (np.float64(x_adv[s, p]) - np.float64(x[s, p])) ** 2
        unused = max(eps * eps - total, 0.0) / channels
        for k in range(channels):
            inside, emptied = 0.0, 0.0
            for i in range(side):
                for j in range(side):
                    p = ((top + i) * width + left + j) * channels + k
                    change = np.float64(x_adv[s, p]) - np.float64(x[s, p])
                    window[i, j] = change
                    inside += change * change
                    row, column = top2 + i, left2 + j
                    if top <= row < top + side and left <= column < left + side:
                        continue
                    p = (row * width + column) * channels + k
                    emptied += (np.float64(x_adv[s, p]) - np.float64(x[s, p])) ** 2
                    x_adv[s, p] = x[s, p]
            sign = 1.0 if draws[s, 5 + k] < 0.5 else -1.0
            scale = 1.0 / math.sqrt(inside) if inside > 0.0 else 0.0
            square = 0.0
            for i in range(side):
                for j in range(side):
                    shape_ij = bump[j, i] if turned else bump[i, j]
                    window[i, j] = window[i, j] * scale + sign * shape_ij
                    square += window[i, j] * window[i, j]
            available = math.sqrt(inside + emptied + unused)
            scale = available / math.sqrt(square) if square > 0.0 else 0.0
            for i in range(side):
                for j in range(side):
                    p = ((top + i) * width + left + j) * channels + k
                    x_adv[s, p] = x[s, p] + x.dtype.type(window[i, j] * scale)
