"""The dual of the C-SVM, solved to rounding on a kernel matrix that is held in memory.

In signed multipliers a_i = alpha_i y_i (the bias b is the multiplier of the equality):

    minimise  a' K a / 2 - y' a,   sum a = 0,   0 <= a_i y_i <= C,   with the gradient g = K a - y

so that f(x_i) - y_i = g_i + b. A pair (i, j), where a_i may grow and a_j may shrink, violates
optimality by g_j - g_i where that is positive. Sequential minimal optimisation (Platt 1998; pairs as in
Fan, Chen and Lin, JMLR 2005) finds out which multipliers are free, and would need very many steps
for their values; Newton steps on the free ones give those to rounding. Neither can raise the
objective, so that the two in turn converge from any feasible start, such as the last solution.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.linalg.lbfgs import dot

_SINGULAR = 1e-12  # a pivot that has lost this share of its diagonal is rounding
_ROUNDING = 16 * 2.0**-52  # of a sum of terms of size 1, generously
_FEWER, _PAIRS = 0.1, 10  # pairs are moved until the violation is this share, so many at most


@exact_kernel
def _can_grow(a, y, C, i):
    return a[i] < C if y[i] > 0.0 else a[i] < 0.0


@exact_kernel
def _can_shrink(a, y, C, i):
    return a[i] > 0.0 if y[i] > 0.0 else a[i] > -C


@exact_kernel
def snap(value, sign, C):
    """Return a multiplier that rounding has put on or beyond a bound as that bound."""
    alpha = value * sign
    if alpha <= 0.0:
        return 0.0
    return sign * C if alpha >= C * (1.0 - 2.0**-50) else value


@exact_kernel
def add_rows(a, used, rows, out):
    """Add to ``out`` (d,) the ``used`` rows times their factors ``a``, four a pass over it."""
    done = used.size - used.size % 4
    for s in range(0, done, 4):
        i, j, k, m = used[s], used[s + 1], used[s + 2], used[s + 3]
        p, q, r, t = rows[i], rows[j], rows[k], rows[m]
        for c in range(out.size):
            out[c] += (a[i] * p[c] + a[j] * q[c]) + (a[k] * r[c] + a[m] * t[c])
    for s in range(done, used.size):
        row = rows[used[s]]
        for c in range(out.size):
            out[c] += a[used[s]] * row[c]


@exact_kernel
def dual_gradient(K, y, a, g):
    """Fill ``g`` with K a - y."""
    for i in range(y.size):
        g[i] = -y[i]
    add_rows(a, np.flatnonzero(a), K, g)


@exact_kernel
def rounding(K, a):
    """Return what rounding may have done to an entry of K a - y."""
    size, largest = 0.0, 0.0  # |K_ij| is at most the root of K_ii K_jj
    for i in range(a.size):
        root = np.sqrt(K[i, i])
        size += abs(a[i]) * root
        largest = max(largest, root)
    return _ROUNDING * (1.0 + size * largest)


@exact_kernel
def worst_pair(y, C, a, g):
    """Return the pair (i, j) of the largest violation g_j - g_i, and the violation."""
    up, low = -1, -1
    for i in range(y.size):
        if _can_grow(a, y, C, i) and (up < 0 or g[i] < g[up]):
            up = i
        if _can_shrink(a, y, C, i) and (low < 0 or g[i] > g[low]):
            low = i
    return up, low, g[low] - g[up]


@exact_kernel
def _partner(K, y, C, a, g, i):
    """Return the partner of ``i`` that lowers the second-order model of the objective most."""
    best, best_square, best_curvature = -1, 0.0, 1.0
    for j in range(y.size):
        rise = g[j] - g[i]
        if rise > 0.0 and _can_shrink(a, y, C, j):
            curvature = _curvature(K, i, j)
            if rise * rise * best_curvature > best_square * curvature:
                best, best_square, best_curvature = j, rise * rise, curvature
    return best


@exact_kernel
def _curvature(K, i, j):
    return max(K[i, i] + K[j, j] - 2.0 * K[i, j], _SINGULAR * K[i, i], 1e-150)


@exact_kernel
def pair_step(K, y, C, a, g, i, j):
    """Move a_i up and a_j down to the best point within their bounds. ``a``, ``g`` are modified."""
    curvature = _curvature(K, i, j)
    room_i = (C if y[i] > 0.0 else 0.0) - a[i]
    room_j = a[j] + (0.0 if y[j] > 0.0 else C)
    step = min((g[j] - g[i]) / curvature, room_i, room_j)
    a[i] = snap(a[i] + step, y[i], C)
    a[j] = snap(a[j] - step, y[j], C)
    for k in range(y.size):
        g[k] += step * (K[i, k] - K[j, k])


@exact_kernel
def free_rows(y, C, a):
    """Return the rows of the margin support vectors, 0 < alpha < C."""
    rows = np.empty(y.size, np.int64)
    n_free = 0
    for i in range(y.size):
        if 0.0 < a[i] * y[i] < C:
            rows[n_free] = i
            n_free += 1
    return rows[:n_free]


@exact_kernel
def reduced_factor(K, rows):
    """Return U, upper triangular, with U'U = Z' K Z, where Z spans sum = 0 on ``rows``.

    Eliminating the first row leaves M_ij = K_ij - K_i0 - K_0j + K_00, positive semidefinite. Also
    returned is the first row of M that depends on those before it (as a duplicate does), where
    the factor ends, or the number of rows.
    """
    m = max(rows.size - 1, 0)
    U = np.empty((m, m))
    if m == 0:
        return U, m
    first = K[rows[0]]
    corner = first[rows[0]]
    for k in range(m):
        row = K[rows[k + 1]]
        shift = corner - row[rows[0]]
        for j in range(k, m):
            U[k, j] = (row[rows[j + 1]] - first[rows[j + 1]]) + shift
        _subtract_above(U, k)
        if U[k, k] <= _SINGULAR * (row[rows[k + 1]] + corner):
            return U, k
        scale = 1.0 / np.sqrt(U[k, k])
        for j in range(k, m):
            U[k, j] *= scale
    return U, m


@exact_kernel
def _subtract_above(U, k):
    """Subtract from row ``k``, from the diagonal on, what the rows above make of it; four a pass."""
    m, i = U.shape[0], 0
    while i + 4 <= k:
        p, q, r, s = U[i, k], U[i + 1, k], U[i + 2, k], U[i + 3, k]
        for j in range(k, m):
            U[k, j] -= (p * U[i, j] + q * U[i + 1, j]) + (r * U[i + 2, j] + s * U[i + 3, j])
        i += 4
    while i < k:
        p = U[i, k]
        for j in range(k, m):
            U[k, j] -= p * U[i, j]
        i += 1


@exact_kernel
def solve_transposed(U, k, x):
    """Solve U'x = right-hand side, which ``x`` holds at first, for the leading k rows and columns."""
    for i in range(k):
        x[i] /= U[i, i]
        for j in range(i + 1, k):
            x[j] -= U[i, j] * x[i]


