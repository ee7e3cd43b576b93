"""Mini-batch gradient descent with momentum.

A batch is cut into a fixed number of blocks, whatever the number of threads: each block writes its
own gradient, and they are added up in one order, so that 1 and 2 threads give the same bits.
"""

import numpy as np
from numba import prange

from fastadv.kernels import dense
from fastadv.kernels._jit import kernel, parallel_kernel
from fastadv.kernels.loss import cross_entropy

BLOCK = 64  # rows at most


@kernel
def _block_gradient(X, y, rows, params, sizes, activation, gradient):
    """Fill ``gradient`` with the sum over ``rows`` of the loss's gradient; return the loss."""
    n, width = rows.size, 0
    for k in range(1, sizes.size - 1):
        width += sizes[k]
    x, labels = np.empty((n, X.shape[1]), X.dtype), np.empty(n, y.dtype)
    for i in range(n):
        labels[i] = y[rows[i]]
        for j in range(X.shape[1]):
            x[i, j] = X[rows[i], j]
    vectors = np.empty((2, n * width), X.dtype)
    hidden, deltas = vectors[0], vectors[1]
    matrices = np.empty((2, n, sizes[-1]), X.dtype)
    logits, dlogits = matrices[0], matrices[1]
    losses = np.empty(n, np.float64)
    dense.forward(x, params, sizes, activation, hidden, logits)
    cross_entropy(logits, labels, losses, dlogits)
    dense.backward(params, sizes, activation, hidden, dlogits, deltas)
    dense.parameter_gradient(x, sizes, hidden, dlogits, deltas, gradient)
    loss = 0.0
    for i in range(n):
        loss += losses[i]
    return loss


@kernel
def _update(params, velocity, gradients, start, stop, scale, learning_rate, momentum):
    """Take a heavy-ball step on parameters start to stop: v = mu v - r g; w += v."""
    for i in range(start, stop):
        g = gradients[0, i]
        for k in range(1, gradients.shape[0]):
            g += gradients[k, i]
        velocity[i] = momentum * velocity[i] - learning_rate * (scale * g)
        params[i] += velocity[i]


@kernel
def _add_penalty(params, sizes, alpha, gradient):
    """Add the gradient of alpha |W|^2 / 2, which spares the biases. Modified in place."""
    for layer in range(sizes.size - 1):
        start = dense.layer_offset(sizes, layer)
        for i in range(start, start + sizes[layer] * sizes[layer + 1]):
            gradient[i] += alpha * params[i]


@parallel_kernel
def epoch(
    X, y, order, batch_size, params, velocity, sizes, activation, learning_rate, momentum, alpha
):
    """Run once over ``X[order]`` in batches. ``params`` and ``velocity`` are modified in place.

    Returns the sum over samples of the cross-entropy before each step, as float64; the penalty
    ``alpha`` |W|^2 / (2 batch) is not counted in it.
    """
    n_blocks = (batch_size + BLOCK - 1) // BLOCK
    gradients = np.empty((n_blocks, params.size), params.dtype)
    losses = np.empty(n_blocks, np.float64)
    loss = 0.0
    for first in range(0, order.size, batch_size):
        rows = order[first : first + batch_size]
        n = rows.size
        blocks = min(n_blocks, n)
        scale = params.dtype.type(1.0 / n)
        for k in prange(blocks):
            losses[k] = _block_gradient(
                X, y, rows[k * n // blocks : (k + 1) * n // blocks],
                params, sizes, activation, gradients[k],
            )  # fmt: skip
        if alpha != 0.0:
            _add_penalty(params, sizes, alpha, gradients[0])
        for k in prange(8):
            _update(
                params, velocity, gradients[:blocks], k * params.size // 8,
                (k + 1) * params.size // 8, scale, learning_rate, momentum,
            )  # fmt: skip
        for k in range(blocks):
            loss += losses[k]
    return loss
