"""Mini-batch gradient descent with momentum.

A batch is cut twice. Its rows, in blocks, go forward and backward; then the rows of each weight
matrix, in parts, gather their gradient over the whole batch and take their step. Each number is
computed by one thread in one order, whatever the number of threads: the same bits for all.
"""

import numpy as np
from numba import prange

from fastadv.kernels import dense, sparse
from fastadv.kernels._intrinsics import add_rows
from fastadv.kernels._jit import exact_kernel, kernel, parallel_kernel
from fastadv.kernels.loss import cross_entropy

BLOCK, DENSE_BLOCK = 32, 64  # rows of a batch, at most; a dense product wants more of them
PARTS = 16  # of the weights
STRIP = 8  # rows of the first matrix: parts of interleaved strips are equally dense
AHEAD = 16  # batches that are transposed at once

_TRANSPOSE, _FORWARD_BACKWARD, _STEP = 0, 1, 2  # the phases of training
_PART_SIZE = 4096  # weights at least in a part of an upper layer


@exact_kernel
def _first_layer(X, values, columns, starts, rows, w, b, x, out):
    """Fill ``out`` with X[rows] W + b; and ``x`` with X[rows], if X is dense."""
    if starts.size > 0:
        for i in range(rows.size):
            for j in range(b.size):
                out[i, j] = b[j]
            add_rows(values, columns, starts[rows[i]], starts[rows[i] + 1], w, out[i])
        return
    for i in range(rows.size):
        for j in range(X.shape[1]):
            x[i, j] = X[rows[i], j]
    dense.affine(x, w, b, out)


@exact_kernel
def _forward_backward(
    X, values, columns, starts, y, rows, params, sizes, activation, block, n_blocks,
    x, labels, hidden, deltas, logits, dlogits, losses,
):  # fmt: skip
    """Fill the rows of block ``block`` in the last six, whose other rows are other blocks'."""
    n, width = rows.size, hidden.size // labels.size
    a, b = block * n // n_blocks, (block + 1) * n // n_blocks
    hidden, deltas, logits, dlogits = (
        hidden[: n * width],
        deltas[: n * width],
        logits[:n],
        dlogits[:n],
    )
    first = logits if sizes.size == 2 else dense.hidden_layer(hidden, sizes, 1, n)
    w, bias = dense.weights(params, sizes, 0), dense.bias(params, sizes, 0)
    _first_layer(X, values, columns, starts, rows[a:b], w, bias, x[a:b], first[a:b])
    dense.forward_above(params, sizes, activation, hidden, logits, a, b)
    for i in range(a, b):
        labels[i] = y[rows[i]]
    cross_entropy(logits[a:b], labels[a:b], losses[a:b], dlogits[a:b])
    dense.backward_rows(params, sizes, activation, hidden, dlogits, deltas, a, b)


@kernel
def _heavy_ball(gradient, scale, learning_rate, momentum, decay, w, v):
    """Take a step: v = mu v - r g; w += v. ``w`` and ``v`` are modified in place."""
    for j in range(w.size):
        v[j] = momentum * v[j] - learning_rate * (scale * gradient[j] + decay * w[j])
        w[j] += v[j]


@exact_kernel
def _step_dense(h, d, scale, learning_rate, momentum, decay, first, last, w, v, scratch):
    """Step the rows ``first`` to ``last`` of a matrix, whose gradient is h' d."""
    n, m, width = last - first, d.shape[1], h.shape[0]
    part = scratch[: width * n].reshape((width, n))
    gradient = scratch[width * n : width * n + n * m].reshape((n, m))
    for i in range(width):
        for j in range(n):
            part[i, j] = h[i, first + j]
    np.dot(part.T, d, gradient)
    for q in range(n):
        _heavy_ball(gradient[q], scale, learning_rate, momentum, decay, w[first + q], v[first + q])


@exact_kernel
def _step_sparse(
    values, rows, starts, d, scale, learning_rate, momentum, decay, part, w, v, scratch
):
    """Step every PARTS-th strip of the first matrix; the batch comes column after column."""
    gradient = scratch[: d.shape[1]]
    for first in range(part * STRIP, w.shape[0], PARTS * STRIP):
        for q in range(first, min(first + STRIP, w.shape[0])):
            for j in range(gradient.size):
                gradient[j] = 0
            add_rows(values, rows, starts[q], starts[q + 1], d, gradient)
            _heavy_ball(gradient, scale, learning_rate, momentum, decay, w[q], v[q])


@exact_kernel
def _step_bias(d, scale, learning_rate, momentum, w, v, scratch):
    gradient = scratch[: d.shape[1]]
    for j in range(gradient.size):
        gradient[j] = 0
    for i in range(d.shape[0]):
        for j in range(gradient.size):
            gradient[j] += d[i, j]
    _heavy_ball(gradient, scale, learning_rate, momentum, scale * 0, w, v)


