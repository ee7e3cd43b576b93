"""The loss of an SVM after training, and its derivative with respect to training rows.

Biggio, Nelson and Laskov (ICML 2012, arXiv 1206.6389), section 3, in adjoint form: one solve for
all points and pixels. With S the margin support vectors and w_k = dL/df(x_k),

    [K_SS 1; 1' 0] v = [K_S,val; 1'] w
    dL/dx_c = a_c sum_k w_k K'(x_k, x_c)  -  sum_i (a_c v_i + v_c a_i) K'(x_i, x_c)

where K'(z, x) is the derivative in x: z, or 2 gamma K(z, x) (z - x). The terms in v_c, which is 0
unless x_c is itself in S, are missing from the published formula.

``rows`` (n + m, d) holds the rows that stay as they are, the clean ones and those of validation, as
float64 or, where that holds them too, float32: the products with them wait for memory. ``K``
(n + p, n + p) is the kernel of the clean rows and the points, ``K_val`` (n + p, m) theirs with
validation. ``gamma`` 0 stands for the linear kernel, which needs no ``K_val``: f and the products
[K_S,val w] come from the two sums sum_i a_i x_i and sum_k w_k x_k.
"""

import numpy as np

from fastadv.kernels import svm, svm_margin
from fastadv.kernels._jit import exact_kernel, kernel
from fastadv.kernels.lbfgs import dot


@exact_kernel
def _add(factor, x, out):
    for j in range(out.size):
        out[j] += factor * x[j]


@kernel
def products(rows, x, out):
    """Fill ``out`` (n,) with the products of the rows with x; four a pass over x."""
    done = out.size - out.size % 4
    for i in range(0, done, 4):
        p, q, r, s = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        at_p, at_q, at_r, at_s = 0.0, 0.0, 0.0, 0.0
        for j in range(x.size):
            at_p += p[j] * x[j]
            at_q += q[j] * x[j]
            at_r += r[j] * x[j]
            at_s += s[j] * x[j]
        out[i], out[i + 1], out[i + 2], out[i + 3] = at_p, at_q, at_r, at_s
    for i in range(done, out.size):
        out[i] = dot(rows[i], x)


@exact_kernel
def add_rows(factors, rows, points, out):
    """Add to ``out`` (d,) the sum of the factors (n + p,) times the clean rows and the points."""
    n = factors.size - points.shape[0]
    svm.add_rows(factors, np.flatnonzero(factors[:n]), rows, out)
    svm.add_rows(factors[n:], np.flatnonzero(factors[n:]), points, out)


@exact_kernel
def update_kernel(rows, squares, points, c, gamma, K, K_val):
    """Bring what depends on point ``c`` in ``K`` and ``K_val`` up to date. Both are modified.

    ``squares`` (n + m,) holds |x|^2 of the rows.
    """
    n, x = K.shape[0] - points.shape[0], points[c]
    row = K[n + c]
    products(rows[:n], x, row[:n])
    for i in range(points.shape[0]):
        row[n + i] = dot(points[i], x)
    square = row[n + c]
    if gamma > 0.0:
        products(rows[n:], x, K_val[n + c])
        _rbf(square, squares[n:], gamma, K_val[n + c])
        _rbf(square, squares[:n], gamma, row[:n])
        for i in range(points.shape[0]):
            other = dot(points[i], points[i])
            row[n + i] = np.exp(-gamma * max(square + other - 2.0 * row[n + i], 0.0))
    for i in range(K.shape[0]):
        K[i, n + c] = row[i]


@exact_kernel
def _rbf(square, others, gamma, out):
    """Make the products of x with rows in ``out`` the RBF kernel; ``square`` is |x|^2."""
    for i in range(out.size):
        out[i] = np.exp(-gamma * max(square + others[i] - 2.0 * out[i], 0.0))


@exact_kernel
def hinge(y_val, f, w):
    """Return the mean hinge loss of decision values ``f`` (m,); fill ``w`` (m,) with dL/df."""
    m, total = y_val.size, 0.0
    for k in range(m):
        slack = 1.0 - y_val[k] * f[k]
        total += max(slack, 0.0)
        w[k] = -y_val[k] / m if slack > 0.0 else 0.0
    return total / m


@exact_kernel
def adjoint(y, C, a, g, margin, inverse, load, total, v):
    """Fill ``v`` (n + p,): minus the derivative of the loss by f at the rows that fix a and b.

    Those are S; where S is empty b lies in the middle of what two rows allow, and they count half.
    For ``margin``, S, and ``inverse`` see svm_margin.py. ``load`` (n + p,) holds K_i,val w for each
    i of S, and ``total`` is 1'w.
    """
    for i in range(v.size):
        v[i] = 0.0
    m = margin[0]
    if m == 0:
        up, low, _ = svm.worst_pair(y, C, a, g)
        v[up] += total / 2.0
        v[low] += total / 2.0
        return
    right, solution = np.empty(m + 1), np.empty(m + 1)
    right[0] = total
    for i in range(1, m + 1):
        right[i] = load[margin[i]]
    svm_margin.times(inverse, right, solution)
    for i in range(1, m + 1):
        v[margin[i]] = solution[i]


