"""What an attacker of an SVM maximises: the validation loss after training, by moving rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastadv.errors import DivergenceError, InputError
from fastadv.kernels import svm_poison
from fastadv.protocols import Float64


class Objective:
    """The mean hinge loss after training, as a function of p training rows: a PoisonObjective.

    Parameters
    ----------
    rows : ndarray of shape (n + m, d)
        The clean training rows, then those of validation.
    K : ndarray of shape (n, n + m)
        The kernel of the clean rows with all of them.
    y : ndarray of shape (n + p,)
        1.0 or -1.0: of the clean rows, then of the points.
    y_val : ndarray of shape (m,)
    gamma : float
        0 for the linear kernel.
    """

    def __init__(
        self,
        rows: Float64,
        K: Float64,
        y: Float64,
        y_val: Float64,
        gamma: float,
        C: float,
        tolerance: float,
        max_rounds: int,
    ) -> None:
        n, size, m = len(K), len(y), len(y_val)
        if size == n:
            raise InputError("index is empty; there is no row to move")
        self._all_rows, self._n_points = rows, size - n
        self._setting = y, y_val, gamma, C, tolerance, max_rounds
        self._max_rounds = max_rounds
        K_all, K_val = np.empty((size, size)), np.empty((size, m))
        K_all[:n, :n], K_val[:n] = K[:, :n], K[:, n:]
        a, g, v = np.zeros((3, size))
        self._solution = K_all, K_val, a, g, v, np.zeros(m)
        self._hold(np.flatnonzero(rows.any(axis=0)))

    def _hold(self, columns: npt.NDArray[np.intp]) -> None:
        """Work on these columns; in the others all rows and points are 0, as at an image's rim."""
        self._columns = columns
        rows = np.ascontiguousarray(self._all_rows[:, columns])
        self._rows = rows, np.square(rows).sum(axis=1)
        self._last = np.full((self._n_points, len(columns)), np.nan)  # no points yet
        self._pull = np.zeros(len(self._setting[1])), np.zeros(len(columns))

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss after training with the points (p, d), and its gradient (p, d)."""
        points = np.asarray(points, dtype=np.float64)
        if points.shape != (self._n_points, self._all_rows.shape[1]):
            expected = (self._n_points, self._all_rows.shape[1])
            raise InputError(f"points have shape {points.shape}, expected {expected}")
        if not np.isfinite(points).all():
            raise InputError("points hold NaN or infinity")
        held = points.take(self._columns, axis=1)
        if np.count_nonzero(held) != np.count_nonzero(points):
            self._hold(np.arange(points.shape[1]))
            held = np.ascontiguousarray(points)
        out, gradient = np.empty_like(held), np.zeros_like(points)
        loss, violation, rounds = svm_poison.poison_gradient(
            *self._rows, *self._setting, held, self._last, *self._solution, *self._pull, out
        )
        if rounds >= self._max_rounds:
            raise DivergenceError(f"the SVM's dual is off its optimum by {violation:.1e}: lower C")
        gradient[:, self._columns] = out
        return loss, gradient
