"""A perceptron under Gaussian noise on its input, drawn behind its first product.

With noise d of N(0, sigma^2 I) the first layer gets x W + b + d W, and d W is N(0, sigma^2 W'W):
z F for a standard normal z and any ``factor`` F with F'F = sigma^2 W'W. What the noise meets above
the first layer is then exact, for as many normals a draw as that layer is wide.
"""

import numpy as np

from fastadv.kernels import random
from fastadv.kernels._jit import kernel
from fastadv.kernels.network import dense
from fastadv.kernels.network.loss import softmax

_DRAWS = 64  # at once


@kernel
def _first(hidden, logits, sizes, n):
    """Return what the first layer's sums are: the first hidden layer's, or without one the logits."""
    return logits if sizes.size == 2 else dense.hidden_layer(hidden, sizes, 1, n)


@kernel
def _argmax(row):
    best = 0
    for j in range(1, row.size):
        if row[j] > row[best]:
            best = j
    return best


@kernel
def votes(sums, factor, params, sizes, activation, key, sample, start, n_draws, counts):
    """Add to ``counts`` (k,) how many of the draws ``start``, ... vote for each class of one image.

    sums (width,) is x W + b of the first layer, factor (r, width).
    """
    n, rank, width = _DRAWS, factor.shape[0], factor.shape[1]
    z, noise = np.empty((n, rank), params.dtype), np.empty((n, width), params.dtype)
    hidden = np.empty(n * dense.hidden_width(sizes), params.dtype)
    logits = np.empty((n, sizes[-1]), params.dtype)
    for first in range(0, n_draws, n):
        for i in range(n):
            state = random.state_of(key, sample, np.uint64(start + first + i))
            random.gauss_row(state, (rank + 1) // 2, z[i])
        np.dot(z, factor, noise)
        into = _first(hidden, logits, sizes, n)
        for i in range(n):
            for j in range(width):
                into[i, j] = sums[j] + noise[i, j]
        dense.forward_above(params, sizes, activation, hidden, logits, 0, n)
        for i in range(min(n, n_draws - first)):
            counts[_argmax(logits[i])] += 1


@kernel
def expected(sums, noise, params, sizes, activation, hidden, shares, mean, winners):
    """Fill ``mean`` (n, k), the mean softmax over the draws, and ``winners`` (n,), who has most votes.

    sums is (n, width) of the first layer, noise (m, width) the same for every image; of a tie the
    class of the larger mean wins. ``hidden`` and ``shares`` (n, m, k), the softmax of each draw, are
    filled, and are what `expected_gradient` needs.
    """
    n, m, n_classes = shares.shape
    size, counts = hidden.size // max(n, 1), np.empty(n_classes, np.int64)
    logits = np.empty((m, n_classes), params.dtype)
    scale = params.dtype.type(1.0 / m)
    for s in range(n):
        block = hidden[s * size : (s + 1) * size]
        into = _first(block, logits, sizes, m)
        for i in range(m):
            for j in range(noise.shape[1]):
                into[i, j] = sums[s, j] + noise[i, j]
        dense.forward_above(params, sizes, activation, block, logits, 0, m)
        softmax(logits, shares[s])
        for c in range(n_classes):
            counts[c], mean[s, c] = 0, 0.0
        for i in range(m):
            counts[_argmax(logits[i])] += 1
            for c in range(n_classes):
                mean[s, c] += scale * shares[s, i, c]
        best = 0
        for c in range(1, n_classes):
            tied = counts[c] == counts[best] and mean[s, c] > mean[s, best]
            if counts[c] > counts[best] or tied:
                best = c
        winners[s] = best


@kernel
def expected_gradient(params, sizes, activation, hidden, shares, dmean, dsums):
    """From d(loss)/d(mean) (n, k) to d(loss)/d(sums) (n, width). ``dsums`` is filled."""
    n, m, n_classes = shares.shape
    size, kind = hidden.size // max(n, 1), params.dtype
    dlogits, deltas = np.empty((m, n_classes), kind), np.empty(size, kind)
    scale = kind.type(1.0 / m)
    for s in range(n):
        for i in range(m):
            inner = kind.type(0.0)
            for c in range(n_classes):
                inner += dmean[s, c] * shares[s, i, c]
            for c in range(n_classes):
                dlogits[i, c] = scale * shares[s, i, c] * (dmean[s, c] - inner)
        block = hidden[s * size : (s + 1) * size]
        dense.backward(params, sizes, activation, block, dlogits, deltas)
        first = _first(deltas, dlogits, sizes, m)
        for j in range(dsums.shape[1]):
            dsums[s, j] = kind.type(0.0)
        for i in range(m):
            for j in range(dsums.shape[1]):
                dsums[s, j] += first[i, j]
