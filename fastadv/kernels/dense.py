"""Forward and backward passes of a multi-layer perceptron.

All parameters of a network are one vector: for each layer the matrix (n_in, n_out) and then the
bias. So a network of another depth or width runs the same machine code. The hidden activations of
a block of rows are one vector too, layer after layer.
"""

import numpy as np

from fastadv.kernels import exponential
from fastadv.kernels._jit import exact_kernel

LOGISTIC, TANH, RELU = 0, 1, 2

# OpenBLAS gives a row other bits in a small product than in a full tile, so products that must not
# depend on the batch run on tiles of this many rows.
TILE = 64

# Up to this many multiplications OpenBLAS takes another path, without packing. Where one tile is
# past it, so is every number of tiles, and a row's bits are the same in one product of them all,
# which runs a tenth faster than tile by tile.
_SMALL = 1_000_000


@exact_kernel
def layer_offset(sizes, layer):
    """Return where the matrix of ``layer`` starts in the parameter vector."""
    offset = 0
    for k in range(layer):
        offset += (sizes[k] + 1) * sizes[k + 1]
    return offset


@exact_kernel
def weights(params, sizes, layer):
    """Return the matrix of ``layer``, (n_in, n_out): a view."""
    start = layer_offset(sizes, layer)
    size = sizes[layer] * sizes[layer + 1]
    return params[start : start + size].reshape((sizes[layer], sizes[layer + 1]))


@exact_kernel
def bias(params, sizes, layer):
    """Return the bias of ``layer``, (n_out,): a view."""
    start = layer_offset(sizes, layer) + sizes[layer] * sizes[layer + 1]
    return params[start : start + sizes[layer + 1]]


@exact_kernel
def hidden_layer(hidden, sizes, layer, n_rows):
    """Return the activations of hidden layer ``layer`` (1, 2, ...), (n_rows, width): a view."""
    start = 0
    for k in range(1, layer):
        start += sizes[k] * n_rows
    return hidden[start : start + sizes[layer] * n_rows].reshape((n_rows, sizes[layer]))


@exact_kernel
def _logistic(flat):
    one = flat.dtype.type(1.0)
    if flat.itemsize == 4:
        for i in range(flat.size):
            flat[i] = one / (one + exponential.exp(-flat[i]))
    else:
        for i in range(flat.size):
            flat[i] = one / (one + np.exp(-flat[i]))


@exact_kernel
def hidden_width(sizes):
    """Return the number of hidden units of all layers."""
    width = 0
    for k in range(1, sizes.size - 1):
        width += sizes[k]
    return width


@exact_kernel
def activate(a, activation):
    """Apply the activation function. ``a`` is modified in place."""
    flat = a.reshape(a.size)
    if activation == LOGISTIC:
        _logistic(flat)
    elif activation == TANH:
        for i in range(flat.size):
            flat[i] = np.tanh(flat[i])
    else:
        for i in range(flat.size):
            flat[i] = max(flat[i], flat.dtype.type(0.0))


@exact_kernel
def multiply_by_derivative(h, activation, d):
    """Multiply ``d`` by the activation's derivative, from its value ``h``. ``d`` is modified."""
    one = h.dtype.type(1.0)
    flat_h, flat_d = h.reshape(h.size), d.reshape(d.size)
    if activation == LOGISTIC:
        for i in range(flat_h.size):
            flat_d[i] *= flat_h[i] * (one - flat_h[i])
    elif activation == TANH:
        for i in range(flat_h.size):
            flat_d[i] *= one - flat_h[i] * flat_h[i]
    else:
        for i in range(flat_h.size):
            if flat_h[i] <= h.dtype.type(0.0):
                flat_d[i] = h.dtype.type(0.0)


@exact_kernel
def affine(x, w, b, out):
    """Fill ``out`` with x W + b."""
    np.dot(x, w, out)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += b[j]


@exact_kernel
def forward(X, params, sizes, activation, hidden, logits):
    """Compute activations and logits of one block of rows. ``hidden`` and ``logits`` are filled.

    X is (n, sizes[0]), hidden is (n * sum of hidden widths,), logits is (n, sizes[-1]).
    """
    n = X.shape[0]
    first = logits if sizes.size == 2 else hidden_layer(hidden, sizes, 1, n)
    affine(X, weights(params, sizes, 0), bias(params, sizes, 0), first)
    forward_above(params, sizes, activation, hidden, logits, 0, n)


