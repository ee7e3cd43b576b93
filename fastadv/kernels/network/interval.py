"""Interval bounds of a perceptron: what its layers can be when the input is anywhere in a box.

A box of centre c and radius r becomes one of centre c W + b and radius r |W| (Gowal et al. 2018,
section 3). The vectors ``lower`` and ``upper`` hold the boxes of n rows, layer after layer: the
image, then each hidden layer; ``centre`` and ``radius`` likewise.

The bounds are exact kernels, without fast-math: they are proofs. ``unit`` is the rounding unit of
the arithmetic in which the network itself runs; its rounding errors are a widening of every box. So
a bound in float64 with the unit of float32 holds for what the network computes in float32.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel, kernel
from fastadv.kernels.network import dense
from fastadv.kernels.network.loss import cross_entropy

_ACTIVATION_UNITS = 8.0  # by how many rounding units an activation may be off, at most
_OWN_ERRORS = 1.0 + 1e-4  # of the bounds' own arithmetic, float64 beside float32


@exact_kernel
def inputs(vector, sizes, layer, n):
    """Return what goes into ``layer``, (n, sizes[layer]): a view."""
    start = 0
    for k in range(layer):
        start += sizes[k] * n
    return vector[start : start + sizes[layer] * n].reshape((n, sizes[layer]))


@exact_kernel
def _width(sizes):
    width = 0
    for k in range(sizes.size - 1):
        width += sizes[k]
    return width


@exact_kernel
def _rounding(n_in, unit):
    """Return how far a sum of ``n_in`` products and a bias may be off, over the sum of their sizes.

    In any order of summation (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
    """
    return _OWN_ERRORS * (n_in + 1) * unit / (1.0 - (n_in + 1) * unit)


@exact_kernel
def input_box(x, eps, low, high, lower, upper):
    """Fill ``lower`` and ``upper`` (n, d) with the box of radius eps (n,) cut to the bounds."""
    kind = lower.dtype.type
    least, most = kind(low), kind(high)
    for i in range(x.shape[0]):
        size = kind(eps[i])
        for j in range(x.shape[1]):
            lower[i, j] = max(kind(x[i, j]) - size, least)
            upper[i, j] = min(kind(x[i, j]) + size, most)


@exact_kernel
def _middle(lower, upper, gamma, centre, radius):
    """Fill centre and radius, the radius widened by ``gamma`` times the largest size."""
    half, gamma = lower.dtype.type(0.5), lower.dtype.type(gamma)
    for i in range(lower.shape[0]):
        for j in range(lower.shape[1]):
            c, r = half * (lower[i, j] + upper[i, j]), half * (upper[i, j] - lower[i, j])
            centre[i, j], radius[i, j] = c, r + gamma * (abs(c) + r)


@exact_kernel
def _ends(b, gamma, centre, radius):
    """Turn c W, r |W| into the ends of c W + b +- r |W|. Both are modified in place."""
    gamma = centre.dtype.type(gamma)
    for i in range(centre.shape[0]):
        for j in range(centre.shape[1]):
            c, r = centre[i, j] + b[j], radius[i, j] + gamma * abs(b[j])
            centre[i, j], radius[i, j] = c - r, c + r


@exact_kernel
def _widen(size, lower, upper):
    size = lower.dtype.type(size)
    for i in range(lower.shape[0]):
        for j in range(lower.shape[1]):
            lower[i, j] -= size
            upper[i, j] += size


@exact_kernel
def propagate(params, absolute, sizes, activation, unit, lower, upper, centre, radius):
    """Take the box of the image, in ``lower`` and ``upper``, up to the last layer's input.

    ``absolute`` is |params|. The last four (n * sum of sizes[:-1],) are filled; the radius of the
    last layer's input is not widened.
    """
    n, last = lower.size // _width(sizes), sizes.size - 2
    for layer in range(last + 1):
        lo, hi = inputs(lower, sizes, layer, n), inputs(upper, sizes, layer, n)
        c, r = inputs(centre, sizes, layer, n), inputs(radius, sizes, layer, n)
        gamma = _rounding(sizes[layer], unit) if layer < last else 0.0
        _middle(lo, hi, gamma, c, r)
        if layer < last:
            lo, hi = inputs(lower, sizes, layer + 1, n), inputs(upper, sizes, layer + 1, n)
            np.dot(c, dense.weights(params, sizes, layer), lo)
            np.dot(r, dense.weights(absolute, sizes, layer), hi)
            _ends(dense.bias(params, sizes, layer), gamma, lo, hi)
            dense.activate(lo, activation)
            dense.activate(hi, activation)
            _widen(_ACTIVATION_UNITS * unit, lo, hi)


@exact_kernel
def _last_matrix(params, sizes):
    """Return the matrix of the last layer, a row a class, (k, width)."""
    w = dense.weights(params, sizes, sizes.size - 2)
    out = np.empty((w.shape[1], w.shape[0]), w.dtype)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = w[j, i]
    return out


@exact_kernel
def worst_logits(c, r, w, b, labels, gamma, worst):
    """Fill ``worst`` (n, k) with the largest Z_j - Z_y over the box c, r; w is (k, width).

    The difference of two logits is bounded as one product, W_j - W_y, not by their own bounds.
    ``gamma`` is how far rounding may take a logit, over the sum of the sizes of its terms.
    """
    kind = c.dtype.type
    for i in range(c.shape[0]):
        y = labels[i]
        for j in range(w.shape[0]):
            total, sizes = kind(0.0), abs(b[j]) + abs(b[y])
            for h in range(c.shape[1]):
                differ = w[j, h] - w[y, h]
                total += c[i, h] * differ + r[i, h] * abs(differ)
                sizes += (abs(c[i, h]) + r[i, h]) * (abs(w[j, h]) + abs(w[y, h]))
            total += (b[j] - b[y]) + kind(gamma) * sizes
            worst[i, j] = total if j != y else kind(0.0)


@exact_kernel
def worst_margins(x, eps, labels, low, high, params, absolute, sizes, activation, unit, out):
    """Fill ``out`` (n,) with the least Z_y - max of the others over the box of radius eps (n,)."""
    n, last = x.shape[0], sizes.size - 2
    vectors = np.empty((4, n * _width(sizes)), params.dtype)
    lower, upper, centre, radius = vectors[0], vectors[1], vectors[2], vectors[3]
    input_box(x, eps, low, high, inputs(lower, sizes, 0, n), inputs(upper, sizes, 0, n))
    propagate(params, absolute, sizes, activation, unit, lower, upper, centre, radius)
    w = _last_matrix(params, sizes)
    worst = np.empty((n, sizes[-1]), params.dtype)
    c, r = inputs(centre, sizes, last, n), inputs(radius, sizes, last, n)
    gamma = _rounding(sizes[last], unit)
    worst_logits(c, r, w, dense.bias(params, sizes, last), labels, gamma, worst)
    for i in range(n):
        least = np.inf
        for j in range(worst.shape[1]):
            if j != labels[i]:
                least = min(least, -worst[i, j])
        out[i] = least


@kernel
def _last_layer_gradient(c, r, w, labels, weight, d, dw, db, dc, dr):
    """From ``weight`` times d(loss)/d(worst) (n, k) to the last layer, added to dw and db, and below.

    w is (k, width), dw (width, k).
    """
    kind = c.dtype.type
    rows = np.zeros_like(w)  # of dw, side by side as w's
    for i in range(c.shape[0]):
        y = labels[i]
        for h in range(c.shape[1]):
            dc[i, h], dr[i, h] = kind(0.0), kind(0.0)
        for j in range(w.shape[0]):
            if j == y:
                continue
            g = kind(weight) * d[i, j]
            db[j] += g
            db[y] -= g
            for h in range(c.shape[1]):
                differ = w[j, h] - w[y, h]
                sign = kind(1.0) if differ > 0 else kind(-1.0)
                change = g * (c[i, h] + r[i, h] * sign)
                rows[j, h] += change
                rows[y, h] -= change
                dc[i, h] += g * differ
                dr[i, h] += g * abs(differ)
    for h in range(dw.shape[0]):
        for j in range(dw.shape[1]):
            dw[h, j] += rows[j, h]


@kernel
def _add_product(x, d, out):
    """Add x' d to ``out``."""
    product = np.dot(x.T, d)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += product[i, j]


@kernel
def _add_signed_product(x, d, w, out):
    """Add sign(w) (x' d), entry by entry, to ``out``."""
    product = np.dot(x.T, d)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += product[i, j] if w[i, j] > 0 else -product[i, j]


@kernel
def worst_case(
    x, labels, eps, low, high, params, absolute, sizes, activation, weight, gradient, losses
):
    """Add ``weight`` times the gradient of the loss of the worst logits, summed over the rows.

    ``gradient`` (P,) is modified in place; ``losses`` (n,) gets the cross-entropy of the worst
    logits. eps is (n,).
    """
    n, last = x.shape[0], sizes.size - 2
    kind = params.dtype
    vectors = np.empty((4, n * _width(sizes)), kind)
    lower, upper, centre, radius = vectors[0], vectors[1], vectors[2], vectors[3]
    input_box(x, eps, low, high, inputs(lower, sizes, 0, n), inputs(upper, sizes, 0, n))
    propagate(params, absolute, sizes, activation, 0.0, lower, upper, centre, radius)
    c, r = inputs(centre, sizes, last, n), inputs(radius, sizes, last, n)
    w = _last_matrix(params, sizes)
    worst, d = np.empty((n, sizes[-1]), kind), np.empty((n, sizes[-1]), kind)
    worst_logits(c, r, w, dense.bias(params, sizes, last), labels, 0.0, worst)
    cross_entropy(worst, labels, losses, d)
    dc, dr = np.empty((n, sizes[last]), kind), np.empty((n, sizes[last]), kind)
    dw, db = dense.weights(gradient, sizes, last), dense.bias(gradient, sizes, last)
    _last_layer_gradient(c, r, w, labels, weight, d, dw, db, dc, dr)
    for layer in range(last - 1, -1, -1):
        lo, hi = inputs(lower, sizes, layer + 1, n), inputs(upper, sizes, layer + 1, n)
        _to_ends(dc, dr)
        dense.multiply_by_derivative(lo, activation, dc)
        dense.multiply_by_derivative(hi, activation, dr)
        _from_ends(dc, dr, dense.bias(gradient, sizes, layer))
        c, r = inputs(centre, sizes, layer, n), inputs(radius, sizes, layer, n)
        w, into = dense.weights(params, sizes, layer), dense.weights(gradient, sizes, layer)
        _add_product(c, dc, into)
        _add_signed_product(r, dr, w, into)
        if layer > 0:
            dc = np.dot(dc, w.T)
            dr = np.dot(dr, dense.weights(absolute, sizes, layer).T)


@kernel
def _to_ends(dc, dr):
    """From the gradient of centre and radius to that of the lower and the upper end, in place."""
    half = dc.dtype.type(0.5)
    for i in range(dc.shape[0]):
        for j in range(dc.shape[1]):
            c, r = dc[i, j], dr[i, j]
            dc[i, j], dr[i, j] = half * (c - r), half * (c + r)


@kernel
def _from_ends(dlower, dupper, db):
    """Go the other way, through c W + b +- r |W|; the bias's gradient is added to ``db``."""
    for i in range(dlower.shape[0]):
        for j in range(dlower.shape[1]):
            lower, upper = dlower[i, j], dupper[i, j]
            dlower[i, j], dupper[i, j] = lower + upper, upper - lower
            db[j] += lower + upper
