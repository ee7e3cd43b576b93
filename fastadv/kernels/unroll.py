"""Training by recorded batches, and its exact derivative: reverse mode over the stored steps.

Back-gradient poisoning (Munoz-Gonzalez et al., AISec 2017, arXiv 1708.08689), but with the
trajectory stored and not reversed: run backwards, the dynamics drift away from the path that
training took. Names as in the papers on the R-operator (Pearlmutter, Neural Computation 1994): R
stands for the derivative along ``direction``.
"""

import numpy as np

from fastadv.kernels import dense
from fastadv.kernels._jit import kernel
from fastadv.kernels.loss import cross_entropy


@kernel
def _hidden_width(sizes):
    width = 0
    for k in range(1, sizes.size - 1):
        width += sizes[k]
    return width


@kernel
def _gather(X, y, rows, x, labels):
    for i in range(rows.size):
        labels[i] = y[rows[i]]
        for j in range(X.shape[1]):
            x[i, j] = X[rows[i], j]


@kernel
def loss_gradient(X, y, params, sizes, activation, alpha, gradient):
    """Fill ``gradient`` with that of the mean cross-entropy plus alpha |W|^2 / (2 n).

    Returns the mean cross-entropy alone.
    """
    n = X.shape[0]
    width = _hidden_width(sizes)
    hidden, deltas = np.empty(n * width, X.dtype), np.empty(n * width, X.dtype)
    logits, dlogits = np.empty((n, sizes[-1]), X.dtype), np.empty((n, sizes[-1]), X.dtype)
    losses = np.empty(n, np.float64)
    dense.forward(X, params, sizes, activation, hidden, logits)
    cross_entropy(logits, y, losses, dlogits)
    dlogits /= n
    dense.backward(params, sizes, activation, hidden, dlogits, deltas)
    dense.parameter_gradient(X, sizes, hidden, dlogits, deltas, gradient)
    _add_penalty(params, sizes, alpha / n, gradient)
    return losses.sum() / n


@kernel
def _add_penalty(vector, sizes, factor, out):
    """Add ``factor`` times the matrices, not the biases, of ``vector``. ``out`` is modified."""
    if factor == 0.0:
        return
    for layer in range(sizes.size - 1):
        start = dense.layer_offset(sizes, layer)
        for i in range(start, start + sizes[layer] * sizes[layer + 1]):
            out[i] += factor * vector[i]


@kernel
def train(
    X, y, batches, params, velocity, sizes, activation, learning_rate, momentum, alpha, trajectory
):
    """Take one heavy-ball step a row of ``batches``. ``params``, ``velocity`` are modified.

    ``batches`` (steps, batch) holds row numbers, padded with -1; ``trajectory`` (steps, n_params)
    gets the parameters before each step, or has no rows when they are not wanted.
    """
    gradient = np.empty_like(params)
    x = np.empty((batches.shape[1], X.shape[1]), X.dtype)
    labels = np.empty(batches.shape[1], y.dtype)
    for t in range(batches.shape[0]):
        if trajectory.shape[0] > 0:
            trajectory[t] = params
        rows = _batch(batches, t)
        _gather(X, y, rows, x, labels)
        n = rows.size
        loss_gradient(x[:n], labels[:n], params, sizes, activation, alpha, gradient)
        for i in range(params.size):
            velocity[i] = momentum * velocity[i] - learning_rate * gradient[i]
            params[i] += velocity[i]


@kernel
def _batch(batches, t):
    n = batches.shape[1]
    while n > 0 and batches[t, n - 1] < 0:
        n -= 1
    return batches[t, :n]


@kernel
def _relative_curvature(h, activation):
    """Return phi'' / phi' from the value of phi."""
    if activation == dense.LOGISTIC:
        return 1.0 - 2.0 * h
    if activation == dense.TANH:
        return -2.0 * h
    return 0.0