@exact_kernel
def linear_pull(rows, w, held, pull):
    """Bring ``pull`` (d,), sum_k held_k x_k, up to date with ``w``; few w_k change in a step."""
    n = rows.shape[0] - w.size
    for k in range(w.size):
        if w[k] != held[k]:
            _add(w[k] - held[k], rows[n + k], pull)
            held[k] = w[k]


@exact_kernel
def linear_gradient(rows, points, a, v, coef, pull, out):
    """Fill ``out`` (p, d) with the derivative of the loss for the linear kernel.

    ``coef`` (d,) is sum_i a_i x_i.
    """
    n, total = a.size - points.shape[0], np.zeros(pull.size)
    add_rows(v, rows, points, total)
    for c in range(points.shape[0]):
        for j in range(out.shape[1]):
            out[c, j] = a[n + c] * (pull[j] - total[j]) - v[n + c] * coef[j]


@exact_kernel
def rbf_gradient(rows, points, gamma, K, K_val, a, v, w, out):
    """Fill ``out`` (p, d) with the derivative of the loss for the RBF kernel."""
    n, m = a.size - points.shape[0], w.size
    train, val, no_points = np.empty(a.size), np.empty(m), points[:0]
    for c in range(points.shape[0]):
        a_c, v_c, total, row = a[n + c], v[n + c], 0.0, out[c]
        for i in range(a.size):
            train[i] = -2.0 * gamma * (a_c * v[i] + v_c * a[i]) * K[n + c, i]
            total += train[i]
        for k in range(m):
            val[k] = 2.0 * gamma * a_c * w[k] * K_val[n + c, k]
            total += val[k]
        for j in range(row.size):
            row[j] = 0.0
        add_rows(train, rows[:n], points, row)
        add_rows(val, rows[n:], no_points, row)
        _add(-total, points[c], row)


@exact_kernel
def check_points(points, columns):
    """Return whether all values of ``points`` are finite, and whether all others than in ``columns`` are 0."""
    finite, everywhere, inside = True, 0, 0
    for c in range(points.shape[0]):
        for j in range(points.shape[1]):
            finite &= points[c, j] - points[c, j] == 0.0
            everywhere += points[c, j] != 0.0
        for j in range(columns.size):
            inside += points[c, columns[j]] != 0.0
    return finite, everywhere == inside


@exact_kernel
def take(x, columns, held):
    """Fill ``held`` with the ``columns`` of ``x``; return whether that changes it."""
    changed = False
    for j in range(columns.size):
        changed |= held[j] != x[columns[j]]
        held[j] = x[columns[j]]
    return changed


@exact_kernel
def poison_gradient(
    rows, squares, y, y_val, gamma, C, tolerance, max_rounds, points, columns,
    last, K, K_val, margin, inverse, a, g, v, w, held, pull, out,
):  # fmt: skip
    """Train with the points, from the last solution on; fill ``out`` (p, D) with the gradient.

    ``points`` (p, D) are 0 in all other columns than the d ``columns`` that the rows are made of.
    ``last`` (p, d) holds the points that ``K`` and ``K_val`` are of, ``margin``, ``inverse`` (see
    svm_margin.py), ``a`` and ``g`` their solution; everything from there on is modified. Returns the
    loss, and the violation and the rounds of `svm.solve`.
    """
    n = a.size - points.shape[0]
    for c in range(points.shape[0]):
        if take(points[c], columns, last[c]):
            svm_margin.forget(n + c, margin, inverse)
            update_kernel(rows, squares, last, c, gamma, K, K_val)
    bias, violation, rounds = svm_margin.solve_again(
        K, y, C, tolerance, max_rounds, margin, inverse, a, g
    )
    f, load, coef = np.empty(w.size), np.empty(a.size), np.zeros(pull.size)
    if gamma == 0.0:
        add_rows(a, rows[:n], last, coef)
        products(rows[n:], coef, f)
    else:
        f[:] = 0.0
        for i in range(a.size):
            if a[i] != 0.0:
                _add(a[i], K_val[i], f)
    f += bias
    loss, total = hinge(y_val, f, w), w.sum()
    gradient = np.empty(last.shape)
    if gamma == 0.0:
        linear_pull(rows, w, held, pull)
        for i in margin[1 : margin[0] + 1]:
            load[i] = dot(rows[i], pull) if i < n else dot(last[i - n], pull)
        adjoint(y, C, a, g, margin, inverse, load, total, v)
        linear_gradient(rows[:n], last, a, v, coef, pull, gradient)
    else:
        products(K_val, w, load)
        adjoint(y, C, a, g, margin, inverse, load, total, v)
        rbf_gradient(rows, last, gamma, K, K_val, a, v, w, gradient)
    out[:] = 0.0
    for c in range(points.shape[0]):
        for j in range(columns.size):
            out[c, columns[j]] = gradient[c, j]
    return loss, violation, rounds
