"""Forward and backward passes of a multi-layer perceptron.

All parameters of a network are one vector: for each layer the matrix (n_in, n_out) and then the
bias. So a network of another depth or width runs the same machine code. The hidden activations of
a block of rows are one vector too, layer after layer.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.linalg import exponential, product

LOGISTIC, TANH, RELU = 0, 1, 2


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
def layer_of(hidden, logits, sizes, layer, n_rows):
    """Return layer ``layer`` (1, 2, ..., the logits last), (n_rows, width): a view."""
    if layer == sizes.size - 1:
        return logits
    return hidden_layer(hidden, sizes, layer, n_rows)


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
    add_bias(b, out)


@exact_kernel
def add_bias(b, out):
    """Add ``b`` (m,) to each row of ``out``."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += b[j]


@exact_kernel
def forward(X, params, sizes, activation, hidden, logits):
    """Compute activations and logits of one block of rows. ``hidden`` and ``logits`` are filled.

    X is (n, sizes[0]), hidden is (n * sum of hidden widths,), logits is (n, sizes[-1]).
    """
    n = X.shape[0]
    first = layer_of(hidden, logits, sizes, 1, n)
    affine(X, weights(params, sizes, 0), bias(params, sizes, 0), first)
    forward_above(params, sizes, activation, hidden, logits, 0, n)


@exact_kernel
def forward_above(params, sizes, activation, hidden, logits, start, stop):
    """Go on from the sums of the first layer, for the rows ``start`` to ``stop`` of a batch."""
    n = logits.shape[0]
    for layer in range(1, sizes.size - 1):
        h = hidden_layer(hidden, sizes, layer, n)[start:stop]
        activate(h, activation)
        above = layer_of(hidden, logits, sizes, layer + 1, n)
        w, b = weights(params, sizes, layer), bias(params, sizes, layer)
        affine(h, w, b, above[start:stop])


@exact_kernel
def backward(params, sizes, activation, hidden, dlogits, deltas):
    """Propagate d(loss)/d(logits) to the hidden layers. ``deltas``, laid out as hidden, is filled."""
    backward_rows(params, sizes, activation, hidden, dlogits, deltas, 0, dlogits.shape[0])


@exact_kernel
def backward_rows(params, sizes, activation, hidden, dlogits, deltas, start, stop):
    """As `backward`, for the rows ``start`` to ``stop`` of a batch."""
    n = dlogits.shape[0]
    for layer in range(sizes.size - 2, 0, -1):
        above = layer_of(deltas, dlogits, sizes, layer + 1, n)
        d = hidden_layer(deltas, sizes, layer, n)[start:stop]
        np.dot(above[start:stop], weights(params, sizes, layer).T, d)
        h = hidden_layer(hidden, sizes, layer, n)[start:stop]
        multiply_by_derivative(h, activation, d)


@exact_kernel
def sum_rows(d, out):
    """Fill ``out`` (m,) with the sum of the rows of ``d``."""
    for j in range(out.size):
        out[j] = d.dtype.type(0.0)
    for i in range(d.shape[0]):
        for j in range(out.size):
            out[j] += d[i, j]


@exact_kernel
def _transposed_product(x, d, out):
    """Fill ``out`` (m, k) with x' d, of x (n, m) and d (n, k)."""
    turned = np.empty((x.shape[1], x.shape[0]), x.dtype)
    for j in range(x.shape[1]):
        for i in range(x.shape[0]):
            turned[j, i] = x[i, j]
    packed = np.empty(product.packed_size(d.shape[0], d.shape[1], d), d.dtype)
    product.pack(d, packed)
    product.product(turned, packed, out)


@exact_kernel
def parameter_gradient(X, sizes, hidden, dlogits, deltas, gradient):
    """Gather the gradient of all parameters, summed over rows. ``gradient`` is filled."""
    first = layer_of(deltas, dlogits, sizes, 1, X.shape[0])
    _transposed_product(X, first, weights(gradient, sizes, 0))
    upper_gradient(sizes, hidden, dlogits, deltas, gradient)


@exact_kernel
def upper_gradient(sizes, hidden, dlogits, deltas, gradient):
    """As `parameter_gradient`, but for the first matrix."""
    n = dlogits.shape[0]
    for layer in range(sizes.size - 1):
        d = layer_of(deltas, dlogits, sizes, layer + 1, n)
        if layer > 0:
            h = hidden_layer(hidden, sizes, layer, n)
            np.dot(h.T, d, weights(gradient, sizes, layer))
        sum_rows(d, bias(gradient, sizes, layer))


@exact_kernel
def packed_size(sizes, like):
    """Return how many numbers all matrices take, packed as they stand and transposed."""
    size = 0
    for layer in range(sizes.size - 1):
        size += product.packed_size(sizes[layer], sizes[layer + 1], like)
        size += product.packed_size(sizes[layer + 1], sizes[layer], like)
    return size


@exact_kernel
def _packed(packed, sizes, layer, transposed):
    """Return the part of ``packed`` that holds the matrix of ``layer``, or its transpose: a view."""
    start = 0
    for k in range(layer + 1):
        there = product.packed_size(sizes[k], sizes[k + 1], packed)
        back = product.packed_size(sizes[k + 1], sizes[k], packed)
        if k == layer:
            break
        start += there + back
    if transposed:
        return packed[start + there : start + there + back]
    return packed[start : start + there]


@exact_kernel
def pack(params, sizes, packed):
    """Fill ``packed`` with all matrices as `forward_rows` and `input_gradient_rows` take them."""
    for layer in range(sizes.size - 1):
        w = weights(params, sizes, layer)
        product.pack(w, _packed(packed, sizes, layer, False))
        product.pack(w.T, _packed(packed, sizes, layer, True))


@exact_kernel
def forward_rows(X, params, packed, sizes, activation, hidden, logits):
    """As `forward`, with each row's bits the same in any batch."""
    below, last = X, sizes.size - 2
    for layer in range(last + 1):
        above = layer_of(hidden, logits, sizes, layer + 1, X.shape[0])
        product.product(below, _packed(packed, sizes, layer, False), above)
        add_bias(bias(params, sizes, layer), above)
        if layer < last:
            activate(above, activation)
            below = above


@exact_kernel
def input_gradient_rows(packed, sizes, activation, hidden, dlogits, out):
    """From d(loss)/d(logits) to d(loss)/dX, bits as in `forward_rows`. ``out`` is filled."""
    above, deltas = dlogits, np.empty_like(hidden)
    for layer in range(sizes.size - 2, 0, -1):
        below = hidden_layer(deltas, sizes, layer, dlogits.shape[0])
        product.product(above, _packed(packed, sizes, layer, True), below)
        h = hidden_layer(hidden, sizes, layer, dlogits.shape[0])
        multiply_by_derivative(h, activation, below)
        above = below
    product.product(above, _packed(packed, sizes, 0, True), out)
