"""An SVM trained again from the solution of a similar problem, by its margin support vectors.

With S the margin support vectors and all other multipliers at their bounds, the optimality
conditions of the dual (see dual.py) are linear:

    H (b, a_S) = (-sum of the other a_i,  y_S - K_S,other a_other),   H = [0 1'; 1 K_SS]

From one problem to the next S loses and gains a few rows. So the inverse of H is kept, and made that
of one row more or less in some m^2 operations (bordering), where a new factor takes m^3. Rounding
adds up in it. One step of refinement takes that off a solution; where it is too little, as what is
left of the conditions shows, `dual.solve` and a new inverse follow.

``margin`` (n + 1,) holds m, the number of rows of S, and then the rows. ``inverse`` (n + 1, n + 1)
holds that of H in its leading m + 1 rows and columns, the sum's first and then in the order of S.
"""

import numpy as np

from fastadv.kernels._jit import exact_kernel
from fastadv.kernels.linalg.lbfgs import dot
from fastadv.kernels.svm import dual

_SINGULAR = 1e-10  # a row with this share of its square outside the hull of the others is in it
_EXCHANGES = 12  # of sets of multipliers; two to five are usual


@exact_kernel
def times(matrix, x, out):
    """Fill ``out`` (k,) with the leading rows and columns of ``matrix``, symmetric, times x (k,)."""
    for j in range(out.size):
        out[j] = 0.0
    done = x.size - x.size % 4
    for i in range(0, done, 4):  # four rows a pass over the sums
        p, q, r, s = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        for j in range(out.size):
            out[j] += (x[i] * p[j] + x[i + 1] * q[j]) + (x[i + 2] * r[j] + x[i + 3] * s[j])
    for i in range(done, x.size):
        row = matrix[i]
        for j in range(out.size):
            out[j] += x[i] * row[j]


@exact_kernel
def append(K, r, margin, inverse):
    """Add row ``r`` to the margin and return True; or False, if it depends on those in it."""
    m = margin[0]
    if m == 0:
        inverse[0, 0], inverse[0, 1], inverse[1, 0], inverse[1, 1] = -K[r, r], 1.0, 1.0, 0.0
    else:
        column, z = np.empty(m + 1), inverse[m + 1, : m + 1]
        column[0] = 1.0
        for i in range(1, m + 1):
            column[i] = K[r, margin[i]]
        times(inverse, column, z)
        rest = K[r, r] - dot(column, z)
        if rest <= _SINGULAR * (K[r, r] + K[margin[1], margin[1]]):
            return False
        scale = 1.0 / rest
        _add_square(scale, z, inverse)
        for i in range(m + 1):
            z[i] *= -scale
            inverse[i, m + 1] = z[i]
        inverse[m + 1, m + 1] = scale
    margin[0], margin[m + 1] = m + 1, r
    return True


@exact_kernel
def _add_square(factor, z, matrix):
    """Add a factor times z z' to the leading rows and columns of ``matrix``."""
    for i in range(z.size):
        scaled = factor * z[i]
        for j in range(z.size):
            matrix[i, j] += scaled * z[j]


@exact_kernel
def remove(i, margin, inverse):
    """Take the row at place ``i`` out of the margin; the last one gets its place."""
    m = margin[0]
    if m > 1:
        column = inverse[i, : m + 1].copy()
        _add_square(-1.0 / column[i], column, inverse)
        for j in range(m):
            inverse[i, j] = inverse[j, i] = inverse[m, j]
        inverse[i, i] = inverse[m, m]
    margin[0], margin[i] = m - 1, margin[m]


@exact_kernel
def forget(r, margin, inverse):
    """Take row ``r``, of which the kernel is about to change, out of the margin if it is there."""
    for i in range(1, margin[0] + 1):
        if margin[i] == r:
            remove(i, margin, inverse)
            return


