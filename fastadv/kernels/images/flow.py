"""Flow fields: the bilinear warp, the flow loss, and their gradients.

Spatially transformed adversarial examples (Xiao et al., ICLR 2018, arXiv 1801.02612, equations 1
and 4). A flow (n, 2, H, W) holds du (along the columns) and dv (along the rows) of each output
pixel, in pixels; the pixel (i, j) reads the image at (i + dv, j + du), clamped to the image.
"""

import math

import numpy as np

from fastadv.kernels._jit import exact_kernel, kernel

ROOT_EPS = 1e-8  # under the root of the flow loss: keeps its gradient finite at 0

# What a cell, the square between four pixels, holds.
INK = 1  # a pixel that is not 0
SLOPE = 2  # a difference among its pixels or their neighbours
BORDER = 4  # too few neighbours


@exact_kernel
def _steps(height, width, n_channels):
    """Return how far the pixels to the right and below are, in values; 0 where there is none."""
    return n_channels if width > 1 else 0, width * n_channels if height > 1 else 0


@exact_kernel
def mark_cells(x, height, width, n_channels, cells):
    """Fill ``cells`` (n, H W) uint8 with the marks of the cell below and right of each pixel.

    Only a cell with ink can be read as other than 0, only along a slope can a read be moved: most
    of a digit's image is neither.
    """
    to_right, to_below = _steps(height, width, n_channels)
    for s in range(x.shape[0]):
        for i in range(height):
            for j in range(width):
                inside = 0 < i < height - 2 and 0 < j < width - 2
                cells[s, i * width + j] = 0 if inside else BORDER
        for i in range(height):
            for j in range(width):
                ink, slope = False, False
                right = to_right if j + 1 < width else 0
                below = to_below if i + 1 < height else 0
                for c in range(n_channels):
                    k = (i * width + j) * n_channels + c
                    i00, i01 = x[s, k], x[s, k + right]
                    i10, i11 = x[s, k + below], x[s, k + below + right]
                    ink |= i00 != 0.0 or i01 != 0.0 or i10 != 0.0 or i11 != 0.0
                    slope |= i00 != i01 or i00 != i10 or i00 != i11
                if ink:
                    cells[s, i * width + j] |= INK
                if slope:
                    for m in range(max(i - 1, 0), min(i + 2, height)):
                        for k in range(max(j - 1, 0), min(j + 2, width)):
                            cells[s, m * width + k] |= SLOPE


@exact_kernel
def keep_flows(flow, rows, better, best):
    """Copy the flows of the images ``rows`` that got ``better`` into ``best``, in place."""
    for k in range(rows.size):
        if better[k]:
            s = rows[k]
            for c in range(2):
                for i in range(flow.shape[2]):
                    for j in range(flow.shape[3]):
                        best[s, c, i, j] = flow[s, c, i, j]


@exact_kernel
def locate(flow, cell, down, right):
    """Find where each pixel reads: ``cell``, and how far ``down`` and ``right`` in it, in [0, 1].

    ``flow`` is (2, H, W); the others (H W,) are filled.
    """
    _, height, width = flow.shape
    kind = flow.dtype.type
    zero, bottom, edge = kind(0.0), kind(height - 1), kind(width - 1)
    last_row, last_column = np.int32(max(height - 2, 0)), np.int32(max(width - 2, 0))
    du, dv = flow[0].reshape(height * width), flow[1].reshape(height * width)
    for i in range(height):
        first = i * width
        for j in range(width):
            y = min(max(kind(i) + dv[first + j], zero), bottom)
            x = min(max(kind(j) + du[first + j], zero), edge)
            row, column = min(np.int32(y), last_row), min(np.int32(x), last_column)
            cell[first + j] = row * np.int32(width) + column
            down[first + j], right[first + j] = y - kind(row), x - kind(column)


@exact_kernel
def find(wanted, cells, cell, found):
    """Fill ``found`` with the pixels that read a cell marked as ``wanted``; return their number."""
    n = 0
    for k in range(cell.size):
        found[n] = k
        n += 1 if cells[cell[k]] & wanted else 0
    return n


# Exact: fast-math would turn (1-b) i + b k into i + b (k-i), which is not the identity at b = 1.
@exact_kernel
def warp_image(image, cells, flow, n_channels, cell, down, right, found, out):
    """As `warp`, for one image. ``cell`` to ``found`` (H W + 1,) are room to work in."""
    _, height, width = flow.shape
    locate(flow, cell, down, right)
    n, one = find(INK, cells, cell, found), image.dtype.type(1.0)
    to_right, to_below = _steps(height, width, n_channels)
    i01, i10, i11 = image[to_right:], image[to_below:], image[to_below + to_right :]
    for k in range(out.size):
        out[k] = 0.0
    for m in range(n):
        pixel = found[m]
        a, b, first = down[pixel], right[pixel], cell[pixel] * n_channels
        for c in range(n_channels):
            k = first + c
            # (1-b) i + b k, not i + b (k-i): at b = 0 and 1 it is i and k to the bit.
            out[pixel * n_channels + c] = (one - a) * ((one - b) * image[k] + b * i01[k]) + a * (
                (one - b) * i10[k] + b * i11[k]
            )


@exact_kernel
def warp(x, flow, n_channels, out):
    """Fill ``out`` (n, H W C) with the images ``x`` (n, H W C) read along ``flow``."""
    n, _, height, width = flow.shape
    cells = np.full(height * width, INK, np.uint8)
    cell, found = np.empty(height * width, np.int32), np.empty(height * width + 1, np.int32)
    down, right = np.empty(height * width, x.dtype), np.empty(height * width, x.dtype)
    for s in range(n):
        warp_image(x[s], cells, flow[s], n_channels, cell, down, right, found, out[s])


