"""The change of variables x = middle + half tanh(w), under which the box is never left."""

import numpy as np

from fastadv.kernels._jit import exact_kernel


@exact_kernel
def pull_to_weights(x, x_adv, tanh, half, dx):
    """Add the gradient of |x_adv - x|^2 to ``dx`` and pull it to w. ``dx`` is modified in place."""
    one, two, scale = x.dtype.type(1.0), x.dtype.type(2.0), x.dtype.type(half)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            t = tanh[i, j]
            g = dx[i, j] + two * (x_adv[i, j] - x[i, j])
            dx[i, j] = g * scale * (one - t * t)


@exact_kernel
def adam_step(w, dw, mean, square, step, rate):
    """Take step number ``step`` (from 1) of Adam (Kingma and Ba, ICLR 2015, algorithm 1).

    ``w``, ``mean`` and ``square`` are modified in place; beta 0.9 and 0.999, epsilon 1e-8.
    """
    kind = w.dtype.type
    beta1, beta2, one, tiny = kind(0.9), kind(0.999), kind(1.0), kind(1e-8)
    scale1 = kind(rate / (1.0 - 0.9**step))
    scale2 = kind(1.0 / (1.0 - 0.999**step))
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            g = dw[i, j]
            m = beta1 * mean[i, j] + (one - beta1) * g
            v = beta2 * square[i, j] + (one - beta2) * g * g
            mean[i, j], square[i, j] = m, v
            w[i, j] -= scale1 * m / (np.sqrt(v * scale2) + tiny)
