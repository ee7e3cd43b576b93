"""What an attacker of an SVM maximises: the validation loss after training, by moving rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastadv.errors import DivergenceError, InputError
from fastadv.kernels import svm_poison
from fastadv.protocols import Float64, Floats
from fastadv.threads import one_blas_thread

_NONE = np.empty(0)
_CHUNK = 256  # rows of a kernel matrix that are filled at once


class Objective:
    """The mean hinge loss after training, as a function of p training rows: a PoisonObjective.

    Parameters
    ----------
    rows : ndarray of shape (n + m, d), float32 or float64
        The clean training rows, then those of validation (see `narrow`).
    y : ndarray of shape (n + p,)
        1.0 or -1.0: of the clean rows, then of the points.
    y_val : ndarray of shape (m,)
    gamma : float
        0 for the linear kernel.
    """

    def __init__(
        self,
        rows: Floats,
        y: Float64,
        y_val: Float64,
        gamma: float,
        C: float,
        tolerance: float,
        max_rounds: int,
    ) -> None:
        size, m = len(y), len(y_val)
        n = len(rows) - m
        if size == n:
            raise InputError("index is empty; there is no row to move")
        self._all_rows, self._n_points = rows, size - n
        self._setting = y, y_val, gamma, C, tolerance, max_rounds
        self._max_rounds = max_rounds
        self._hold(np.flatnonzero(rows.any(axis=0)))
        held, K = self._rows[0], np.empty((size, size))
        K_val = np.empty((size, m if gamma > 0 else 0))
        X = held[:n].astype(np.float64)
        K[:n, :n] = kernel_matrix(X, X, gamma)
        if gamma > 0:
            K_val[:n] = kernel_matrix(X, held[n:].astype(np.float64), gamma)
        margin, inverse = np.zeros(size + 1, np.int64), np.empty((size + 1, size + 1))
        a, g, v = np.zeros((3, size))
        self._solution = K, K_val, margin, inverse, a, g, v, np.zeros(m)

    def _hold(self, columns: npt.NDArray[np.intp]) -> None:
        """Work on these columns; in the others all rows and points are 0, as at an image's rim."""
        self._columns = columns
        rows = self._all_rows.take(columns, axis=1)
        squares = np.square(rows, dtype=np.float64).sum(axis=1) if self._setting[2] > 0 else _NONE
        self._rows = rows, squares
        self._last = np.full((self._n_points, len(columns)), np.nan)  # no points yet
        self._pull = np.zeros(len(self._setting[1])), np.zeros(len(columns))

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss after training with the points (p, d), and its gradient (p, d)."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        if points.shape != (self._n_points, self._all_rows.shape[1]):
            expected = (self._n_points, self._all_rows.shape[1])
            raise InputError(f"points have shape {points.shape}, expected {expected}")
        finite, held = svm_poison.check_points(points, self._columns)
        if not finite:
            raise InputError("points hold NaN or infinity")
        if not held:
            self._hold(np.arange(points.shape[1]))
        gradient = np.empty_like(points)
        loss, violation, rounds = svm_poison.poison_gradient(
            *self._rows, *self._setting, points, self._columns, self._last, *self._solution,
            *self._pull, gradient,
        )  # fmt: skip
        if rounds >= self._max_rounds:
            raise DivergenceError(f"the SVM's dual is off its optimum by {violation:.1e}: lower C")
        return loss, gradient

    def loss(self, points: Float64) -> float:
        """Return the loss alone; the gradient is what takes little time."""
        return self(points)[0]


def kernel_matrix(X: Float64, Z: Float64, gamma: float) -> Float64:
    """Return the kernel of each row of X with each of Z, (n, m); gamma 0 is the linear one.

    In the calling thread: attacks ask for it from their own.
    """
    out = np.empty((len(X), len(Z)))
    if gamma > 0:
        squares_x, squares_z = np.square(X).sum(axis=1), np.square(Z).sum(axis=1)
    with one_blas_thread():
        for start in range(0, len(X), _CHUNK):
            K = out[start : start + _CHUNK]
            np.matmul(X[start : start + _CHUNK], Z.T, out=K)
            if gamma > 0:
                K *= -2.0
                K += squares_x[start : start + _CHUNK, np.newaxis] + squares_z
                np.exp(-gamma * np.maximum(K, 0.0), out=K)
    return out


def narrow(X: Floats) -> Floats:
    """Return X in float32 if that holds it without rounding, else in float64."""
    X = np.asarray(X)
    if X.dtype == np.float32:
        return X
    wide, short = X.astype(np.float64, copy=False), X.astype(np.float32)
    return short if np.array_equal(short, wide) else wide
