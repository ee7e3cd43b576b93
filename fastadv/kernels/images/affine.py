"""Rotations and translations of images, read bilinearly, black beyond the border."""

import math

from fastadv.kernels._jit import exact_kernel


@exact_kernel
def _read(image, height, width, n_channels, c, y, x, black):
    """Return channel ``c`` at (y, x); a pixel outside the image is ``black``."""
    y0, x0 = math.floor(y), math.floor(x)
    a, b, total = y - y0, x - x0, 0.0
    for below in range(2):
        for right in range(2):
            i, j = int(y0) + below, int(x0) + right
            share = (a if below else 1.0 - a) * (b if right else 1.0 - b)
            if 0 <= i < height and 0 <= j < width:
                total += share * image[(i * width + j) * n_channels + c]
            else:
                total += share * black
    return total


@exact_kernel
def rotate_translate(x, height, width, n_channels, black, moves, out):
    """Fill ``out`` (n, H W C) with the images ``x``, turned about their centre and then shifted.

    ``moves`` (n, 3) float64 are the angle in degrees, counter-clockwise as the image is seen, and
    the shifts in pixels down and to the right. Beyond its border an image is ``black``.
    """
    middle_y, middle_x = 0.5 * (height - 1), 0.5 * (width - 1)
    for s in range(x.shape[0]):
        angle = moves[s, 0] * math.pi / 180.0
        cosine, sine = math.cos(angle), math.sin(angle)
        for i in range(height):
            for j in range(width):
                dy, dx = i - middle_y - moves[s, 1], j - middle_x - moves[s, 2]
                y, z = middle_y + cosine * dy + sine * dx, middle_x - sine * dy + cosine * dx
                for c in range(n_channels):
                    value = _read(x[s], height, width, n_channels, c, y, z, black)
                    out[s, (i * width + j) * n_channels + c] = value
