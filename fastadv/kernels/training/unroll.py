"""Training by recorded batches, and its exact derivative: reverse mode over the stored steps.

Back-gradient poisoning (Munoz-Gonzalez et al., AISec 2017, arXiv 1708.08689), but with the
trajectory stored and not reversed: run backwards, the dynamics drift away from the path that
training took. Names as in the papers on the R-operator (Pearlmutter, Neural Computation 1994): R
stands for the derivative along the adjoint of the velocity, D_l for d(loss)/d(pre-activation l).

The first layer sees features of the images, and the same loops serve two kinds of them:

    images     A_1 = X C                 C (d, h) is W_1 itself
    Gram       A_1 = s O + X X' C        C (n, h), W_1 = s W_1(0) + X' C, O = X W_1(0)

for descent adds nothing to W_1 but combinations X'D of training rows, and shrinks it where there is
a penalty. A step then scatters D_1 into C in place of a product with X, and costs n b h in place of
2 d b h. Everything above the first matrix is one parameter vector ``upper``, laid out as that of a
network without inputs (``sizes[0] == 0``): the first bias, then the other matrices and biases.

A poison row x_i acts on a step through A_1 and through the gradient of W_1. Its derivative,
W_1 RD_1[i] + V_1 D_1[i] summed over steps (V_1 the adjoint of W_1's velocity), is gathered without
W_1, which is itself a sum over the steps before: in ``rows`` (with X), ``columns`` (with the
features) and the adjoint of the row's share of C (see `fastadv.models.unrolled`).
"""

from typing import NamedTuple

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.linalg import product, sparse
from fastadv.kernels.linalg.exponential import exp64
from fastadv.kernels.network import dense
from fastadv.kernels.network.loss import cross_entropy

_LEAST_PACKED = 24  # hidden units, from which on our product is faster than that of BLAS


class Setting(NamedTuple):
    """The network, from the first layer's products on, and the descent."""

    sizes: np.ndarray  # int64: 0, then the width of each layer from the first hidden one on
    activation: int  # as numbered in network/dense.py
    momentum: float
    alpha: float


class State(NamedTuple):
    """What a step of training changes."""

    C: np.ndarray  # (k, h)
    velocity: np.ndarray  # of C
    scale: np.ndarray  # (2,): s and its velocity
    upper: np.ndarray
    upper_velocity: np.ndarray


class Trace(NamedTuple):
    """What is stored of each step; one row where it is not wanted."""

    activations: np.ndarray  # (steps, b * (hidden widths + classes)), then softmax - one-hot
    uppers: np.ndarray  # (steps, ...): the upper parameters before the step


class Adjoints(NamedTuple):
    """What a step backwards changes; a direction is that of R in the step at hand.

    Where the features are the Gram matrix, the adjoint and the direction of W_1 have a part in the
    derivative of the validation loss, which is ``share``.
    """

    E: np.ndarray  # (k, h): of C
    V: np.ndarray  # (k, h): the direction, that of C's velocity with E added
    share: np.ndarray  # (2,): of E and of V
    upper: np.ndarray
    upper_direction: np.ndarray
    E_poison: np.ndarray  # (p, h): the poison rows' share of E, and of V, in Gram form
    V_poison: np.ndarray
    rows: np.ndarray  # (p, n): what multiplies X in the derivative by the poison rows
    columns: np.ndarray  # (p, k): what multiplies the features


@exact_kernel
def _activate(a, activation):
    flat = a.reshape(a.size)
    if activation == dense.LOGISTIC:
        for i in range(flat.size):
            flat[i] = 1.0 / (1.0 + exp64(-flat[i]))
    elif activation == dense.TANH:
        for i in range(flat.size):
            flat[i] = 1.0 - 2.0 / (exp64(2.0 * flat[i]) + 1.0)
    else:
        for i in range(flat.size):
            flat[i] = max(flat[i], 0.0)


@exact_kernel
def _copy(a, out):
    flat, flat_out = a.reshape(a.size), out.reshape(out.size)
    for i in range(flat.size):
        flat_out[i] = flat[i]


