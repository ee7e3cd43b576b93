"""Mini-batch gradient descent with momentum.

The first layer holds most of the weights. Images are mostly zero, and are then given by their
non-zeros; the matrix is cut into panels of columns, and a thread reads and writes the same panel at
every step: so it stays in that core's cache. A batch goes through

- upper: blocks of rows go forward from the sums of the first layer, and backward;
- step: each panel gathers its gradient over the whole batch, takes its step, and sums up the next
  batch; shares of the upper layers step with it.

Both products of a panel go pixel by pixel, over batches that were transposed some at a time: then
what they read or write in no order, a row for each image, is small enough for the nearest cache.
Dense features have a phase of its own for the sums, and parts of the matrix in place of panels.

Each number is computed by one thread in one order, whatever the number of threads: the same bits
for all.
"""

import numpy as np
from numba import prange

from fastadv.kernels._jit import exact_kernel, kernel, parallel_kernel
from fastadv.kernels.linalg import sparse
from fastadv.kernels.machine.registers import add_rows, add_to_rows
from fastadv.kernels.network import dense
from fastadv.kernels.network.loss import cross_entropy

BLOCK, DENSE_BLOCK = 32, 64  # rows of a batch, at most; a dense product wants more of them
PANEL, LANES = 64, 16  # columns, at most; and what they are a multiple of
PARTS = 16  # of a matrix on dense features, in a step
STRIP = 64  # rows of the first matrix whose gradient is gathered before they step
PART_ROWS = 32  # of an upper layer, at least: BLAS packs the deltas anew for each part
PIECE = 128  # rows that are transposed together, at most: their deltas fit the L1 cache
AHEAD = 16  # pieces that are transposed at once

_TRANSPOSE, _FIRST, _UPPER, _STEP = 0, 1, 2, 3  # the phases


@exact_kernel
def _over(a, b):
    """Return a / b, rounded up."""
    return (a + b - 1) // b


@exact_kernel
def _piece(n, piece):
    """Return where a piece of a batch of ``n`` rows begins, which is where the one before ends."""
    return piece * n // _over(n, PIECE)


@exact_kernel
def _panel_width(n, threads):
    """Return the columns of a panel of ``n``: few enough that each thread gets equally many panels."""
    count = min(_over(_over(n, PANEL), threads) * threads, _over(n, LANES))
    return _over(_over(n, count), LANES) * LANES


@exact_kernel
def _panels(matrix, width):
    """Return the columns of ``matrix`` in panels, (n_panels, rows, width), padded with zeros.

    Each panel starts on a cache line of its own.
    """
    n, m = matrix.shape
    count = _over(m, width)
    panels = sparse.aligned(count * n, width, matrix.dtype).reshape((count, n, width))
    for p in range(count):
        first = p * width
        for i in range(n):
            for j in range(width):
                panels[p, i, j] = matrix[i, first + j] if first + j < m else 0
    return panels


@exact_kernel
def _from_panels(panels, a, b, out):
    """Fill the rows ``a`` to ``b`` of ``out`` (n, m) from its `_panels`."""
    width = panels.shape[2]
    for p in range(panels.shape[0]):
        for i in range(a, b):
            for j in range(min(width, out.shape[1] - p * width)):
                out[i, p * width + j] = panels[p, i, j]


@exact_kernel
def _first_sparse(values, rows, starts, n, panel, bias, out):
    """Fill ``out`` (n, width) with a batch, which comes pixel by pixel, times a panel, plus bias."""
    for i in range(n):
        for j in range(bias.size):  # there is nothing but zeros beyond
            out[i, j] = bias[j]
    for piece in range(_over(n, PIECE)):
        sums = out[_piece(n, piece) : _piece(n, piece + 1)]
        begins = starts[piece]
        for q in range(panel.shape[0]):
            add_to_rows(values[piece], rows[piece], begins[q], begins[q + 1], panel[q], sums)


@exact_kernel
def _first_dense(X, rows, matrix, bias, x, out):
    """Fill ``x`` with X[rows], and ``out`` with that times the matrix, plus bias."""
    for i in range(rows.size):
        for j in range(X.shape[1]):
            x[i, j] = X[rows[i], j]
    dense.affine(x, matrix, bias, out)


