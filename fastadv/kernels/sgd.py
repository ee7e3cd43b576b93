"""Mini-batch gradient descent with momentum.

The first layer holds most of the weights. Its matrix is cut into panels of columns, and a thread
reads and writes the same panel at every step: so it stays in that core's cache. A batch goes through

- first: the sums of the first layer, panel by panel and block of rows by block of rows;
- upper: blocks of rows go forward from there, and backward;
- step: parts of the weights gather their gradient over the whole batch and take their step.

Each number is computed by one thread in one order, whatever the number of threads: the same bits
for all.
"""

import numpy as np
from numba import prange

from fastadv.kernels import dense, sparse
from fastadv.kernels._intrinsics import add_rows, prefetch
from fastadv.kernels._jit import exact_kernel, kernel, parallel_kernel
from fastadv.kernels.loss import cross_entropy

BLOCK, DENSE_BLOCK = 32, 64  # rows of a batch, at most; a dense product wants more of them
PANEL, LANES = 64, 16  # columns, at most; and what they are a multiple of
PARTS = 16  # of each panel, in a step
STRIP = 8  # rows of the first matrix: parts of interleaved strips are equally dense
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
def _parts(n_in, tasks):
    """Return in how many parts the ``n_in`` rows of an upper layer's matrix are stepped."""
    return max(1, min(tasks, n_in // PART_ROWS))


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
def _unpack(panels, matrix):
    """Fill ``matrix`` with the columns that `_panels` has put into panels."""
    width = panels.shape[2]
    for p in range(panels.shape[0]):
        first = p * width
        for i in range(matrix.shape[0]):
            for j in range(min(width, matrix.shape[1] - first)):
                matrix[i, first + j] = panels[p, i, j]


@exact_kernel
def _first_layer(X, values, columns, starts, rows, panel, bias, x, out, first):
    """Fill ``out``, from column ``first`` on, with X[rows] times a panel, plus bias.

    ``x`` is filled with X[rows], if X is dense; the panel is then the whole matrix.
    """
    if starts.size > 0:
        total = np.empty(panel.shape[1], panel.dtype)
        m = min(total.size, bias.size - first)
        for i in range(rows.size):
            for j in range(total.size):
                total[j] = bias[first + j] if j < m else bias.dtype.type(0)
            ahead = rows[min(i + 2, rows.size - 1)]
            prefetch(columns, starts[ahead], starts[ahead + 1])
            prefetch(values, starts[ahead], starts[ahead + 1])
            add_rows(values, columns, starts[rows[i]], starts[rows[i] + 1], panel, total)
            for j in range(m):
                out[i, first + j] = total[j]
        return
    for i in range(rows.size):
        for j in range(X.shape[1]):
            x[i, j] = X[rows[i], j]
    dense.affine(x, panel, bias, out)


@exact_kernel
def _upper_layers(
    y, rows, params, sizes, activation, a, b, labels, hidden, deltas, logits, dlogits, losses, d
):
    """Take the rows ``a`` to ``b`` on from the sums of the first layer; fill ``d`` with its deltas.

    ``d`` (n_panels, batch, width) is in panels, as the first matrix is.
    """
    n = rows.size
    dense.forward_above(params, sizes, activation, hidden, logits, a, b)
    for i in range(a, b):
        labels[i] = y[rows[i]]
    cross_entropy(logits[a:b], labels[a:b], losses[a:b], dlogits[a:b])
    dense.backward_rows(params, sizes, activation, hidden, dlogits, deltas, a, b)
    first = dlogits if sizes.size == 2 else dense.hidden_layer(deltas, sizes, 1, n)
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
def _step_sparse(
    values, rows, starts, n, d, scale, learning_rate, momentum, decay, part, w, v, scratch
):
    """Step every PARTS-th strip of a panel; each piece of the batch comes column after column."""
    width, stride = d.shape[1], PARTS * STRIP
    gradient = scratch[: _over(w.shape[0], stride) * STRIP * width].reshape((-1, width))
    gradient[:] = 0
    for piece in range(_over(n, PIECE)):
        rows_of_piece = d[_piece(n, piece) : _piece(n, piece + 1)]
        piece_values, piece_rows, begins, k = values[piece], rows[piece], starts[piece], 0
        for first in range(part * STRIP, w.shape[0], stride):
            for q in range(first, min(first + STRIP, w.shape[0])):
                start, stop = begins[q], begins[q + 1]
                if start < stop:
                    add_rows(piece_values, piece_rows, start, stop, rows_of_piece, gradient[k])
                k += 1
    k = 0
    for first in range(part * STRIP, w.shape[0], stride):
        for q in range(first, min(first + STRIP, w.shape[0])):
            _heavy_ball(gradient[k], scale, learning_rate, momentum, decay, w[q], v[q])
            k += 1


@exact_kernel
def _step_bias(d, scale, learning_rate, momentum, w, v, scratch):
    gradient = scratch[: w.size]
    gradient[:] = 0
    for i in range(d.shape[0]):
        for j in range(w.size):
            gradient[j] += d[i, j]
    _heavy_ball(gradient, scale, learning_rate, momentum, d.dtype.type(0), w, v)


@exact_kernel
def _step_part(
    values, rows, starts, x, n, hidden, deltas, dlogits, d, first_w, first_v, params, velocity,
    sizes, learning_rate, momentum, alpha, task, scratch,
):  # fmt: skip
    """Step one of all parts of the weights, after a batch of ``n`` rows has gone backward."""
    last, tasks = sizes.size - 2, d.shape[0] * PARTS
    panel, part = task // PARTS, task % PARTS
    scale, decay = params.dtype.type(1.0 / n), params.dtype.type(alpha / n)
    d, w, v = d[panel, :n], first_w[panel], first_v[panel]
    if starts.size > 0:
        _step_sparse(
            values, rows, starts, n, d, scale, learning_rate, momentum, decay, part, w, v, scratch
        )
    else:
        first, end = part * w.shape[0] // PARTS, (part + 1) * w.shape[0] // PARTS
        _step_dense(x[:n], d, scale, learning_rate, momentum, decay, first, end, w, v, scratch)
    if part == 0:
        start, width = panel * d.shape[1], d.shape[1]
        b, vb = dense.bias(params, sizes, 0), dense.bias(velocity, sizes, 0)
        b, vb = b[start : start + width], vb[start : start + width]
        _step_bias(d, scale, learning_rate, momentum, b, vb, scratch)
    for layer in range(1, last + 1):
        parts = _parts(sizes[layer], tasks)
        k = _over(task * parts, tasks)  # the part, if any, whose place among the tasks is this one
        if k >= parts or k * tasks // parts != task:
            continue
        e = dlogits[:n] if layer == last else dense.hidden_layer(deltas, sizes, layer + 1, n)
        h = dense.hidden_layer(hidden, sizes, layer, n)
        w, v = dense.weights(params, sizes, layer), dense.weights(velocity, sizes, layer)
        first, end = k * w.shape[0] // parts, (k + 1) * w.shape[0] // parts
        _step_dense(h, e, scale, learning_rate, momentum, decay, first, end, w, v, scratch)
        if k == 0:
            b, vb = dense.bias(params, sizes, layer), dense.bias(velocity, sizes, layer)
            _step_bias(e, scale, learning_rate, momentum, b, vb, scratch)


@exact_kernel
def _scratch_size(sizes, batch_size, n_panels, width, is_sparse):
    """Return the most numbers that a task of a step needs."""
    rows = _over(sizes[0], PARTS)
    most = (
        _over(sizes[0], PARTS * STRIP) * STRIP * width if is_sparse else rows * (batch_size + width)
    )
    for layer in range(1, sizes.size - 1):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        parts = _parts(n_in, n_panels * PARTS)
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


@parallel_kernel
def _side_by_side(
    phase, n, X, values, columns, starts, y, rows, batch_size, params, velocity, sizes, activation,
    learning_rate, momentum, alpha, piece, t_values, t_rows, t_starts, x, labels, hidden, deltas,
    logits, dlogits, losses, d, first_w, first_v, scratch,
):  # fmt: skip
    """Run the ``n`` tasks of a phase. All phases in one prange: each costs seconds to compile."""
    for i in prange(n):
        k = np.int64(i)  # prange counts unsigned, for which every callee would be compiled again
        if phase == _TRANSPOSE:
            _transpose_piece(
                values, columns, starts, rows, batch_size, k, t_values[k], t_rows[k], t_starts[k]
            )
        elif phase == _STEP:
            _step_part(
                t_values[piece:], t_rows[piece:], t_starts[piece:], x, rows.size, hidden, deltas,
                dlogits, d, first_w, first_v, params, velocity, sizes, learning_rate, momentum,
                alpha, k, scratch[k],
            )  # fmt: skip
        else:
            m, width = rows.size, hidden.size // labels.size
            h, ds = hidden[: m * width], deltas[: m * width]
            blocks = n // first_w.shape[0] if phase == _FIRST else n
            a, b = k % blocks * m // blocks, (k % blocks + 1) * m // blocks
            if phase == _FIRST:
                sums = logits if sizes.size == 2 else dense.hidden_layer(h, sizes, 1, m)
                p = k // blocks
                _first_layer(
                    X, values, columns, starts, rows[a:b], first_w[p], dense.bias(params, sizes, 0),
                    x[a:b], sums[a:b], p * first_w.shape[2],
                )  # fmt: skip
            else:
                _upper_layers(
                    y, rows, params, sizes, activation, a, b, labels, h, ds, logits[:m],
                    dlogits[:m], losses, d,
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
    first_w, first_v = dense.weights(params, sizes, 0), dense.weights(velocity, sizes, 0)
    if is_sparse:
        width = _over(_over(sizes[1], _over(sizes[1], PANEL)), LANES) * LANES
        w, v = _panels(first_w, width), _panels(first_v, width)
    else:  # one panel, which is the matrix itself
        w, v = first_w.reshape((1, sizes[0], sizes[1])), first_v.reshape((1, sizes[0], sizes[1]))
    n_panels, width = w.shape[0], w.shape[2]
    x = np.empty((0 if is_sparse else batch_size, sizes[0]), kind)
    vectors = np.empty((2, batch_size * dense.hidden_width(sizes)), kind)
    matrices = np.empty((2, batch_size, sizes[-1]), kind)
    hidden, deltas, logits, dlogits = vectors[0], vectors[1], matrices[0], matrices[1]
    losses, labels = np.empty(batch_size, np.float64), np.empty(batch_size, y.dtype)
    d = _panels(np.zeros((batch_size, n_panels * width), kind), width)
    tasks = n_panels * PARTS
    scratch = np.empty((tasks, _scratch_size(sizes, batch_size, n_panels, width, is_sparse)), kind)
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
        for step in range(0 if is_sparse else 1, 3 * n_batches + 1):
            batch = (step - 1) // 3
            rows = group if step == 0 else group[batch * batch_size : (batch + 1) * batch_size]
            phase = _TRANSPOSE if step == 0 else _FIRST + (step - 1) % 3
            blocks = _over(rows.size, block)
            if phase == _TRANSPOSE:
                n = n_batches * pieces
            elif phase == _FIRST:
                n = n_panels * blocks
            elif phase == _UPPER:
                n = blocks
            else:
                n = tasks
            _side_by_side(
                phase, n, X, values, columns, starts, y, rows, batch_size, params, velocity, sizes,
                activation, learning_rate, momentum, alpha, batch * pieces, t_values, t_rows,
                t_starts, x, labels, hidden, deltas, logits, dlogits, losses, d, w, v, scratch,
            )  # fmt: skip
            if phase == _UPPER:
                loss += _total(losses, rows.size)
    if is_sparse:
        _unpack(w, first_w)
        _unpack(v, first_v)
    return loss