@exact_kernel
def _add_to(a, out):
    flat, flat_out = a.reshape(a.size), out.reshape(out.size)
    for i in range(flat.size):
        flat_out[i] += flat[i]


@exact_kernel
def _forward_above(upper, sizes, activation, hidden, logits):
    """Go on from the products of the first layer, to which its bias has to be added yet."""
    n, last = logits.shape[0], sizes.size - 1
    a = dense.layer_of(hidden, logits, sizes, 1, n)
    dense.add_bias(dense.bias(upper, sizes, 0), a)
    for layer in range(2, last + 1):
        _activate(a, activation)
        above = dense.layer_of(hidden, logits, sizes, layer, n)
        np.dot(a, dense.weights(upper, sizes, layer - 1), above)
        dense.add_bias(dense.bias(upper, sizes, layer - 1), above)
        a = above


@exact_kernel
def _softmax_minus_one_hot(z, y):
    for i in range(z.shape[0]):
        top = z[i, 0]
        for j in range(1, z.shape[1]):
            top = max(top, z[i, j])
        for j in range(z.shape[1]):
            z[i, j] -= top
    flat = z.reshape(z.size)
    for i in range(flat.size):
        flat[i] = exp64(flat[i])
    for i in range(z.shape[0]):
        total = 0.0
        for j in range(z.shape[1]):
            total += z[i, j]
        for j in range(z.shape[1]):
            z[i, j] /= total
        z[i, y[i]] -= 1.0


@exact_kernel
def _add_penalty(vector, sizes, factor, out):
    """Add ``factor`` times the matrices, not the biases, of ``vector``. ``out`` is modified."""
    if factor == 0.0:
        return
    for layer in range(1, sizes.size - 1):
        start = dense.layer_offset(sizes, layer)
        for i in range(start, start + sizes[layer] * sizes[layer + 1]):
            out[i] += factor * vector[i]


@exact_kernel
def validation_loss(x, offset, y, setting, state, first, gradient):
    """Return the mean cross-entropy; fill ``gradient`` (of upper) and ``first`` = D_1 (m, h)."""
    sizes, activation, _, _ = setting
    C, _, scale, upper, _ = state
    m = x.shape[0]
    width = dense.hidden_width(sizes)
    hidden, deltas = np.empty(m * width, np.float64), np.empty(m * width, np.float64)
    logits, d = np.empty((m, sizes[-1]), np.float64), np.empty((m, sizes[-1]), np.float64)
    losses = np.empty(m, np.float64)
    a = dense.layer_of(hidden, logits, sizes, 1, m)
    np.dot(x, C, a)
    for i in range(offset.shape[0]):
        for j in range(a.shape[1]):
            a[i, j] += scale[0] * offset[i, j]
    _forward_above(upper, sizes, activation, hidden, logits)
    cross_entropy(logits, y, losses, d)
    flat = d.reshape(d.size)
    for i in range(flat.size):
        flat[i] /= m
    dense.backward(upper, sizes, activation, hidden, d, deltas)
    dense.upper_gradient(sizes, hidden, d, deltas, gradient)
    _copy(dense.layer_of(deltas, d, sizes, 1, m), first)
    total = 0.0
    for i in range(m):
        total += losses[i]
    return total / m


@exact_kernel
def _batch(batches, t):
    n = batches.shape[1]
    while n > 0 and batches[t, n - 1] < 0:
        n -= 1
    return batches[t, :n]


@exact_kernel
def _gather(features, rows, x):
    """Return the features of a batch, put into ``x`` unless it is all rows (or they are sparse)."""
    if rows.size >= features.shape[0]:
        return features
    for i in range(rows.size):
        for j in range(features.shape[1]):
            x[i, j] = features[rows[i], j]
    return x[: rows.size]


