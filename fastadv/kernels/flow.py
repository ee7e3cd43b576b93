"""Flow fields: the bilinear warp, the flow loss, and their gradients.

Spatially transformed adversarial examples (Xiao et al., ICLR 2018, arXiv 1801.02612, equations 1
and 4). A flow (n, 2, H, W) holds du (along the columns) and dv (along the rows) of each output
pixel, in pixels; the pixel (i, j) reads the image at (i + dv, j + du), clamped to the image.
"""

import math

import numpy as np

from fastadv.kernels._jit import exact_kernel, kernel

ROOT_EPS = 1e-8  # under the root of the flow loss: keeps its gradient finite at 0


# Exact: fast-math would turn (1-b) i + b k into i + b (k-i), which is not the identity at b = 1.
@exact_kernel
def warp(x, flow, n_channels, out):
    """Fill ``out`` (n, H W C) with the images ``x`` (n, H W C) read along ``flow``."""
    n, _, height, width = flow.shape
    one, zero = x.dtype.type(1.0), x.dtype.type(0.0)
    bottom, right = x.dtype.type(height - 1), x.dtype.type(width - 1)
    for s in range(n):
        for i in range(height):
            for j in range(width):
                sy = min(max(x.dtype.type(i) + flow[s, 1, i, j], zero), bottom)
                sx = min(max(x.dtype.type(j) + flow[s, 0, i, j], zero), right)
                y0, x0 = min(int(sy), max(height - 2, 0)), min(int(sx), max(width - 2, 0))
                a, b = sy - x.dtype.type(y0), sx - x.dtype.type(x0)
                y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                for c in range(n_channels):
                    i00 = x[s, (y0 * width + x0) * n_channels + c]
                    i01 = x[s, (y0 * width + x1) * n_channels + c]
                    i10 = x[s, (y1 * width + x0) * n_channels + c]
                    i11 = x[s, (y1 * width + x1) * n_channels + c]
                    # (1-b) i + b k, not i + b (k-i): at b = 0 and 1 it is i and k to the bit.
                    out[s, (i * width + j) * n_channels + c] = (one - a) * (
                        (one - b) * i00 + b * i01
                    ) + a * ((one - b) * i10 + b * i11)


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
def add_flow_loss_gradient(flow, weights, dflow):
    """Add ``weights[s]`` times the gradient of each field's flow loss. ``dflow`` is modified."""
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
                scale = weights[s] / np.sqrt(square + flow.dtype.type(ROOT_EPS))
                dflow[s, 0, i, j] -= scale * (down0 + right0)
                dflow[s, 1, i, j] -= scale * (down1 + right1)
                if i + 1 < height:
                    dflow[s, 0, i + 1, j] += scale * down0
                    dflow[s, 1, i + 1, j] += scale * down1
                if j + 1 < width:
                    dflow[s, 0, i, j + 1] += scale * right0
                    dflow[s, 1, i, j + 1] += scale * right1


@kernel
def adam_step(flow, dflow, mean, square, step, rate):
    """Take step number ``step`` (from 1) of Adam (Kingma and Ba, ICLR 2015, algorithm 1).

    ``flow``, ``mean`` and ``square`` are modified in place; beta 0.9 and 0.999, epsilon 1e-8.
    """
    kind = flow.dtype.type
    beta1, beta2, one = kind(0.9), kind(0.999), kind(1.0)
    scale1 = kind(rate / (1.0 - 0.9**step))
    scale2 = kind(1.0 / (1.0 - 0.999**step))
    f, g, m, v = flow.reshape(-1), dflow.reshape(-1), mean.reshape(-1), square.reshape(-1)
    for k in range(f.size):
        m[k] = beta1 * m[k] + (one - beta1) * g[k]
        v[k] = beta2 * v[k] + (one - beta2) * g[k] * g[k]
        f[k] -= scale1 * m[k] / (np.sqrt(v[k] * scale2) + kind(1e-8))
