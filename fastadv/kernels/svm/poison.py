"""The loss of an SVM after training, and its derivative with respect to training rows.

Biggio, Nelson and Laskov (ICML 2012, arXiv 1206.6389), section 3, in adjoint form: one solve for
all points and pixels. With S the margin support vectors and w_k = dL/df(x_k),

    [K_SS 1; 1' 0] v = [K_S,val; 1'] w
    dL/dx_c = a_c sum_k w_k K'(x_k, x_c)  -  sum_i (a_c v_i + v_c a_i) K'(x_i, x_c)

where K'(z, x) is the derivative in x: z, or 2 gamma K(z, x) (z - x). The terms in v_c, which is 0
unless x_c is itself in S, are missing from the published formula.

The clean rows ``clean`` (n, d) and those of validation ``val`` (m, d) are in the form of blocks.py,
float64 or, where that holds them too, float32: the products with them wait for memory. ``K``
(n + p, n + p) is the kernel of the clean rows and the points, ``K_val`` (n + p, m) theirs with
validation. ``gamma`` 0 stands for the linear kernel, which needs no ``K_val``: f and the products
[K_S,val w] come from the two sums sum_i a_i x_i and sum_k w_k x_k.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.linalg import blocks
from fastadv.kernels.linalg.lbfgs import dot
from fastadv.kernels.svm import dual, retrain


@exact_kernel
def _add(factor, x, out):
    for j in range(out.size):
        out[j] += factor * x[j]


@exact_kernel
def add_rows(factors, clean, points, out):
    """Add to ``out`` the sum of the factors (n + p,) times the clean rows and the points."""
    n = factors.size - points.shape[0]
    for i in range(n):
        if factors[i] != 0.0:
            blocks.add(factors[i], clean, i, out)
    for c in range(points.shape[0]):
        if factors[n + c] != 0.0:
            _add(factors[n + c], points[c], out)


@exact_kernel
def fill_kernel(clean, val, width, gamma, squares, K, K_val):
    """Fill what depends on the clean rows alone in ``K`` and ``K_val``, and ``squares`` (n + m,).

    Those are |x|^2 of the clean rows and of validation, which the linear kernel needs not. ``width``
    is d in whole blocks.
    """
    values, columns, starts = clean
    n, x = starts.size - 1, np.empty(width)
    if gamma > 0.0:
        blocks.squares(clean, squares[:n])
        blocks.squares(val, squares[n:])
    for i in range(n):
        x[:] = 0.0
        blocks.add(1.0, clean, i, x)
        row = K[i, i:n]
        blocks.products((values, columns, starts[i:]), x, row)
        if gamma > 0.0:
            _rbf(squares[i], squares[i:n], gamma, row)
            blocks.products(val, x, K_val[i])
            _rbf(squares[i], squares[n:], gamma, K_val[i])
        for j in range(i, n):
            K[j, i] = K[i, j]


@exact_kernel
def update_kernel(clean, val, squares, points, c, gamma, K, K_val):
    """Bring what depends on point ``c`` in ``K`` and ``K_val`` up to date. Both are modified.

    ``squares`` (n + m,) holds |x|^2 of the rows.
    """
    n, x = K.shape[0] - points.shape[0], points[c]
    row = K[n + c]
    blocks.products(clean, x, row[:n])
    for i in range(points.shape[0]):
        row[n + i] = dot(points[i], x)
    square = row[n + c]
    if gamma > 0.0:
        blocks.products(val, x, K_val[n + c])
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
def adjoint(K, y, C, a, g, margin, inverse, load, total, v):
    """Fill ``v`` (n + p,): minus the derivative of the loss by f at the rows that fix a and b.

    Those are S; where S is empty b lies in the middle of what two rows allow, and they count half.
    For ``margin``, S, and ``inverse`` see retrain.py. ``load`` (n + p,) holds K_i,val w for each
    i of S, and ``total`` is 1'w.
    """
    for i in range(v.size):
        v[i] = 0.0
    if margin[0] == 0:
        up, low, _ = dual.worst_pair(y, C, a, g)
        v[up] += total / 2.0
        v[low] += total / 2.0
        return
    residual = -load
    for _ in range(2):
        retrain.meet(K, margin, inverse, total, v, residual)


@exact_kernel
def linear_pull(val, w, held, pull):
    """Bring ``pull``, sum_k held_k x_k, up to date with ``w``; few w_k change in a step."""
    for k in range(w.size):
        if w[k] != held[k]:
            blocks.add(w[k] - held[k], val, k, pull)
            held[k] = w[k]


@exact_kernel
def linear_gradient(clean, points, a, v, coef, pull, out):
    """Fill ``out`` (p, d) with the derivative of the loss for the linear kernel.

    ``coef`` is sum_i a_i x_i.
    """
    n, total = a.size - points.shape[0], np.zeros(pull.size)
    add_rows(v, clean, points, total)
    for c in range(points.shape[0]):
        for j in range(out.shape[1]):
            out[c, j] = a[n + c] * (pull[j] - total[j]) - v[n + c] * coef[j]


@exact_kernel
def rbf_gradient(clean, val, points, gamma, K, K_val, a, v, w, out):
    """Fill ``out`` (p, d) with the derivative of the loss for the RBF kernel."""
    n, m = a.size - points.shape[0], w.size
    of_train, of_val, no_points = np.empty(a.size), np.empty(m), points[:0]
    for c in range(points.shape[0]):
        a_c, v_c, total, row = a[n + c], v[n + c], 0.0, np.zeros(points.shape[1])
        for i in range(a.size):
            of_train[i] = -2.0 * gamma * (a_c * v[i] + v_c * a[i]) * K[n + c, i]
            total += of_train[i]
        for k in range(m):
            of_val[k] = 2.0 * gamma * a_c * w[k] * K_val[n + c, k]
            total += of_val[k]
        add_rows(of_train, clean, points, row)
        add_rows(of_val, val, no_points, row)
        _add(-total, points[c], row)
        out[c] = row[: out.shape[1]]


@exact_kernel
def _finite(points):
    finite = True
    for c in range(points.shape[0]):
        for j in range(points.shape[1]):
            finite &= abs(points[c, j]) < np.inf
    return finite


@exact_kernel
def take(x, held):
    """Copy ``x`` to the head of ``held``; return whether that changes it."""
    changed = False
    for j in range(x.size):
        changed |= held[j] != x[j]
        held[j] = x[j]
    return changed


@exact_kernel
def poison_gradient(
    clean, val, squares, y, y_val, gamma, C, tolerance, max_rounds, points,
    last, K, K_val, margin, inverse, a, g, v, w, held, pull, out,
):  # fmt: skip
    """Train with the ``points`` (p, d), from the last solution on; fill ``out`` with the gradient.

    ``last`` (p, d in whole blocks) holds the points that ``K`` and ``K_val`` are of, ``margin``,
    ``inverse`` (see retrain.py), ``a`` and ``g`` their solution; everything from there on is
    modified. Returns the loss, and the violation and the rounds of `dual.solve`. If a point is not
    finite nothing is done, and the loss is NaN.
    """
    if not _finite(points):
        return np.nan, np.nan, 0
    n = a.size - points.shape[0]
    for c in range(points.shape[0]):
        if take(points[c], last[c]):
            retrain.forget(n + c, margin, inverse)
            update_kernel(clean, val, squares, last, c, gamma, K, K_val)
    bias, violation, rounds = retrain.solve_again(
        K, y, C, tolerance, max_rounds, margin, inverse, a, g
    )
    f, load, coef = np.empty(w.size), np.empty(a.size), np.zeros(pull.size)
    if gamma == 0.0:
        add_rows(a, clean, last, coef)
        blocks.products(val, coef, f)
    else:
        f[:] = 0.0
        for i in range(a.size):
            if a[i] != 0.0:
                _add(a[i], K_val[i], f)
    f += bias
    loss, total = hinge(y_val, f, w), w.sum()
    if gamma == 0.0:
        linear_pull(val, w, held, pull)
        for i in margin[1 : margin[0] + 1]:
            load[i] = blocks.product(clean, i, pull) if i < n else dot(last[i - n], pull)
        adjoint(K, y, C, a, g, margin, inverse, load, total, v)
        linear_gradient(clean, last, a, v, coef, pull, out)
    else:
        for i in margin[1 : margin[0] + 1]:
            load[i] = dot(K_val[i], w)
        adjoint(K, y, C, a, g, margin, inverse, load, total, v)
        rbf_gradient(clean, val, last, gamma, K, K_val, a, v, w, out)
    return loss, violation, rounds