@exact_kernel
def _products(x, values, columns, starts, offset, rows, matrix, packed, scale, out):
    """Fill ``out`` (n, h) with the features of a batch times ``matrix``, plus ``scale`` offset.

    ``packed`` is scratch for the matrix; without, BLAS multiplies.
    """
    if starts.size > 0:
        sparse.times(values, columns, starts, rows, matrix, out)
    elif packed.size > 0:
        product.pack(matrix, packed)
        product.product(x, packed, out)
    else:
        np.dot(x, matrix, out)
    if offset.shape[0] > 0:
        for i in range(rows.size):
            for j in range(out.shape[1]):
                out[i, j] += scale * offset[rows[i], j]


@exact_kernel
def _room_to_pack(matrix, starts):
    """Return the scratch of `_products`; of no size where BLAS is faster, on few hidden units."""
    k, h = matrix.shape
    size = 0 if starts.size > 0 or h < _LEAST_PACKED else product.packed_size(k, h, matrix)
    return sparse.aligned(1, size, matrix.dtype)[0]


@exact_kernel
def _transposed_products(
    x, values, columns, starts, rows, t_values, t_rows, t_starts, every, matrix, out
):
    """Fill ``out`` (d, h) with X' ``matrix`` for a batch of images; the t_ vectors are scratch."""
    if starts.size > 0:
        sparse.transpose(values, columns, starts, rows, t_values, t_rows, t_starts)
        sparse.times(t_values, t_rows, t_starts, every, matrix, out)
    else:
        np.dot(x.T, matrix, out)


@exact_kernel
def _find_places(rows, places):
    """Fill ``places[row]`` with the row's position in the batch, -1 where it is not in it."""
    for i in range(places.size):
        places[i] = -1
    for i in range(rows.size):
        places[rows[i]] = i


@exact_kernel
def train(features, offset, y, batches, rates, setting, state, trace):
    """Take one heavy-ball step a row t of ``batches``: v = mu v - ``rates[t]`` gradient, w += v.

    The features are the Gram matrix if there is an ``offset`` (n, h), else the images,
    dense or by their non-zeros (see models/rows.py). ``batches`` (steps, b) holds row numbers,
    padded with -1; if b is the number of rows they are all of them, in order. ``state`` and
    ``trace`` are modified.
    """
    X, values, columns, starts = features
    sizes, activation, momentum, alpha = setting
    C, velocity, scale, upper, upper_velocity = state
    activations, uppers = trace
    (k, h), gram = C.shape, offset.shape[0] > 0
    b, width = batches.shape[1], dense.hidden_width(sizes)
    x = np.empty((0 if b >= X.shape[0] else b, k))
    labels, places = np.empty(b, np.int64), np.empty(y.size, np.int64)
    deltas = sparse.aligned(b, width, C.dtype).reshape(b * width)
    step, gradient = np.empty((0 if gram else k, h)), np.empty_like(upper)
    packed = _room_to_pack(C, starts)
    most = b * sparse.longest(starts)
    transposed = np.empty(most), np.empty(most, np.uint16), np.empty(k + 1, np.int64), np.arange(k)
    for t in range(batches.shape[0]):
        slot = t if activations.shape[0] > 1 else 0
        _copy(upper, uppers[slot])
        rows = _batch(batches, t)
        n = rows.size
        hidden = activations[slot, : n * width]
        dlogits = activations[slot, n * width : n * (width + sizes[-1])].reshape((n, sizes[-1]))
        seen = _gather(X, rows, x)
        for i in range(n):
            labels[i] = y[rows[i]]
        a = dense.layer_of(hidden, dlogits, sizes, 1, n)
        _products(seen, values, columns, starts, offset, rows, C, packed, scale[0], a)
        _forward_above(upper, sizes, activation, hidden, dlogits)
        _softmax_minus_one_hot(dlogits, labels)
        dense.backward(upper, sizes, activation, hidden, dlogits, deltas)
        dense.upper_gradient(sizes, hidden, dlogits, deltas, gradient)
        first = dense.layer_of(deltas, dlogits, sizes, 1, n)

        rate, decay = rates[t] / n, rates[t] * alpha / n
        if gram:
            _find_places(rows, places)
            _advance_gram(first, places, rate, decay, momentum, C, velocity)
        else:
            _transposed_products(seen, values, columns, starts, rows, *transposed, first, step)
            flat, w, v = step.reshape(step.size), C.reshape(C.size), velocity.reshape(C.size)
            _advance(flat, rate, decay, momentum, w, v)
        scale[1] = momentum * scale[1] - decay * scale[0]
        scale[0] += scale[1]
        for i in range(upper.size):
            gradient[i] *= rate
        _add_penalty(upper, sizes, decay, gradient)
        for i in range(upper.size):
            upper_velocity[i] = momentum * upper_velocity[i] - gradient[i]
            upper[i] += upper_velocity[i]


