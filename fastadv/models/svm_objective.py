"""What an attacker of an SVM maximises: the validation loss after training, by moving rows."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Floats
from fastadv.errors import DivergenceError, InputError
from fastadv.kernels.linalg import blocks
from fastadv.kernels.svm import poison
from fastadv.threads import one_blas_thread

Gamma = float | Literal["scale", "auto"]

_CHUNK = 256  # rows of a kernel matrix that are filled at once


class Objective:
    """The mean hinge loss after training, as a function of p training rows: a PoisonObjective.

    Parameters
    ----------
    X, X_val : ndarray of shape (n, d) and (m, d), float32 or float64
        The clean training rows, and those of validation.
    y : ndarray of shape (n + p,)
        1.0 or -1.0: of the clean rows, then of the points.
    y_val : ndarray of shape (m,)
    gamma : float
        0 for the linear kernel.
    """

    def __init__(
        self,
        X: Floats,
        y: Float64,
        X_val: Floats,
        y_val: Float64,
        gamma: float,
        C: float,
        tolerance: float,
        max_rounds: int,
    ) -> None:
        (n, d), m, size = X.shape, len(y_val), len(y)
        if size == n:
            raise InputError("index is empty; there is no row to move")
        self._shape, self._max_rounds = (size - n, d), max_rounds
        clean, val, width = in_blocks(narrow(X)), in_blocks(narrow(X_val)), d + -d % 4
        K, K_val = np.empty((size, size)), np.empty((size, m if gamma > 0 else 0))
        squares = np.empty(n + m)
        poison.fill_kernel(clean, val, width, gamma, squares, K, K_val)
        self._setting = clean, val, squares, y, y_val, gamma, C, tolerance, max_rounds
        last = np.zeros((size - n, width))
        last[:, :d] = np.nan  # no points yet
        margin, inverse = np.zeros(size + 1, np.int64), np.empty((size + 1, size + 1))
        a, g, v = np.zeros((3, size))
        w, held = np.zeros((2, m))
        self._state = last, K, K_val, margin, inverse, a, g, v, w, held, np.zeros(width)

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss after training with the points (p, d), and its gradient (p, d)."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        if points.shape != self._shape:
            raise InputError(f"points have shape {points.shape}, expected {self._shape}")
        gradient = np.empty_like(points)
        loss, violation, rounds = poison.poison_gradient(
            *self._setting, points, *self._state, gradient
        )
        if math.isnan(loss):
            raise InputError("points hold NaN or infinity")
        if rounds >= self._max_rounds:
            raise DivergenceError(f"the SVM's dual is off its optimum by {violation:.1e}: lower C")
        return loss, gradient

    def loss(self, points: Float64) -> float:
        """Return the loss alone; the gradient is what takes little time."""
        return self(points)[0]


def in_blocks(X: Floats) -> tuple[Floats, npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return X (n, d) in the form of kernels/linalg/blocks.py."""
    most, starts = len(X) * -(-X.shape[1] // 4), np.empty(len(X) + 1, np.int64)
    values, columns = np.empty((most, 4), X.dtype), np.empty(most, np.uint32)
    used = blocks.compress(X, values, columns, starts)
    return values[:used], columns[:used], starts


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


def gamma_on(gamma: Gamma, X: Floats) -> float:
    """Return the number that X (n, d) makes of an RBF kernel's gamma.

    ``scale`` is 1 / (d var), var that of all numbers of X, and 1 where they are all the same;
    ``auto`` is 1 / d.
    """
    if gamma == "scale":
        spread = float(np.asarray(X, dtype=np.float64).var())
        return 1.0 / (X.shape[1] * spread) if spread > 0 else 1.0
    return 1.0 / X.shape[1] if gamma == "auto" else float(gamma)


def narrow(X: Floats) -> Floats:
    """Return X in float32 if that holds it without rounding, else in float64."""
    X = np.asarray(X)
    if X.dtype == np.float32:
        return X
    wide, short = X.astype(np.float64, copy=False), X.astype(np.float32)
    return short if np.array_equal(short, wide) else wide