@exact_kernel
def match(K, y, C, a, margin, inverse):
    """Make the margin that of ``a``, and return True; dependent rows are left out, and it is False."""
    inside = np.zeros(y.size, np.bool_)
    for i in range(margin[0], 0, -1):
        r = margin[i]
        if 0.0 < a[r] * y[r] < C:
            inside[r] = True
        else:
            remove(i, margin, inverse)
    whole = True
    for r in range(y.size):
        if 0.0 < a[r] * y[r] < C and not inside[r]:
            whole &= append(K, r, margin, inverse)
    return whole


@exact_kernel
def meet(K, margin, inverse, total, a, g):
    """Move a_S so that a adds up to ``total`` and g, which moves by K a, is the same on all of S.

    Returns minus that level. The errors of the inverse are relative to the move, and so a second
    one takes them off.
    """
    m, level = margin[0], g[margin[1]]
    right, solution = np.empty(m + 1), np.empty(m + 1)
    right[0] = total - a.sum()
    for i in range(1, m + 1):
        right[i] = level - g[margin[i]]
    times(inverse, right, solution)
    move, rows = np.empty(a.size), margin[1 : m + 1]
    for i in range(m):
        move[rows[i]] = solution[i + 1]
        a[rows[i]] += solution[i + 1]
    rest = total - a.sum()  # by rounding, and by the errors of the inverse
    move[rows[0]] += rest
    a[rows[0]] += rest
    dual.add_rows(move, rows, K, g)
    return solution[0] - level


@exact_kernel
def _exchange(y, C, tolerance, a, g, level):
    """Put on its bound what is beyond, free what violates optimality; return how many there were.

    ``level`` is the gradient of the free ones. ``a`` is modified: a freed one is put in the middle.
    """
    exchanged = 0
    for i in range(y.size):
        alpha, slack = a[i] * y[i], (g[i] - level) * y[i]
        if alpha == 0.0 or alpha == C:
            if slack < -tolerance if alpha == 0.0 else slack > tolerance:
                a[i] = y[i] * C / 2.0
                exchanged += 1
        elif not 0.0 < alpha < C:
            a[i] = dual.snap(a[i], y[i], C)
            exchanged += 1
    return exchanged


@exact_kernel
def exchange_sets(K, y, C, tolerance, margin, inverse, a, g):
    """Train by guessing which multipliers are free, and exchanging at once all that disprove it.

    Those that come out beyond a bound are put there, those at a bound that violate optimality are
    freed. From the solution of a similar problem that takes a few turns, but nothing says that it
    has to end (block pivoting: Judice and Pires, Comput. Oper. Res. 1994). Returns whether it did;
    if not, ``a`` is left as it was. ``g`` is overwritten, ``margin`` and ``inverse`` are modified.
    """
    trial = a.copy()
    for _ in range(_EXCHANGES):
        if not match(K, y, C, trial, margin, inverse) or margin[0] < 2:
            return False  # one free row alone would be at a bound (see `dual.newton_step`)
        for r in margin[1 : margin[0] + 1]:
            trial[r] = 0.0
        dual.dual_gradient(K, y, trial, g)
        bias = meet(K, margin, inverse, 0.0, trial, g)
        exchanged = _exchange(y, C, tolerance, trial, g, -bias)
        if exchanged == 0:
            meet(K, margin, inverse, 0.0, trial, g)
            for r in margin[1 : margin[0] + 1]:
                trial[r] = dual.snap(trial[r], y[r], C)
            a[:] = trial
            return True
        if exchanged > margin[0]:  # it was no guess at all, and more turns seldom make it one
            return False
    return False


@exact_kernel
def solve_again(K, y, C, tolerance, max_rounds, margin, inverse, a, g):
    """Train as `dual.solve` does, from the solution ``a`` of a similar problem.

    ``margin`` and ``inverse``, of rows whose kernel ``K`` still holds, become those of the solution.
    """
    solved = exchange_sets(K, y, C, tolerance / 2.0, margin, inverse, a, g)
    _, _, violation = dual.worst_pair(y, C, a, g)
    if solved and violation <= tolerance:
        return dual.bias(y, C, a, g), violation, 0
    solution = dual.solve(K, y, C, tolerance, max_rounds, a, g)
    margin[0] = 0
    match(K, y, C, a, margin, inverse)
    return solution
