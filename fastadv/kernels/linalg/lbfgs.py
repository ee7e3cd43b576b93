"""Limited-memory BFGS with a backtracking line search, for many problems side by side.

Liu and Nocedal, Mathematical Programming 1989; the two loops are algorithm 7.4 of Nocedal and
Wright. Each row is a problem of its own, with its own history, step length and end: an evaluation
of all rows moves each on by one trial.
"""

import numpy as np

from fastadv.kernels._jit import kernel

RUNNING, CONVERGED, STUCK = 0, 1, 2

_SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo's rule)
_SHORTEST = 1e-8  # of all step lengths


@kernel
def dot(a, b):
    """Return the inner product, added up in float64."""
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@kernel
def find_direction(gradient, moves, changes, n_kept, newest, direction):
    """Fill ``direction`` with minus the inverse Hessian's estimate times the gradient.

    ``moves`` and ``changes`` (m, d) are rings of the last steps and the changes of the gradient,
    of which ``n_kept`` are in use, the last one in row ``newest``.
    """
    m, kind = moves.shape[0], gradient.dtype.type
    weights = np.empty(m)
    for k in range(gradient.size):
        direction[k] = -gradient[k]
    for back in range(n_kept):
        row = (newest - back) % m
        weights[row] = dot(moves[row], direction) / dot(moves[row], changes[row])
        scale = kind(weights[row])
        for k in range(gradient.size):
            direction[k] -= scale * changes[row, k]
    if n_kept > 0:
        curvature = dot(changes[newest], changes[newest])
        scale = kind(dot(moves[newest], changes[newest]) / curvature)
        for k in range(gradient.size):
            direction[k] *= scale
    for back in range(n_kept - 1, -1, -1):
        row = (newest - back) % m
        correction = dot(changes[row], direction) / dot(moves[row], changes[row])
        scale = kind(weights[row] - correction)
        for k in range(gradient.size):
            direction[k] += scale * moves[row, k]


@kernel
def advance(
    rows, trial_values, trial_gradients, tolerance,
    trial, point, values, gradients, direction, lengths, moves, changes, kept, newest, status,
):  # fmt: skip
    """Judge the trial points of the problems in ``rows`` and put up the next ones.

    Parameters
    ----------
    rows : (r,)
        The problems that were evaluated; the other arrays hold all of them.
    trial_values, trial_gradients : (r,) and (r, d)
        The objective at ``trial[rows]``.
    tolerance : float
        A problem has converged when an accepted step lowers its value by less than this share.
    trial, point, values, gradients, direction, lengths, moves, changes, kept, newest, status :
        The state, modified in place. At the start ``values`` are infinite.
    """
    m = moves.shape[1]
    for k in range(rows.size):
        s = rows[k]
        first = values[s] == np.inf
        slope = 0.0 if first else dot(gradients[s], direction[s])
        enough = values[s] + _SUFFICIENT * lengths[s] * slope
        if not first and not trial_values[k] <= enough:
            lengths[s] *= 0.5
            if lengths[s] < _SHORTEST:
                status[s] = STUCK
        else:
            decrease = values[s] - trial_values[k]
            if not first:
                row = (newest[s] + 1) % m
                for j in range(point.shape[1]):
                    moves[s, row, j] = trial[s, j] - point[s, j]
                    changes[s, row, j] = trial_gradients[k, j] - gradients[s, j]
                bend = dot(moves[s, row], changes[s, row])
                square = dot(changes[s, row], changes[s, row])
                # else the estimate would not stay positive
                if bend > 1e-8 * square and square > 0.0:
                    newest[s], kept[s] = row, min(kept[s] + 1, m)
            for j in range(point.shape[1]):
                point[s, j], gradients[s, j] = trial[s, j], trial_gradients[k, j]
            values[s] = trial_values[k]
            find_direction(gradients[s], moves[s], changes[s], kept[s], newest[s], direction[s])
            steepness = np.sqrt(dot(gradients[s], gradients[s]))
            if dot(gradients[s], direction[s]) >= 0.0:  # not a descent: forget the history
                kept[s] = 0
                for j in range(point.shape[1]):
                    direction[s, j] = -gradients[s, j]
            lengths[s] = 1.0 if kept[s] > 0 else 1.0 / max(steepness, 1.0)
            small = not first and decrease <= tolerance * max(abs(values[s]), 1.0)
            if small or steepness == 0.0:
                status[s] = CONVERGED
        length = trial.dtype.type(lengths[s])
        for j in range(point.shape[1]):
            trial[s, j] = point[s, j] + length * direction[s, j]
