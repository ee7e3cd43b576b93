"""The training of a perceptron as a function of some of its rows, with its exact derivative."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastadv.errors import DivergenceError
from fastadv.kernels import unroll
from fastadv.protocols import Float64, Floats, Labels

Ints = npt.NDArray[np.int64]

_MEMORY = 128 * 2**20  # bytes that the stored trajectory of one gradient may take


@dataclass(frozen=True)
class Training:
    """Every step of a training run, but for the data.

    Attributes
    ----------
    sizes : ndarray of int64
        The width of each layer, the input's first.
    activation : int
        As numbered in kernels/dense.py.
    learning_rate, momentum, alpha : float
    initial : ndarray of float64
        The first parameters.
    batches : ndarray of int64, shape (steps, batch)
        Row numbers, padded with -1.
    """

    sizes: Ints
    activation: int
    learning_rate: float
    momentum: float
    alpha: float
    initial: Float64
    batches: Ints


def batches(rng: np.random.RandomState, n: int, batch_size: int, epochs: int) -> Ints:
    """Return the row numbers of each step, (steps, batch), padded with -1: as `fit` draws them."""
    batch_size = min(batch_size, n)
    per_epoch = -(-n // batch_size)
    out = np.full((epochs * per_epoch, batch_size), -1, dtype=np.int64)
    for epoch in range(epochs):
        rows = out[epoch * per_epoch : (epoch + 1) * per_epoch].reshape(-1)
        rows[:n] = rng.permutation(n)
    return out


class Objective:
    """The validation loss after training as a function of the rows ``index``: a PoisonObjective.

    The weights of all steps are stored or, where they would take too much memory, recomputed from
    a checkpoint every sqrt(steps) steps, which gives the same bits.
    """

    def __init__(
        self,
        training: Training,
        X: Floats,
        columns: Labels,
        index: npt.NDArray[np.intp],
        X_val: Floats,
        columns_val: Labels,
    ) -> None:
        self.training = training
        self.X, self.columns = np.array(X, dtype=np.float64, order="C"), columns
        self.index = np.asarray(index)
        self.X_val, self.columns_val = np.ascontiguousarray(X_val, np.float64), columns_val
        self.slots = np.full(len(self.X), -1, dtype=np.int64)
        self.slots[self.index] = np.arange(len(self.index))
        self.setting = (
            training.sizes, training.activation, training.learning_rate, training.momentum,
            training.alpha,
        )  # fmt: skip

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss with ``points`` (p, d) as the rows, and its gradient (p, d)."""
        self.X[self.index] = points
        steps, size = len(self.training.batches), self.training.initial.size
        segment = steps if 8 * steps * size <= _MEMORY else math.isqrt(steps - 1) + 1
        starts = range(0, steps, segment)
        params, velocity = self.training.initial.copy(), np.zeros(size)
        checkpoints = []
        trajectory = np.empty((0, size))
        for start in starts:
            checkpoints.append((params.copy(), velocity.copy()))
            last = start + segment >= steps
            trajectory = self._train(start, start + segment, params, velocity, last)
        adjoint, adjoint_velocity = np.empty(size), np.zeros(size)
        loss = unroll.loss_gradient(
            self.X_val, self.columns_val, params, *self.setting[:2], 0.0, adjoint
        )
        if not math.isfinite(loss):
            raise DivergenceError(
                "training diverged: lower learning_rate_init "
                f"(it is {self.training.learning_rate:g})"
            )
        gradient = np.zeros((len(self.index), self.X.shape[1]))
        for start in reversed(starts):
            if start != starts[-1]:
                params, velocity = checkpoints[start // segment]
                trajectory = self._train(start, start + segment, params, velocity, True)
            unroll.reverse(
                self.X, self.columns, self.slots, self.training.batches[start : start + segment],
                trajectory, *self.setting, adjoint, adjoint_velocity, gradient,
            )  # fmt: skip
        return float(loss), gradient

    def _train(
        self, start: int, stop: int, params: Float64, velocity: Float64, store: bool
    ) -> Float64:
        batches = self.training.batches[start:stop]
        trajectory = np.empty((len(batches) if store else 0, params.size))
        unroll.train(self.X, self.columns, batches, params, velocity, *self.setting, trajectory)
        return trajectory