@exact_kernel
def forward_above(params, sizes, activation, hidden, logits, start, stop):
    """Go on from the sums of the first layer, for the rows ``start`` to ``stop`` of a batch."""
    n, last = logits.shape[0], sizes.size - 2
    for layer in range(1, last + 1):
        h = hidden_layer(hidden, sizes, layer, n)[start:stop]
        activate(h, activation)
        above = logits if layer == last else hidden_layer(hidden, sizes, layer + 1, n)
        w, b = weights(params, sizes, layer), bias(params, sizes, layer)
        affine(h, w, b, above[start:stop])


@exact_kernel
def backward(params, sizes, activation, hidden, dlogits, deltas):
    """Propagate d(loss)/d(logits) to the hidden layers. ``deltas``, laid out as hidden, is filled."""
    backward_rows(params, sizes, activation, hidden, dlogits, deltas, 0, dlogits.shape[0])


@exact_kernel
def backward_rows(params, sizes, activation, hidden, dlogits, deltas, start, stop):
    """As `backward`, for the rows ``start`` to ``stop`` of a batch."""
    n, last = dlogits.shape[0], sizes.size - 2
    for layer in range(last, 0, -1):
        above = dlogits if layer == last else hidden_layer(deltas, sizes, layer + 1, n)
        d = hidden_layer(deltas, sizes, layer, n)[start:stop]
        np.dot(above[start:stop], weights(params, sizes, layer).T, d)
        h = hidden_layer(hidden, sizes, layer, n)[start:stop]
        multiply_by_derivative(h, activation, d)


@exact_kernel
def _sum_rows(d, out):
    for j in range(out.size):
        out[j] = d.dtype.type(0.0)
    for i in range(d.shape[0]):
        for j in range(out.size):
            out[j] += d[i, j]


@exact_kernel
def parameter_gradient(X, sizes, hidden, dlogits, deltas, gradient):
    """Gather the gradient of all parameters, summed over rows. ``gradient`` is filled."""
    n, last = X.shape[0], sizes.size - 2
    for layer in range(last + 1):
        w, b = weights(gradient, sizes, layer), bias(gradient, sizes, layer)
        if layer == last:
            d = dlogits
        else:
            d = hidden_layer(deltas, sizes, layer + 1, n)
        if layer == 0:
            np.dot(X.T, d, w)
        else:
            np.dot(hidden_layer(hidden, sizes, layer, n).T, d, w)
        _sum_rows(d, b)


@exact_kernel
def _rows_at_once(n, w):
    """Return how many of n rows, whole tiles, to multiply by ``w`` in one product."""
    return n if TILE * w.size > _SMALL else TILE


@exact_kernel
def forward_tiles(X, params, sizes, activation, hidden, logits):
    """As `forward`, with each row's bits the same in any batch of whole tiles."""
    n, w, b = X.shape[0], weights(params, sizes, 0), bias(params, sizes, 0)
    first = logits if sizes.size == 2 else hidden_layer(hidden, sizes, 1, n)
    step = _rows_at_once(n, w)
    for start in range(0, n, step):
        affine(X[start : start + step], w, b, first[start : start + step])
    for start in range(0, n, TILE):
        forward_above(params, sizes, activation, hidden, logits, start, start + TILE)


@exact_kernel
def input_gradient_tiles(params, sizes, activation, hidden, dlogits, out):
    """From d(loss)/d(logits) to d(loss)/dX, bits as in `forward_tiles`. ``out`` is filled."""
    n, w = dlogits.shape[0], weights(params, sizes, 0)
    deltas = np.empty_like(hidden)
    for start in range(0, n, TILE):
        backward_rows(params, sizes, activation, hidden, dlogits, deltas, start, start + TILE)
    first = dlogits if sizes.size == 2 else hidden_layer(deltas, sizes, 1, n)
    step = _rows_at_once(n, w)
    for start in range(0, n, step):
        np.dot(first[start : start + step], w.T, out[start : start + step])