@exact_kernel
def _advance(gradient, rate, decay, momentum, w, velocity):
    for i in range(w.size):
        velocity[i] = momentum * velocity[i] - rate * gradient[i] - decay * w[i]
        w[i] += velocity[i]


@exact_kernel
def _advance_gram(first, places, rate, decay, momentum, C, velocity):
    for i in range(C.shape[0]):
        place = places[i]
        if place >= 0:
            for j in range(C.shape[1]):
                v = momentum * velocity[i, j] - decay * C[i, j] - rate * first[place, j]
                velocity[i, j] = v
                C[i, j] += v
        else:
            for j in range(C.shape[1]):
                v = momentum * velocity[i, j] - decay * C[i, j]
                velocity[i, j] = v
                C[i, j] += v


@exact_kernel
def _relative_curvature(h, activation):
    """Return phi'' / phi' from the value of phi."""
    if activation == dense.LOGISTIC:
        return 1.0 - 2.0 * h
    if activation == dense.TANH:
        return -2.0 * h
    return 0.0


@exact_kernel
def _bend(h, activation, d, r_a, r_d):
    """Make R(D phi') of R D: times phi' where it stands, plus D phi'' / phi' R A. Modified."""
    dense.multiply_by_derivative(h, activation, r_d)
    flat_h, flat_d, flat_a = h.reshape(h.size), d.reshape(d.size), r_a.reshape(r_a.size)
    flat = r_d.reshape(r_d.size)
    if activation != dense.RELU:
        for i in range(flat.size):
            flat[i] += flat_d[i] * _relative_curvature(flat_h[i], activation) * flat_a[i]


@exact_kernel
def _hessian_vector(
    count, y, upper, direction, sizes, activation, hidden, d, deltas, r_before, r_hidden, r_logits,
    r_deltas, work, out,
):  # fmt: skip
    """Propagate R A_1, along ``direction`` of the upper parameters, up and back down.

    ``d`` (n, k) holds softmax - one-hot and becomes D_L = d(mean loss)/d(logits). R A_1 comes in
    the first layer of ``r_before``, or of ``r_logits`` where there is no hidden one. ``deltas``
    gets D_l, ``r_deltas`` and ``r_logits`` R D_l, ``out`` the upper part of the Hessian's product.
    The mean is over ``count`` rows, these among them; the penalty is left to the caller.
    """
    n, last = d.shape[0], sizes.size - 1
    for layer in range(2, last + 1):
        r_a = dense.hidden_layer(r_before, sizes, layer - 1, n)
        h = dense.hidden_layer(hidden, sizes, layer - 1, n)
        r_h = dense.hidden_layer(r_hidden, sizes, layer - 1, n)
        _copy(r_a, r_h)
        dense.multiply_by_derivative(h, activation, r_h)
        above = dense.layer_of(r_before, r_logits, sizes, layer, n)
        other = work[: above.size].reshape(above.shape)
        np.dot(r_h, dense.weights(upper, sizes, layer - 1), above)
        np.dot(h, dense.weights(direction, sizes, layer - 1), other)
        _add_to(other, above)
        dense.add_bias(dense.bias(direction, sizes, layer - 1), above)

    # d becomes D_L = (P - Y) / n, and r_logits becomes R D_L = P * (RZ - rowsum(P * RZ)) / n
    for i in range(n):
        mean = 0.0
        d[i, y[i]] += 1.0
        for j in range(d.shape[1]):
            mean += d[i, j] * r_logits[i, j]
        for j in range(d.shape[1]):
            r_logits[i, j] = d[i, j] * (r_logits[i, j] - mean) / count
        d[i, y[i]] -= 1.0
        for j in range(d.shape[1]):
            d[i, j] /= count

    dense.backward(upper, sizes, activation, hidden, d, deltas)
    for layer in range(last - 1, 0, -1):
        r_d = dense.hidden_layer(r_deltas, sizes, layer, n)
        other = work[: r_d.size].reshape(r_d.shape)
        r_above = dense.layer_of(r_deltas, r_logits, sizes, layer + 1, n)
        np.dot(r_above, dense.weights(upper, sizes, layer).T, r_d)
        above = dense.layer_of(deltas, d, sizes, layer + 1, n)
        np.dot(above, dense.weights(direction, sizes, layer).T, other)
        _add_to(other, r_d)
        h = dense.hidden_layer(hidden, sizes, layer, n)
        d_here = dense.hidden_layer(deltas, sizes, layer, n)
        _bend(h, activation, d_here, dense.hidden_layer(r_before, sizes, layer, n), r_d)

    dense.upper_gradient(sizes, hidden, r_logits, r_deltas, out)
    for layer in range(1, last):
        w = dense.weights(out, sizes, layer)
        other = work[: w.size].reshape(w.shape)
        above = dense.layer_of(deltas, d, sizes, layer + 1, n)
        np.dot(dense.hidden_layer(r_hidden, sizes, layer, n).T, above, other)
        _add_to(other, w)


