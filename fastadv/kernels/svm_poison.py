"""The loss of an SVM after training, and its derivative with respect to training rows.

Biggio, Nelson and Laskov (ICML 2012, arXiv 1206.6389), section 3, in adjoint form: one solve for
all points and pixels. With S the margin support vectors and w_k = dL/df(x_k),

    [K_SS 1; 1' 0] v = [K_S,val; 1'] w
    dL/dx_c = a_c sum_k w_k K'(x_k, x_c)  -  sum_i (a_c v_i + v_c a_i) K'(x_i, x_c)

where K'(z, x) is the derivative in x: z, or 2 gamma K(z, x) (z - x). The terms in v_c, which is 0
unless x_c is itself in S, are missing from the published formula.

``rows`` (n + m, d) holds the rows that stay as they are, the clean ones and those of validation.
``K`` (n + p, n + p) is the kernel of the clean rows and the points, ``K_val`` (n + p, m) theirs
with validation. ``gamma`` 0 stands for the linear kernel.
"""

import numpy as np

from fastadv.kernels import svm
from fastadv.kernels._jit import exact_kernel, kernel


@kernel
def _dot(x, z):
    total = 0.0
    for j in range(x.size):
        total += x[j] * z[j]
    return total


@exact_kernel
def _add(factor, x, out):
    for j in range(out.size):
        out[j] += factor * x[j]


@exact_kernel
def _kernel_value(product, square, other, gamma):
    if gamma == 0.0:
        return product
    return np.exp(-gamma * max(square + other - 2.0 * product, 0.0))


@exact_kernel
def update_kernel(rows, squares, points, c, gamma, K, K_val):
    """Bring what depends on point ``c`` in ``K`` and ``K_val`` up to date. Both are modified.

    ``squares`` (n + m,) holds |x|^2 of the rows.
    """
    n, x = K.shape[0] - points.shape[0], points[c]
    square = _dot(x, x)
    for i in range(rows.shape[0]):
        value = _kernel_value(_dot(rows[i], x), square, squares[i], gamma)
        if i < n:
            K[n + c, i] = value
            K[i, n + c] = value
        else:
            K_val[n + c, i - n] = value
    for j in range(points.shape[0]):
        other = points[j]
        value = _kernel_value(_dot(other, x), square, _dot(other, other), gamma)
        K[n + c, n + j] = value
        K[n + j, n + c] = value


@exact_kernel
def hinge(K_val, y_val, a, bias, w):
    """Return the mean hinge loss of the validation rows; fill ``w`` (m,) with dL/df(x_k)."""
    m, total = y_val.size, 0.0
    for k in range(m):
        w[k] = bias
    for i in range(a.size):
        if a[i] != 0.0:
            _add(a[i], K_val[i], w)
    for k in range(m):
        slack = 1.0 - y_val[k] * w[k]
        total += max(slack, 0.0)
        w[k] = -y_val[k] / m if slack > 0.0 else 0.0
    return total / m


@exact_kernel
def adjoint(K, y, C, a, g, K_val, w, v):
    """Fill ``v`` (n + p,): minus the derivative of the loss by f at the rows that fix a and b.

    Those are S; where S is empty b lies in the middle of what two rows allow, and they count half.
    """
    total = 0.0
    for k in range(w.size):
        total += w[k]
    for i in range(v.size):
        v[i] = 0.0
    margin = svm.free_rows(y, C, a)
    if margin.size == 0:
        up, low, _ = svm.worst_pair(y, C, a, g)
        v[up] += total / 2.0
        v[low] += total / 2.0
        return
    # v sums to 1'w: all of it on the first row of S, and z what the others take from there.
    first, z = margin[0], np.empty(margin.size - 1)
    load = _dot(K_val[first], w) - total * K[first, first]
    for i in range(z.size):
        r = margin[i + 1]
        z[i] = _dot(K_val[r], w) - total * K[first, r] - load
    U, rank = svm.reduced_factor(K, margin)
    svm.solve_transposed(U, rank, z)
    svm.solve_upper(U, rank, z)
    v[first] = total
    for i in range(rank):
        v[margin[i + 1]] = z[i]
        v[first] -= z[i]


@exact_kernel
def linear_gradient(rows, points, a, v, w, held, pull, out):
    """Fill ``out`` (p, d) with the derivative of the loss for the linear kernel.

    ``pull`` (d,) keeps sum_k held_k x_k, and few w_k change in a step: both are modified.
    """
    n = a.size - points.shape[0]
    for k in range(w.size):
        if w[k] != held[k]:
            _add(w[k] - held[k], rows[n + k], pull)
            held[k] = w[k]
    total, coef = np.zeros(pull.size), np.zeros(pull.size)  # pull - sum_i v_i x_i, sum_i a_i x_i
    _add(1.0, pull, total)
    for i in range(a.size):
        x = rows[i] if i < n else points[i - n]
        if v[i] != 0.0:
            _add(-v[i], x, total)
        if a[i] != 0.0:
            _add(a[i], x, coef)
    for c in range(points.shape[0]):
        for j in range(out.shape[1]):
            out[c, j] = a[n + c] * total[j] - v[n + c] * coef[j]


@exact_kernel
def rbf_gradient(rows, points, gamma, K, K_val, a, v, w, out):
    """Fill ``out`` (p, d) with the derivative of the loss for the RBF kernel."""
    n = a.size - points.shape[0]
    for c in range(points.shape[0]):
        a_c, v_c, total, row = a[n + c], v[n + c], 0.0, out[c]
        for j in range(row.size):
            row[j] = 0.0
        for i in range(a.size):
            factor = -2.0 * gamma * (a_c * v[i] + v_c * a[i]) * K[n + c, i]
            if factor != 0.0:
                total += factor
                _add(factor, rows[i] if i < n else points[i - n], row)
        for k in range(w.size):
            factor = 2.0 * gamma * a_c * w[k] * K_val[n + c, k]
            if factor != 0.0:
                total += factor
                _add(factor, rows[n + k], row)
        _add(-total, points[c], row)


@exact_kernel
def poison_gradient(
    rows, squares, y, y_val, gamma, C, tolerance, max_rounds, points,
    last, K, K_val, a, g, v, w, held, pull, out,
):  # fmt: skip
    """Train with the points, from the last solution on; fill ``out`` (p, d) with the gradient.

    ``last`` (p, d) holds the points that ``K`` and ``K_val`` are of, ``a`` and ``g`` their solution;
    everything from there on is modified. Returns the loss, and the violation and the rounds of
    `svm.solve`.
    """
    for c in range(points.shape[0]):
        moved = False
        for j in range(points.shape[1]):
            moved |= points[c, j] != last[c, j]
            last[c, j] = points[c, j]
        if moved:
            update_kernel(rows, squares, points, c, gamma, K, K_val)
    bias, violation, rounds = svm.solve(K, y, C, tolerance, max_rounds, a, g)
    loss = hinge(K_val, y_val, a, bias, w)
    adjoint(K, y, C, a, g, K_val, w, v)
    if gamma == 0.0:
        linear_gradient(rows, points, a, v, w, held, pull, out)
    else:
        rbf_gradient(rows, points, gamma, K, K_val, a, v, w, out)
    return loss, violation, rounds