@exact_kernel
def solve_upper(U, k, x):
    """Solve U x = right-hand side, which ``x`` holds at first, for the leading k rows and columns."""
    for i in range(k - 1, -1, -1):
        x[i] = (x[i] - dot(U[i, i + 1 : k], x[i + 1 : k])) / U[i, i]


@exact_kernel
def remove_row(U, m, r):
    """Make the factor of m rows that of the m - 1 without row ``r`` (by Givens' rotations)."""
    for i in range(m):
        for j in range(max(i, r + 1), m):
            U[i, j - 1] = U[i, j]
    for k in range(r, m - 1):
        # The column that has moved to k still has its diagonal below, in row k + 1.
        upper, lower = U[k, k], U[k + 1, k]
        size = np.sqrt(upper * upper + lower * lower)
        cosine, sine = upper / size, lower / size
        U[k, k] = size
        for j in range(k + 1, m - 1):
            upper, lower = U[k, j], U[k + 1, j]
            U[k, j] = cosine * upper + sine * lower
            U[k + 1, j] = cosine * lower - sine * upper


@exact_kernel
def _newton_direction(g, rows, U, direction):
    """Fill ``direction`` with the step of sum 0 to the minimum over the free ``rows``."""
    m = rows.size - 1
    step = direction[1:]
    for i in range(m):
        step[i] = g[rows[0]] - g[rows[i + 1]]
    solve_transposed(U, m, step)
    solve_upper(U, m, step)
    direction[0] = 0.0
    for i in range(m):
        direction[0] -= step[i]


@exact_kernel
def _flat_direction(g, rows, U, k, direction):
    """Fill ``direction`` with one of sum 0 and no curvature, downhill, where row k + 1 depends."""
    step = direction[1:]
    for i in range(step.size):
        step[i] = -U[i, k] if i < k else 0.0
    solve_upper(U, k, step)
    step[k] = 1.0
    slope, total = 0.0, 0.0
    for i in range(k + 1):
        slope += step[i] * (g[rows[0]] - g[rows[i + 1]])
        total += step[i]
    direction[0] = -total
    if slope < 0.0:
        for i in range(direction.size):
            direction[i] = -direction[i]


@exact_kernel
def _follow(K, y, C, a, g, rows, direction, length):
    """Move the free ``rows`` along ``direction`` up to ``length``. ``a``, ``g`` are modified.

    Returns which of them met its bound first, and holds it there; -1 if none did.
    """
    blocking = -1
    for i in range(rows.size):
        r = rows[i]
        if direction[i] != 0.0:
            bound = C * y[r] if direction[i] * y[r] > 0.0 else 0.0
            if (bound - a[r]) / direction[i] < length:
                length, blocking = (bound - a[r]) / direction[i], i
    for i in range(rows.size):
        r = rows[i]
        change = length * direction[i]
        if i == blocking:
            a[r] = C * y[r] if direction[i] * y[r] > 0.0 else 0.0
        else:
            a[r] = snap(a[r] + change, y[r], C)
        if change != 0.0:
            for k in range(y.size):
                g[k] += change * K[r, k]
    return blocking