@exact_kernel
def _upper_layers(
    y, rows, params, sizes, activation, a, b, labels, sums, hidden, deltas, logits, dlogits, losses,
    d,
):  # fmt: skip
    """Take the rows ``a`` to ``b`` on from the sums of the first layer; fill ``d`` with its deltas.

    ``sums`` and ``d`` (n_panels, batch, width) are in panels, as the first matrix is.
    """
    n = rows.size
    _from_panels(sums, a, b, dense.layer_of(hidden, logits, sizes, 1, n))
    dense.forward_above(params, sizes, activation, hidden, logits, a, b)
    for i in range(a, b):
        labels[i] = y[rows[i]]
    cross_entropy(logits[a:b], labels[a:b], losses[a:b], dlogits[a:b])
    dense.backward_rows(params, sizes, activation, hidden, dlogits, deltas, a, b)
    first = dense.layer_of(deltas, dlogits, sizes, 1, n)
    width = d.shape[2]
    for p in range(d.shape[0]):
        for i in range(a, b):
            for j in range(min(width, sizes[1] - p * width)):
                d[p, i, j] = first[i, p * width + j]


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
def _step_sparse(values, rows, starts, n, d, scale, learning_rate, momentum, decay, w, v, scratch):
    """Step a panel; the batch comes pixel by pixel."""
    gradient = scratch[: STRIP * w.shape[1]].reshape((STRIP, w.shape[1]))
    for first in range(0, w.shape[0], STRIP):
        end = min(first + STRIP, w.shape[0])
        gradient[:] = 0
        for piece in range(_over(n, PIECE)):
            rows_of_piece = d[_piece(n, piece) : _piece(n, piece + 1)]
            begins = starts[piece]
            for q in range(first, end):
                start, stop = begins[q], begins[q + 1]
                if start < stop:
                    out = gradient[q - first]
                    add_rows(values[piece], rows[piece], start, stop, rows_of_piece, out)
        for q in range(first, end):
            _heavy_ball(gradient[q - first], scale, learning_rate, momentum, decay, w[q], v[q])


@exact_kernel
def _step_bias(d, scale, learning_rate, momentum, w, v, scratch):
    gradient = scratch[: w.size]
    dense.sum_rows(d, gradient)
    _heavy_ball(gradient, scale, learning_rate, momentum, d.dtype.type(0), w, v)