@exact_kernel
def reverse(features, offset, y, slots, batches, rates, setting, trace, adjoints):
    """Run `train` backwards over what it stored. The adjoints are modified.

    Where the features are the Gram matrix, ``offset`` (n, h) is X dL/dW_1 of the validation loss.
    ``slots[i]`` is the number of poison row i, or -1.
    """
    X, values, columns, starts = features
    sizes, activation, momentum, alpha = setting
    activations, uppers = trace
    E, V, share, upper_adjoint, upper_direction, E_poison, V_poison, rows_out, columns_out = (
        adjoints
    )
    (k, h), gram = E.shape, offset.shape[0] > 0
    p, b, width = E_poison.shape[0], batches.shape[1], dense.hidden_width(sizes)
    whole = b == y.size
    widest = 0
    for layer in range(sizes.size):
        widest = max(widest, sizes[layer])
    x = np.empty((0 if b >= X.shape[0] else b, k))
    labels, places = np.empty(b, np.int64), np.empty(y.size, np.int64)
    d, r_logits = np.empty((b, sizes[-1])), np.empty((b, sizes[-1]))
    deltas, r_before, r_hidden = np.empty(b * width), np.empty(b * width), np.empty(b * width)
    r_deltas = sparse.aligned(b, width, E.dtype).reshape(b * width)
    most = b * sparse.longest(starts)
    transposed = np.empty(most), np.empty(most, np.uint16), np.empty(k + 1, np.int64), np.arange(k)
    work, packed = np.empty(max(b, widest) * widest), _room_to_pack(V, starts)
    gradient, step = np.empty_like(upper_adjoint), np.empty((0 if gram else k, h))
    wanted, chosen = np.empty(b, np.int64), np.empty((min(b, p), h))
    mixed, crossed = np.empty((min(b, p), k)), np.empty((p, b))
    for t in range(batches.shape[0] - 1, -1, -1):
        upper, rows, learning_rate = uppers[t], _batch(batches, t), rates[t]
        n = rows.size
        hidden = activations[t, : n * width]
        d_here, r_z = d[:n], r_logits[:n]
        _copy(activations[t, n * width : n * (width + sizes[-1])].reshape((n, sizes[-1])), d_here)
        seen = _gather(X, rows, x)
        for i in range(n):
            labels[i] = y[rows[i]]

        r_a = dense.layer_of(r_before, r_z, sizes, 1, n)
        _products(seen, values, columns, starts, offset, rows, V, packed, share[1], r_a)
        dense.add_bias(dense.bias(upper_direction, sizes, 0), r_a)
        _hessian_vector(
            n, labels, upper, upper_direction, sizes, activation, hidden, d_here, deltas, r_before,
            r_hidden, r_z, r_deltas, work, gradient,
        )  # fmt: skip
        first = dense.layer_of(deltas, d_here, sizes, 1, n)
        r_first = dense.layer_of(r_deltas, r_z, sizes, 1, n)

        # d/dx: what the batch's rows get from the velocity of the poison, and the other way round
        crossed_here = crossed.reshape(crossed.size)[: p * n].reshape((p, n))
        np.dot(V_poison, first.T, crossed_here)
        for i in range(p):
            if whole:
                for j in range(n):
                    rows_out[i, j] -= learning_rate * crossed_here[i, j]
            else:
                for j in range(n):
                    rows_out[i, rows[j]] -= learning_rate * crossed_here[i, j]
        n_wanted = 0
        for i in range(n):
            if slots[rows[i]] >= 0:
                wanted[n_wanted] = i
                _copy(first[i], chosen[n_wanted])
                n_wanted += 1
        if n_wanted > 0:
            np.dot(chosen[:n_wanted], V.T, mixed[:n_wanted])
            for i in range(n_wanted):
                slot = slots[rows[wanted[i]]]
                for j in range(k):
                    columns_out[slot, j] -= learning_rate * mixed[i, j]

        decay = learning_rate * alpha / n
        if gram:
            _find_places(rows, places)
            _retreat_gram(r_first, places, learning_rate, decay, momentum, E, V)
        else:
            _transposed_products(seen, values, columns, starts, rows, *transposed, r_first, step)
            flat, e, v = step.reshape(step.size), E.reshape(E.size), V.reshape(V.size)
            _retreat(flat, learning_rate, decay, momentum, e, v)
        share[0] -= decay * share[1]
        share[1] = momentum * share[1] + share[0]
        _retreat_poison(r_first, rows, slots, learning_rate, decay, momentum, E_poison, V_poison)
        for i in range(gradient.size):
            gradient[i] *= learning_rate
        _add_penalty(upper_direction, sizes, decay, gradient)
        for i in range(gradient.size):
            upper_adjoint[i] -= gradient[i]
            upper_direction[i] = momentum * upper_direction[i] + upper_adjoint[i]