@exact_kernel
def newton_step(K, y, C, a, g):
    """Minimise over the free multipliers, which gets fewer by each that meets a bound on the way.

    ``a`` and ``g`` are modified. Where free rows depend on one another, some are moved to a bound
    at no cost: so the margin set becomes independent. Returns whether it has to be called again.
    """
    rows = free_rows(y, C, a)
    m = rows.size - 1
    if m == 0:  # others at 0 and C leave it no value but these: it is free by rounding alone
        a[rows[0]] = 0.0 if abs(a[rows[0]]) < C / 2.0 else C * y[rows[0]]
    if m < 1:
        return False
    _put_inmost_first(y, C, a, rows)
    U, rank = reduced_factor(K, rows)
    direction = np.empty(m + 1)
    if rank < m:
        _flat_direction(g, rows, U, rank, direction)
        return _follow(K, y, C, a, g, rows, direction, np.inf) >= 0
    while m > 0:
        _newton_direction(g, rows[: m + 1], U, direction[: m + 1])
        blocking = _follow(K, y, C, a, g, rows[: m + 1], direction[: m + 1], 1.0)
        if blocking <= 0:
            return blocking == 0
        remove_row(U, m, blocking - 1)
        for i in range(blocking, m):
            rows[i] = rows[i + 1]
        m -= 1
    return False


@exact_kernel
def _put_inmost_first(y, C, a, rows):
    """Swap to the front the row that is farthest from its bounds: it is unlikely to be removed."""
    best, room = 0, -1.0
    for i in range(rows.size):
        alpha = a[rows[i]] * y[rows[i]]
        if min(alpha, C - alpha) > room:
            best, room = i, min(alpha, C - alpha)
    rows[0], rows[best] = rows[best], rows[0]


@exact_kernel
def solve(K, y, C, tolerance, max_rounds, a, g):
    """Train. ``a`` (n,), feasible at first, becomes the optimum, and ``g`` its gradient K a - y.

    Parameters: ``K`` (n, n); ``y`` (n,) of 1.0 and -1.0, both of them there. Returns the bias, the
    violation that is left and the rounds taken. A violation below ``tolerance``, or below what
    rounding makes of the sums in ``g``, ends it; more is left only after ``max_rounds``.
    """
    dual_gradient(K, y, a, g)
    rounds = 0
    while True:
        while newton_step(K, y, C, a, g):
            pass
        least = max(tolerance, rounding(K, a))
        i, _, violation = worst_pair(y, C, a, g)
        if violation <= least:
            dual_gradient(K, y, a, g)
            i, _, violation = worst_pair(y, C, a, g)
        if violation <= least or rounds == max_rounds:
            return bias(y, C, a, g), violation, rounds
        rounds += 1
        goal = _FEWER * violation
        for _ in range(_PAIRS):
            pair_step(K, y, C, a, g, i, _partner(K, y, C, a, g, i))
            i, _, violation = worst_pair(y, C, a, g)
            if violation <= goal:
                break


@exact_kernel
def bias(y, C, a, g):
    """Return the mean of -g over the margin, or the middle of what the bounded rows allow."""
    total, n_free = 0.0, 0
    for i in range(y.size):
        if 0.0 < a[i] * y[i] < C:
            total -= g[i]
            n_free += 1
    if n_free > 0:
        return total / n_free
    up, low, _ = worst_pair(y, C, a, g)
    return -(g[up] + g[low]) / 2.0


@exact_kernel
def linear_decision(X, coef, intercept, out):
    """Fill ``out`` (n,) with X coef + intercept, each row by itself."""
    for i in range(X.shape[0]):
        total = intercept
        for j in range(X.shape[1]):
            total += X[i, j] * coef[j]
        out[i] = total


@exact_kernel
def rbf_decision(X, support, squares, dual, intercept, gamma, K, out):
    """Fill ``K`` (n, s) with exp(-gamma |x - z|^2), and ``out`` (n,) with K dual + intercept.

    ``support`` (d, s) holds a support vector z a column, ``squares`` (s,) their |z|^2.
    """
    for i in range(X.shape[0]):
        row, square = K[i], 0.0
        for s in range(row.size):
            row[s] = 0.0
        for j in range(X.shape[1]):
            x = X[i, j]
            if x != 0.0:
                square += x * x
                for s in range(row.size):
                    row[s] += x * support[j, s]
        total = intercept
        for s in range(row.size):
            row[s] = np.exp(-gamma * max(square + squares[s] - 2.0 * row[s], 0.0))
            total += row[s] * dual[s]
        out[i] = total


@exact_kernel
def rbf_input_gradient(X, support, dual, gamma, K, scale, out):
    """Fill ``out`` (n, d) with scale_i df/dx_i; ``support`` (s, d) has a support vector a row."""
    for i in range(X.shape[0]):
        total = 0.0
        for j in range(X.shape[1]):
            out[i, j] = 0.0
        for s in range(dual.size):
            factor = scale[i] * dual[s] * 2.0 * gamma * K[i, s]
            total += factor
            for j in range(X.shape[1]):
                out[i, j] += factor * support[s, j]
        for j in range(X.shape[1]):
            out[i, j] -= total * X[i, j]