@exact_kernel
def _step_part(
    values, rows, starts, x, n, hidden, deltas, dlogits, params, velocity, sizes,
    learning_rate, momentum, alpha, part, scratch,
):  # fmt: skip
    """Step part ``part`` of all weights, after a batch of ``n`` rows has gone backward."""
    last, width = sizes.size - 2, hidden.size // dlogits.shape[0]
    hidden, deltas, dlogits = hidden[: n * width], deltas[: n * width], dlogits[:n]
    scale, decay = params.dtype.type(1.0 / n), params.dtype.type(alpha / n)
    for layer in range(last + 1):
        d = dlogits if layer == last else dense.hidden_layer(deltas, sizes, layer + 1, n)
        w, v = dense.weights(params, sizes, layer), dense.weights(velocity, sizes, layer)
        parts = PARTS if layer == 0 else max(1, min(PARTS, w.size // _PART_SIZE))
        k = (part + layer) % PARTS  # small layers go to parts of their own
        if k < parts and layer == 0 and starts.size > 0:
            _step_sparse(
                values, rows, starts, d, scale, learning_rate, momentum, decay, k, w, v, scratch
            )
        elif k < parts:
            h = x[:n] if layer == 0 else dense.hidden_layer(hidden, sizes, layer, n)
            first, end = k * w.shape[0] // parts, (k + 1) * w.shape[0] // parts
            _step_dense(h, d, scale, learning_rate, momentum, decay, first, end, w, v, scratch)
        if k == 0:
            b, vb = dense.bias(params, sizes, layer), dense.bias(velocity, sizes, layer)
            _step_bias(d, scale, learning_rate, momentum, b, vb, scratch)


@exact_kernel
def _scratch_size(sizes, batch_size):
    """Return the most numbers that a part of the weights needs."""
    most = 0
    for layer in range(sizes.size - 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        parts = PARTS if layer == 0 else max(1, min(PARTS, n_in * n_out // _PART_SIZE))
        most = max(most, (n_in // parts + 1) * (batch_size + n_out), n_out)
    return most


@exact_kernel
def _longest(starts):
    most = 0
    for i in range(starts.size - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@exact_kernel
def _total(values, n):
    total = 0.0
    for i in range(n):
        total += values[i]
    return total


@parallel_kernel
def _side_by_side(
    phase, n, X, values, columns, starts, y, rows, batch_size, params, velocity, sizes, activation,
    learning_rate, momentum, alpha, batch, t_values, t_rows, t_starts, x, labels, hidden, deltas,
    logits, dlogits, losses, scratch,
):  # fmt: skip
    """Run the ``n`` pieces of a phase. All phases in one prange: each costs seconds to compile."""
    for i in prange(n):
        k = np.int64(i)  # prange counts unsigned, for which every callee would be compiled again
        if phase == _TRANSPOSE:
            chosen = rows[k * batch_size : (k + 1) * batch_size]
            sparse.transpose(values, columns, starts, chosen, t_values[k], t_rows[k], t_starts[k])
        elif phase == _FORWARD_BACKWARD:
            _forward_backward(
                X, values, columns, starts, y, rows, params, sizes, activation, k, n,
                x, labels, hidden, deltas, logits, dlogits, losses,
            )  # fmt: skip
        else:
            _step_part(
                t_values[batch], t_rows[batch], t_starts[batch], x, rows.size, hidden, deltas,
                dlogits, params, velocity, sizes, learning_rate, momentum, alpha, k, scratch[k],
            )  # fmt: skip


@exact_kernel
def epoch(
    X, values, columns, starts, y, order, batch_size, params, velocity, sizes, activation,
    learning_rate, momentum, alpha,
):  # fmt: skip
    """Run once over ``X[order]`` in batches. ``params`` and ``velocity`` are modified in place.

    X is given either dense, with empty ``starts``, or by its non-zeros (see `sparse`), and is then
    (0, d). Returns the sum over samples of the cross-entropy before each step, as float64; the
    penalty ``alpha`` |W|^2 / (2 batch) is not counted in it.
    """
    kind, is_sparse = params.dtype, starts.size > 0
    x = np.empty((0 if is_sparse else batch_size, sizes[0]), kind)
    vectors = np.empty((2, batch_size * dense.hidden_width(sizes)), kind)
    matrices = np.empty((2, batch_size, sizes[-1]), kind)
    hidden, deltas, logits, dlogits = vectors[0], vectors[1], matrices[0], matrices[1]
    losses, labels = np.empty(batch_size, np.float64), np.empty(batch_size, y.dtype)
    scratch = np.empty((PARTS, _scratch_size(sizes, batch_size)), kind)
    ahead, most = AHEAD if is_sparse else 1, batch_size * _longest(starts)
    t_values, t_rows = np.empty((ahead, most), kind), np.empty((ahead, most), np.uint16)
    t_starts = np.empty((ahead, sizes[0] + 1 if is_sparse else 0), np.int64)
    block, loss = BLOCK if is_sparse else DENSE_BLOCK, 0.0
    for start in range(0, order.size, ahead * batch_size):
        group = order[start : start + ahead * batch_size]
        n_batches = (group.size + batch_size - 1) // batch_size
        for step in range(0 if is_sparse else 1, 2 * n_batches + 1):
            batch = (step - 1) // 2
            rows = group if step == 0 else group[batch * batch_size : (batch + 1) * batch_size]
            phase, n = _STEP, PARTS
            if step == 0:
                phase, n = _TRANSPOSE, n_batches
            elif step % 2 == 1:
                phase, n = _FORWARD_BACKWARD, (rows.size + block - 1) // block
            _side_by_side(
                phase, n, X, values, columns, starts, y, rows, batch_size, params, velocity, sizes,
                activation, learning_rate, momentum, alpha, batch, t_values, t_rows, t_starts, x,
                labels, hidden, deltas, logits, dlogits, losses, scratch,
            )  # fmt: skip
            if phase == _FORWARD_BACKWARD:
                loss += _total(losses, rows.size)
    return loss