@exact_kernel
def _retreat(gradient, rate, decay, momentum, E, V):
    for i in range(E.size):
        E[i] -= rate * gradient[i] + decay * V[i]
        V[i] = momentum * V[i] + E[i]


@exact_kernel
def _retreat_gram(r_first, places, rate, decay, momentum, E, V):
    for i in range(E.shape[0]):
        place = places[i]
        if place >= 0:
            for j in range(E.shape[1]):
                e = E[i, j] - decay * V[i, j] - rate * r_first[place, j]
                E[i, j] = e
                V[i, j] = momentum * V[i, j] + e
        else:
            for j in range(E.shape[1]):
                e = E[i, j] - decay * V[i, j]
                E[i, j] = e
                V[i, j] = momentum * V[i, j] + e


@exact_kernel
def _retreat_poison(r_first, rows, slots, rate, decay, momentum, E, V):
    flat_E, flat_V = E.reshape(E.size), V.reshape(V.size)
    for i in range(E.size):
        flat_E[i] -= decay * flat_V[i]
    for i in range(rows.size):
        slot = slots[rows[i]]
        if slot >= 0:
            for j in range(E.shape[1]):
                E[slot, j] -= rate * r_first[i, j]
    for i in range(E.size):
        flat_V[i] = momentum * flat_V[i] + flat_E[i]


# -- the same for a large full batch, block by block of its rows, so that threads can share a step --


