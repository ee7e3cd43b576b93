"""Image filters with their gradients."""

import numpy as np

from fastadv.kernels._jit import exact_kernel


@exact_kernel
def median(x, height, width, n_channels, size, out, source):
    """Fill ``out`` (n, H W C) with the ``size`` x ``size`` median of each pixel.

    The window of an even size leans up and left, and of an even number of values the upper of the
    two middle ones counts; pixels beyond the border repeat it. ``source`` gets the column of x that
    each value came from.
    """
    values = np.empty(size * size, x.dtype)
    columns = np.empty(size * size, np.int64)
    first = -(size // 2)
    for s in range(x.shape[0]):
        for i in range(height):
            for j in range(width):
                for c in range(n_channels):
                    count = 0
                    for di in range(first, first + size):
                        ii = min(max(i + di, 0), height - 1)
                        for dj in range(first, first + size):
                            jj = min(max(j + dj, 0), width - 1)
                            column = (ii * width + jj) * n_channels + c
                            value, k = x[s, column], count
                            while k > 0 and values[k - 1] > value:
                                values[k], columns[k] = values[k - 1], columns[k - 1]
                                k -= 1
                            values[k], columns[k] = value, column
                            count += 1
                    here = (i * width + j) * n_channels + c
                    out[s, here] = values[count // 2]
                    source[s, here] = columns[count // 2]


@exact_kernel
def scatter(dout, source, dx):
    """Send each ``dout`` back to the column it came from: the gradient of `median`. ``dx`` is filled."""
    for s in range(dout.shape[0]):
        for k in range(dx.shape[1]):
            dx[s, k] = dx.dtype.type(0.0)
        for k in range(dout.shape[1]):
            dx[s, source[s, k]] += dout[s, k]


@exact_kernel
def mean(x, height, width, n_channels, size, out):
    """Fill ``out`` (n, H W C) with the mean of the window of each pixel, as laid out in `median`."""
    first, kind = -(size // 2), x.dtype.type
    for s in range(x.shape[0]):
        for i in range(height):
            for j in range(width):
                for c in range(n_channels):
                    total = kind(0.0)
                    for di in range(first, first + size):
                        ii = min(max(i + di, 0), height - 1)
                        for dj in range(first, first + size):
                            jj = min(max(j + dj, 0), width - 1)
                            total += x[s, (ii * width + jj) * n_channels + c]
                    out[s, (i * width + j) * n_channels + c] = total / kind(size * size)


@exact_kernel
def spread(dout, height, width, n_channels, size, dx):
    """Spread each ``dout`` evenly over its window: the gradient of `mean`. ``dx`` is filled."""
    first, kind = -(size // 2), dx.dtype.type
    for s in range(dout.shape[0]):
        for k in range(dx.shape[1]):
            dx[s, k] = kind(0.0)
        for i in range(height):
            for j in range(width):
                for c in range(n_channels):
                    share = dout[s, (i * width + j) * n_channels + c] / kind(size * size)
                    for di in range(first, first + size):
                        ii = min(max(i + di, 0), height - 1)
                        for dj in range(first, first + size):
                            jj = min(max(j + dj, 0), width - 1)
                            dx[s, (ii * width + jj) * n_channels + c] += share