@kernel
def warp_gradient(x, flow, n_channels, dout, dflow):
    """Fill ``dflow`` with the pullback of ``dout`` (n, H W C) through `warp` to the flow.

    A component that would sample beyond the border has the gradient 0.
    """
    n, _, height, width = flow.shape
    one, zero = x.dtype.type(1.0), x.dtype.type(0.0)
    bottom, right = x.dtype.type(height - 1), x.dtype.type(width - 1)
    for s in range(n):
        for i in range(height):
            for j in range(width):
                y, z = x.dtype.type(i) + flow[s, 1, i, j], x.dtype.type(j) + flow[s, 0, i, j]
                sy, sx = min(max(y, zero), bottom), min(max(z, zero), right)
                y0, x0 = min(int(sy), max(height - 2, 0)), min(int(sx), max(width - 2, 0))
                a, b = sy - x.dtype.type(y0), sx - x.dtype.type(x0)
                y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                du, dv = zero, zero
                for c in range(n_channels):
                    i00 = x[s, (y0 * width + x0) * n_channels + c]
                    i01 = x[s, (y0 * width + x1) * n_channels + c]
                    i10 = x[s, (y1 * width + x0) * n_channels + c]
                    i11 = x[s, (y1 * width + x1) * n_channels + c]
                    g = dout[s, (i * width + j) * n_channels + c]
                    du += g * ((one - a) * (i01 - i00) + a * (i11 - i10))
                    dv += g * ((one - b) * (i10 - i00) + b * (i11 - i01))
                dflow[s, 0, i, j] = du if sx == z else zero
                dflow[s, 1, i, j] = dv if sy == y else zero


@kernel
def flow_loss(flow, losses):
    """Fill ``losses`` (n,) float64 with the flow loss of each field.

    One root a pixel, over the forward differences of both components (0 at the border).
    """
    n, _, height, width = flow.shape
    for s in range(n):
        total = 0.0
        for i in range(height):
            for j in range(width):
                square = flow.dtype.type(ROOT_EPS)
                for c in range(2):
                    if i + 1 < height:
                        d = flow[s, c, i + 1, j] - flow[s, c, i, j]
                        square += d * d
                    if j + 1 < width:
                        d = flow[s, c, i, j + 1] - flow[s, c, i, j]
                        square += d * d
                total += math.sqrt(square)
        losses[s] = total


@kernel
def add_flow_loss_gradient(flow, weights, root_eps, dflow):
    """Add ``weights[s]`` times the gradient of each field's flow loss. ``dflow`` is modified.

    ``root_eps`` takes the place of `ROOT_EPS`: a larger one makes a smoother loss.
    """
    n, _, height, width = flow.shape
    zero = flow.dtype.type(0.0)
    for s in range(n):
        for i in range(height):
            for j in range(width):
                down0 = down1 = right0 = right1 = zero
                if i + 1 < height:
                    down0 = flow[s, 0, i + 1, j] - flow[s, 0, i, j]
                    down1 = flow[s, 1, i + 1, j] - flow[s, 1, i, j]
                if j + 1 < width:
                    right0 = flow[s, 0, i, j + 1] - flow[s, 0, i, j]
                    right1 = flow[s, 1, i, j + 1] - flow[s, 1, i, j]
                square = down0 * down0 + down1 * down1 + right0 * right0 + right1 * right1
                scale = weights[s] / np.sqrt(square + flow.dtype.type(root_eps))
                dflow[s, 0, i, j] -= scale * (down0 + right0)
                dflow[s, 1, i, j] -= scale * (down1 + right1)
                if i + 1 < height:
                    dflow[s, 0, i + 1, j] += scale * down0
                    dflow[s, 1, i + 1, j] += scale * down1
                if j + 1 < width:
                    dflow[s, 0, i, j + 1] += scale * right0
                    dflow[s, 1, i, j + 1] += scale * right1


@kernel
def add_pair_loss(flow, weights, diagonal, losses, dflow):
    """Fill the flow loss in the paper's form, and add ``weights[s]`` times its gradient to ``dflow``.

    One root for each ordered pair of neighbours (equation 4), so each pair counts twice; the
    neighbours of a pixel are the four adjacent ones or, if ``diagonal``, the four at its corners.
    """
    n, _, height, width = flow.shape
    kind = flow.dtype.type
    for s in range(n):
        total = 0.0
        for pair in range(2):
            below = 1 if diagonal or pair == 1 else 0
            aside = 0 if pair == 1 and not diagonal else 1 - 2 * pair if diagonal else 1
            for i in range(height - below):
                for j in range(max(-aside, 0), width - max(aside, 0)):
                    du = flow[s, 0, i + below, j + aside] - flow[s, 0, i, j]
                    dv = flow[s, 1, i + below, j + aside] - flow[s, 1, i, j]
                    root = np.sqrt(du * du + dv * dv + kind(ROOT_EPS))
                    total += root
                    scale = kind(2.0) * weights[s] / root
                    dflow[s, 0, i + below, j + aside] += scale * du
                    dflow[s, 1, i + below, j + aside] += scale * dv
                    dflow[s, 0, i, j] -= scale * du
                    dflow[s, 1, i, j] -= scale * dv
        losses[s] = 2.0 * total