@exact_kernel
def _step_task(
    values, rows, starts, x, n, hidden, deltas, dlogits, d, first_w, first_v, params, velocity,
    sizes, learning_rate, momentum, alpha, task, tasks, scratch,
):  # fmt: skip
    """Step one of the ``tasks`` shares of the weights, after a batch of ``n`` rows went backward.

    Of the first matrix that is a panel or, where features are dense, a part of it.
    """
    scale, decay = params.dtype.type(1.0 / n), params.dtype.type(alpha / n)
    is_sparse = starts.size > 0
    panel = task if is_sparse else 0
    e, w, v = d[panel, :n], first_w[panel], first_v[panel]
    if is_sparse:
        _step_sparse(
            values, rows, starts, n, e, scale, learning_rate, momentum, decay, w, v, scratch
        )
    else:
        first, end = task * w.shape[0] // tasks, (task + 1) * w.shape[0] // tasks
        _step_dense(x[:n], e, scale, learning_rate, momentum, decay, first, end, w, v, scratch)
    if is_sparse or task == 0:
        b, vb = _panel_bias(params, sizes, panel, w), _panel_bias(velocity, sizes, panel, w)
        _step_bias(e, scale, learning_rate, momentum, b, vb, scratch)
    for layer in range(1, sizes.size - 1):
        e = dense.layer_of(deltas, dlogits[:n], sizes, layer + 1, n)
        h = dense.hidden_layer(hidden, sizes, layer, n)
        w, v = dense.weights(params, sizes, layer), dense.weights(velocity, sizes, layer)
        parts = max(1, w.shape[0] // PART_ROWS)
        for k in range(_over(task * parts, tasks), _over((task + 1) * parts, tasks)):
            first, end = k * w.shape[0] // parts, (k + 1) * w.shape[0] // parts
            _step_dense(h, e, scale, learning_rate, momentum, decay, first, end, w, v, scratch)
        if task == 0:
            b, vb = dense.bias(params, sizes, layer), dense.bias(velocity, sizes, layer)
            _step_bias(e, scale, learning_rate, momentum, b, vb, scratch)


@exact_kernel
def _panel_bias(vector, sizes, panel, w):
    """Return the first layer's biases of a panel ``w``: a view."""
    width = w.shape[1]
    return dense.bias(vector, sizes, 0)[panel * width : (panel + 1) * width]


@exact_kernel
def _scratch_size(sizes, batch_size, width, is_sparse):
    """Return the most numbers that a task of a step needs."""
    most = STRIP * width if is_sparse else _over(sizes[0], PARTS) * (batch_size + width)
    for layer in range(1, sizes.size - 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        parts = max(1, n_in // PART_ROWS)
        most = max(most, _over(n_in, parts) * (batch_size + n_out), n_out)
    return max(most, width)


@exact_kernel
def _total(values, n):
    total = 0.0
    for i in range(n):
        total += values[i]
    return total


@exact_kernel
def _transpose_piece(values, columns, starts, rows, batch_size, k, t_values, t_rows, t_starts):
    """Transpose piece ``k`` of the batches in ``rows``, each of which has room for equally many."""
    most = _over(batch_size, PIECE)
    batch, piece = k // most, k % most
    rows = rows[batch * batch_size : (batch + 1) * batch_size]
    n = rows.size
    if piece < _over(n, PIECE):
        chosen = rows[_piece(n, piece) : _piece(n, piece + 1)]
        sparse.transpose(values, columns, starts, chosen, t_values, t_rows, t_starts)


@exact_kernel
def _task(
    k, phase, n, X, values, columns, starts, y, rows, n_next, batch_size, params, velocity, sizes,
    activation, learning_rate, momentum, alpha, piece, t_values, t_rows, t_starts, x, labels, sums,
    hidden, deltas, logits, dlogits, losses, d, first_w, first_v, scratch,
):  # fmt: skip
    """Run task ``k`` of the ``n`` of a phase.

    ``piece`` is the first of the batch ``rows``, which ``n_next`` rows follow.
    """
    m = rows.size
    if phase == _TRANSPOSE:
        _transpose_piece(
            values, columns, starts, rows, batch_size, k, t_values[k], t_rows[k], t_starts[k]
        )
    elif phase == _FIRST and starts.size > 0:
        _first_sparse(
            t_values[piece:], t_rows[piece:], t_starts[piece:], m, first_w[k],
            _panel_bias(params, sizes, k, first_w[k]), sums[k],
        )  # fmt: skip
    elif phase == _STEP:
        _step_task(
            t_values[piece:], t_rows[piece:], t_starts[piece:], x, m, hidden, deltas, dlogits,
            d, first_w, first_v, params, velocity, sizes, learning_rate, momentum, alpha, k, n,
            scratch[k],
        )  # fmt: skip
        if starts.size > 0 and n_next > 0:
            following = piece + _over(batch_size, PIECE)
            _first_sparse(
                t_values[following:], t_rows[following:], t_starts[following:], n_next,
                first_w[k], _panel_bias(params, sizes, k, first_w[k]), sums[k],
            )  # fmt: skip
    else:
        a, b = k * m // n, (k + 1) * m // n
        if phase == _FIRST:
            bias = dense.bias(params, sizes, 0)
            _first_dense(X, rows[a:b], first_w[0], bias, x[a:b], sums[0, a:b])
        else:
            size = hidden.size // labels.size * m
            _upper_layers(
                y, rows, params, sizes, activation, a, b, labels, sums, hidden[:size],
                deltas[:size], logits[:m], dlogits[:m], losses, d,
            )  # fmt: skip


@parallel_kernel
def _side_by_side(
    phase, n, X, values, columns, starts, y, rows, n_next, batch_size, params, velocity, sizes,
    activation, learning_rate, momentum, alpha, piece, t_values, t_rows, t_starts, x, labels, sums,
    hidden, deltas, logits, dlogits, losses, d, first_w, first_v, scratch,
):  # fmt: skip
    """Run the ``n`` tasks of a phase. All phases in one prange: each costs seconds to compile."""
    for i in prange(n):
        k = np.int64(i)  # prange counts unsigned, for which every callee would be compiled again
        _task(
            k, phase, n, X, values, columns, starts, y, rows, n_next, batch_size, params, velocity,
            sizes, activation, learning_rate, momentum, alpha, piece, t_values, t_rows, t_starts, x,
            labels, sums, hidden, deltas, logits, dlogits, losses, d, first_w, first_v, scratch,
        )  # fmt: skip


@exact_kernel
def _one_by_one(
    phase, n, X, values, columns, starts, y, rows, n_next, batch_size, params, velocity, sizes,
    activation, learning_rate, momentum, alpha, piece, t_values, t_rows, t_starts, x, labels, sums,
    hidden, deltas, logits, dlogits, losses, d, first_w, first_v, scratch,
):  # fmt: skip
    """Run the ``n`` tasks of a phase in the calling thread, without Numba's threads."""
    for k in range(n):
        _task(
            k, phase, n, X, values, columns, starts, y, rows, n_next, batch_size, params, velocity,
            sizes, activation, learning_rate, momentum, alpha, piece, t_values, t_rows, t_starts, x,
            labels, sums, hidden, deltas, logits, dlogits, losses, d, first_w, first_v, scratch,
        )  # fmt: skip


@exact_kernel
def epoch(
    X, values, columns, starts, y, order, batch_size, params, velocity, sizes, activation,
    rates, momentum, alpha, threads,
):  # fmt: skip
    """Run once over ``X[order]`` in batches, the k-th at ``rates[k]``.

    ``params`` and ``velocity`` are modified in place.

    X is given either dense, with empty ``starts``, or by its non-zeros (see `sparse`), and is then
    (0, d). Returns the sum over samples of the cross-entropy before each step, as float64; the
    penalty ``alpha`` |W|^2 / (2 batch) is not counted in it. The number of ``threads`` decides on the
    panels, not on any bit; with one, Numba's threads are neither started nor called.
    """
    kind, is_sparse = params.dtype, starts.size > 0
    first_w, first_v = dense.weights(params, sizes, 0), dense.weights(velocity, sizes, 0)
    if is_sparse:
        width = _panel_width(sizes[1], threads)
        w, v = _panels(first_w, width), _panels(first_v, width)
    else:  # one panel, which is the matrix itself
        w, v = first_w.reshape((1, sizes[0], sizes[1])), first_v.reshape((1, sizes[0], sizes[1]))
    n_panels, width = w.shape[0], w.shape[2]
    x = np.empty((0 if is_sparse else batch_size, sizes[0]), kind)
    vectors = np.empty((2, batch_size * dense.hidden_width(sizes)), kind)
    matrices = np.empty((2, batch_size, sizes[-1]), kind)
    hidden, deltas, logits, dlogits = vectors[0], vectors[1], matrices[0], matrices[1]
    losses, labels = np.empty(batch_size, np.float64), np.empty(batch_size, y.dtype)
    nothing = np.zeros((batch_size, n_panels * width), kind)
    sums, d = _panels(nothing, width), _panels(nothing, width)
    tasks = n_panels if is_sparse else PARTS
    scratch = np.empty((tasks, _scratch_size(sizes, batch_size, width, is_sparse)), kind)
    pieces = _over(batch_size, PIECE)  # of a batch
    ahead = max(AHEAD // pieces, 1) if is_sparse else 1  # batches that are transposed at once
    most = min(batch_size, PIECE) * sparse.longest(starts)
    t_values, t_rows = (
        np.empty((ahead * pieces, most), kind),
        np.empty((ahead * pieces, most), np.uint16),
    )
    t_starts = np.empty((ahead * pieces, sizes[0] + 1 if is_sparse else 0), np.int64)
    block, loss = BLOCK if is_sparse else DENSE_BLOCK, 0.0
    for start in range(0, order.size, ahead * batch_size):
        group = order[start : start + ahead * batch_size]
        n_batches = _over(group.size, batch_size)
        for turn in range(0 if is_sparse else 1, 3 * n_batches + 1):
            phase = _TRANSPOSE if turn == 0 else _FIRST + (turn - 1) % 3
            batch = (turn - 1) // 3
            if is_sparse and phase == _FIRST and batch > 0:
                continue  # the step before has summed up this batch, too
            first, last = batch * batch_size, (batch + 1) * batch_size
            rows = group if phase == _TRANSPOSE else group[first:last]
            rate = rates[start // batch_size + max(batch, 0)]
            if phase == _TRANSPOSE:
                n = n_batches * pieces
            elif phase == _STEP or (is_sparse and phase == _FIRST):
                n = tasks
            else:
                n = _over(rows.size, block)
            arguments = (
                phase, n, X, values, columns, starts, y, rows,
                min(max(group.size - last, 0), batch_size), batch_size, params, velocity, sizes,
                activation, rate, momentum, alpha, max(batch, 0) * pieces, t_values, t_rows,
                t_starts, x, labels, sums, hidden, deltas, logits, dlogits, losses, d, w, v, scratch,
            )  # fmt: skip
            if threads == 1:
                _one_by_one(*arguments)
            else:
                _side_by_side(*arguments)
            if phase == _UPPER:
                loss += _total(losses, rows.size)
    if is_sparse:
        _from_panels(w, 0, sizes[0], first_w)
        _from_panels(v, 0, sizes[0], first_v)
    return loss