@kernel
def hessian_vector(X, y, params, direction, sizes, activation, alpha, out, first, r_first):
    """Fill ``out`` with H v for the loss of `loss_gradient`, where v is ``direction``.

    ``first`` and ``r_first`` (n, sizes[1]) get D_1 = d(loss)/d(A_1) and R D_1, from which
    `mixed_rows` has the mixed derivative with respect to any row of X.
    """
    n, last = X.shape[0], sizes.size - 2
    size = n * _hidden_width(sizes)
    hidden, deltas = np.empty(size, X.dtype), np.empty(size, X.dtype)
    r_before, r_hidden = np.empty(size, X.dtype), np.empty(size, X.dtype)  # R A and R H
    r_deltas = np.empty(size, X.dtype)
    logits, d = np.empty((n, sizes[-1]), X.dtype), np.empty((n, sizes[-1]), X.dtype)
    losses = np.empty(n, np.float64)
    dense.forward(X, params, sizes, activation, hidden, logits)
    cross_entropy(logits, y, losses, d)

    r_logits = np.empty_like(logits)
    for layer in range(last + 1):
        r_out = r_logits
        if layer < last:
            r_out = dense.hidden_layer(r_before, sizes, layer + 1, n)
        v, c = dense.weights(direction, sizes, layer), dense.bias(direction, sizes, layer)
        if layer == 0:
            np.dot(X, v, r_out)
        else:
            below = dense.hidden_layer(r_hidden, sizes, layer, n)
            r_out[:] = np.dot(below, dense.weights(params, sizes, layer))
            r_out += np.dot(dense.hidden_layer(hidden, sizes, layer, n), v)
        for i in range(n):
            for j in range(c.size):
                r_out[i, j] += c[j]
        if layer < last:
            above = dense.hidden_layer(r_hidden, sizes, layer + 1, n)
            above[:] = r_out
            h = dense.hidden_layer(hidden, sizes, layer + 1, n)
            dense.multiply_by_derivative(h, activation, above)

    # d becomes D_L = (P - Y) / n, and r_logits becomes R D_L = P * (RZ - rowsum(P * RZ)) / n
    for i in range(n):
        mean = 0.0
        for j in range(d.shape[1]):
            p = d[i, j] + (1.0 if j == y[i] else 0.0)
            mean += p * r_logits[i, j]
        for j in range(d.shape[1]):
            p = d[i, j] + (1.0 if j == y[i] else 0.0)
            r_logits[i, j] = p * (r_logits[i, j] - mean) / n
            d[i, j] /= n

    dense.backward(params, sizes, activation, hidden, d, deltas)
    for layer in range(last, 0, -1):
        r_d = dense.hidden_layer(r_deltas, sizes, layer, n)
        d_above, r_above = d, r_logits
        if layer < last:
            d_above = dense.hidden_layer(deltas, sizes, layer + 1, n)
            r_above = dense.hidden_layer(r_deltas, sizes, layer + 1, n)
        r_d[:] = np.dot(r_above, dense.weights(params, sizes, layer).T)
        r_d += np.dot(d_above, dense.weights(direction, sizes, layer).T)
        h = dense.hidden_layer(hidden, sizes, layer, n)
        dense.multiply_by_derivative(h, activation, r_d)
        d_here = dense.hidden_layer(deltas, sizes, layer, n)
        r_a = dense.hidden_layer(r_before, sizes, layer, n)
        for i in range(n):
            for j in range(h.shape[1]):
                r_d[i, j] += d_here[i, j] * _relative_curvature(h[i, j], activation) * r_a[i, j]

    for layer in range(last + 1):
        w, b = dense.weights(out, sizes, layer), dense.bias(out, sizes, layer)
        r_d, d_here = r_logits, d
        if layer < last:
            r_d = dense.hidden_layer(r_deltas, sizes, layer + 1, n)
            d_here = dense.hidden_layer(deltas, sizes, layer + 1, n)
        if layer == 0:
            np.dot(X.T, r_d, w)
            first[:] = d_here
            r_first[:] = r_d
        else:
            np.dot(dense.hidden_layer(hidden, sizes, layer, n).T, r_d, w)
            w += np.dot(dense.hidden_layer(r_hidden, sizes, layer, n).T, d_here)
        b[:] = r_d.sum(axis=0)
    _add_penalty(direction, sizes, alpha / n, out)


@kernel
def mixed_rows(params, direction, sizes, first, r_first, out):
    """Fill ``out`` with d(v . gradient)/dx for each row: R D_1 W_1' + D_1 V_1'."""
    np.dot(r_first, dense.weights(params, sizes, 0).T, out)
    out += np.dot(first, dense.weights(direction, sizes, 0).T)


@kernel
def reverse(
    X, y, slots, batches, trajectory, sizes, activation, learning_rate, momentum, alpha,
    adjoint, adjoint_velocity, dX,
):  # fmt: skip
    """Run `train` backwards over its stored trajectory. The last three arguments are modified.

    ``adjoint`` and ``adjoint_velocity`` are d(loss)/d(params) and d(loss)/d(velocity) after the
    last step, and become those before the first. ``slots[i]`` is the row of ``dX`` that gathers
    the derivative with respect to X[i], or -1 where it is not wanted.
    """
    curvature = np.empty_like(adjoint)
    batch = batches.shape[1]
    x, labels = np.empty((batch, X.shape[1]), X.dtype), np.empty(batch, y.dtype)
    first, r_first = np.empty((batch, sizes[1]), X.dtype), np.empty((batch, sizes[1]), X.dtype)
    wanted = np.empty(batch, np.int64)
    for t in range(batches.shape[0] - 1, -1, -1):
        params = trajectory[t]
        rows = _batch(batches, t)
        n = rows.size
        _gather(X, y, rows, x, labels)
        adjoint_velocity += adjoint
        hessian_vector(
            x[:n], labels[:n], params, adjoint_velocity, sizes, activation, alpha,
            curvature, first[:n], r_first[:n],
        )  # fmt: skip
        n_wanted = 0
        for i in range(n):
            if slots[rows[i]] >= 0:
                wanted[n_wanted] = i
                n_wanted += 1
        if n_wanted > 0:
            chosen = wanted[:n_wanted]
            mixed = np.empty((n_wanted, X.shape[1]), X.dtype)
            mixed_rows(params, adjoint_velocity, sizes, first[chosen], r_first[chosen], mixed)
            for i in range(n_wanted):
                slot = slots[rows[wanted[i]]]
                for j in range(X.shape[1]):
                    dX[slot, j] -= learning_rate * mixed[i, j]
        for i in range(adjoint.size):
            adjoint[i] -= learning_rate * curvature[i]
            adjoint_velocity[i] *= momentum