@exact_kernel
def train_rows(
    products, offset, y, start, stop, learning_rate, setting, state, C_next, activations, gradient
):
    """Take the rows start to stop through one step of `train` on the whole set in Gram form.

    ``products`` (n, h) is X X' C. Fills ``activations`` with what `train` stores of them,
    ``gradient`` with their sum of the upper gradient, and their rows of ``C_next`` and the velocity.
    """
    sizes, activation, momentum, alpha = setting
    C, velocity, scale, upper, _ = state
    n, count, width = stop - start, C.shape[0], dense.hidden_width(sizes)
    hidden = activations[: n * width]
    dlogits = activations[n * width : n * (width + sizes[-1])].reshape((n, sizes[-1]))
    deltas = np.empty(n * width)
    a = dense.layer_of(hidden, dlogits, sizes, 1, n)
    for i in range(n):
        for j in range(a.shape[1]):
            a[i, j] = products[start + i, j] + scale[0] * offset[start + i, j]
    _forward_above(upper, sizes, activation, hidden, dlogits)
    _softmax_minus_one_hot(dlogits, y[start:stop])
    dense.backward(upper, sizes, activation, hidden, dlogits, deltas)
    dense.upper_gradient(sizes, hidden, dlogits, deltas, gradient)
    first = dense.layer_of(deltas, dlogits, sizes, 1, n)
    rate, decay = learning_rate / count, learning_rate * alpha / count
    for i in range(n):
        for j in range(C.shape[1]):
            v = momentum * velocity[start + i, j] - decay * C[start + i, j] - rate * first[i, j]
            velocity[start + i, j] = v
            C_next[start + i, j] = C[start + i, j] + v


@exact_kernel
def reverse_rows(
    products, offset, y, slots, start, stop, learning_rate, setting, activations, upper, adjoints,
    V_next, gradient,
):  # fmt: skip
    """Take the rows start to stop backwards through one step of `train_rows`.

    ``products`` (n, h) is X X' V. Fills ``gradient`` with their part of the upper Hessian's product
    and their rows of E and of ``V_next``; adds to their columns of the adjoints' ``rows`` and to
    the ``columns`` of the poison among them.
    """
    sizes, activation, momentum, alpha = setting
    E, V, share, _, upper_direction, _, V_poison, rows_out, columns_out = adjoints
    (count, h), n, width = E.shape, stop - start, dense.hidden_width(sizes)
    p, widest = V_poison.shape[0], 0
    for layer in range(sizes.size):
        widest = max(widest, sizes[layer])
    hidden = activations[: n * width]
    d, r_z = np.empty((n, sizes[-1])), np.empty((n, sizes[-1]))
    _copy(activations[n * width : n * (width + sizes[-1])].reshape(d.shape), d)
    deltas, r_deltas, r_before, r_hidden = (
        np.empty(n * width), np.empty(n * width), np.empty(n * width), np.empty(n * width),
    )  # fmt: skip
    r_a = dense.layer_of(r_before, r_z, sizes, 1, n)
    for i in range(n):
        for j in range(h):
            r_a[i, j] = products[start + i, j] + share[1] * offset[start + i, j]
    dense.add_bias(dense.bias(upper_direction, sizes, 0), r_a)
    _hessian_vector(
        count, y[start:stop], upper, upper_direction, sizes, activation, hidden, d, deltas,
        r_before, r_hidden, r_z, r_deltas, np.empty(max(n, widest) * widest), gradient,
    )  # fmt: skip
    first = dense.layer_of(deltas, d, sizes, 1, n)
    r_first = dense.layer_of(r_deltas, r_z, sizes, 1, n)

    crossed = np.empty((p, n))
    np.dot(V_poison, first.T, crossed)
    for i in range(p):
        for j in range(n):
            rows_out[i, start + j] -= learning_rate * crossed[i, j]
    wanted, n_wanted = np.empty(n, np.int64), 0
    chosen = np.empty((n, h))
    for i in range(n):
        if slots[start + i] >= 0:
            wanted[n_wanted] = slots[start + i]
            _copy(first[i], chosen[n_wanted])
            n_wanted += 1
    mixed = np.empty((n_wanted, count))
    np.dot(chosen[:n_wanted], V.T, mixed)
    for i in range(n_wanted):
        for j in range(count):
            columns_out[wanted[i], j] -= learning_rate * mixed[i, j]

    decay = learning_rate * alpha / count
    for i in range(n):
        for j in range(h):
            v = V[start + i, j]
            e = E[start + i, j] - decay * v - learning_rate * r_first[i, j]
            E[start + i, j] = e
            V_next[start + i, j] = momentum * v + e
