"""The training of a perceptron as a function of some of its rows, with its exact derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Floats, Labels
from fastadv.errors import DivergenceError
from fastadv.kernels.linalg import sparse
from fastadv.kernels.training import unroll
from fastadv.kernels.training.unroll import Adjoints, State, Trace
from fastadv.models.rows import MOST, Rows
from fastadv.threads import in_pool, map_chunks, one_blas_thread, thread_count

Ints = npt.NDArray[np.int64]
Form = Literal["gram", "dense", "sparse"]

_MEMORY = 256 * 2**20  # bytes that stored trajectories may take, over all threads
_LARGE = 2**23  # multiplications of a step, n n h: beyond, threads share it
_BLOCK = 256  # rows that a thread takes at once then
_PANEL = 32  # columns of C, likewise
_SPARSE = 0.6  # multiplications by non-zeros, two passes, over those of the Gram matrix, at most
# What a non-zero costs beside its h multiplications, counted in those of a dense product: to be
# found and transposed.
_OVERHEAD = 128


@dataclass(frozen=True)
class Training:
    """Every step of a training run, but for the data.

    Attributes
    ----------
    sizes : ndarray of int64
        The width of each layer, the input's first.
    activation : int
        As numbered in kernels/network/dense.py.
    momentum, alpha : float
    initial : ndarray of float64
        The first parameters.
    batches : ndarray of int64, shape (steps, batch)
        Row numbers, padded with -1.
    rates : ndarray of float64, shape (steps,)
        The learning rate of each step.
    """

    sizes: Ints
    activation: int
    momentum: float
    alpha: float
    initial: Float64
    batches: Ints
    rates: Float64


def batches(rng: np.random.RandomState, n: int, batch_size: int, epochs: int) -> Ints:
    """Return the row numbers of each step, (steps, batch), padded with -1: as `fit` draws them."""
    batch_size = min(batch_size, n)
    per_epoch = -(-n // batch_size)
    out = np.full((epochs * per_epoch, batch_size), -1, dtype=np.int64)
    for epoch in range(epochs):
        rows = out[epoch * per_epoch : (epoch + 1) * per_epoch].reshape(-1)
        order = rng.permutation(n)
        rows[:n] = order if batch_size < n else np.arange(n)  # a sum over all rows has no order
    return out


class Objective:
    """The validation loss after training as a function of the rows ``index``: a PoisonObjective.

    Where the training set is not much larger than an image, the first layer is trained in Gram form
    (see kernels/training/unroll.py): a call then needs only the products of the moved rows with the
    others and with the validation images, and no step touches an image. Mini-batches of images that
    are mostly zero are trained on by their non-zeros.

    The activations of all steps are stored or, where they would take too much memory, recomputed
    from a checkpoint every sqrt(steps) steps, which gives the same bits.

    Parameters
    ----------
    training : Training
    X, columns : ndarray of shape (n, d) and (n,)
        The training set; labels as columns of the logits.
    index : ndarray of int, shape (p,)
    X_val, columns_val : ndarray of shape (m, d) and (m,)
    form : {"gram", "dense", "sparse"} or None
        The features of the first layer: the Gram matrix, the images or their non-zeros; None
        chooses what is cheapest.
    """

    def __init__(
        self,
        training: Training,
        X: Floats,
        columns: Labels,
        index: npt.NDArray[np.intp],
        X_val: Floats,
        columns_val: Labels,
        form: Form | None = None,
    ) -> None:
        self.training = training
        self.X, self.columns = np.array(X, dtype=np.float64, order="C"), columns
        self.index = np.asarray(index)
        self.X_val, self.columns_val = np.ascontiguousarray(X_val, np.float64), columns_val
        (n, d), h = self.X.shape, int(training.sizes[1])
        self.first, self.upper = training.initial[: d * h].reshape(d, h), training.initial[d * h :]
        self.sizes = np.array([0, *training.sizes[1:]], dtype=np.int64)
        self.setting = unroll.Setting(
            self.sizes, training.activation, training.momentum, training.alpha
        )
        self.slots = np.full(n, -1, dtype=np.int64)
        self.slots[self.index] = np.arange(len(self.index))
        self.form: Form = self._cheapest() if form is None else form
        whole = training.batches.shape[1] == n
        # Neither is a matter of threads, but of bits.
        self.shared = self.form == "gram" and whole and n * n * h >= _LARGE
        self.shared_sparse = (
            self.shared and max(n, d) <= MOST and 2 * np.count_nonzero(self.X) <= _SPARSE * n * n
        )
        with one_blas_thread():
            if self.form == "gram":
                gram = self.X @ self.X.T
                self.features, self.features_val = Rows.dense(gram), self.X_val @ self.X.T
                self.offset, self.offset_val = self.X @ self.first, self.X_val @ self.first
            else:
                self.features, self.features_val = Rows.dense(self.X), self.X_val
                self.offset = self.offset_val = np.empty((0, h))

    def _cheapest(self) -> Form:
        """Choose by multiplications for a row of a batch, there and back."""
        (n, d), h = self.X.shape, self.first.shape[1]
        batch = self.training.batches.shape[1]
        gram, dense = 2 * n * h, 4 * d * h
        if gram < dense and batch == n and n * n * h >= _LARGE:
            return "gram"  # which threads share
        # The points may move anywhere.
        non_zeros = np.count_nonzero(self.X[self.slots < 0]) + len(self.index) * d
        by_non_zeros = 4 * non_zeros / n * (h + _OVERHEAD)
        if by_non_zeros < min(gram, dense) and max(batch, d) <= MOST:
            return "sparse"
        return "gram" if gram < dense else "dense"

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss with ``points`` (p, d) as the rows, and its gradient (p, d)."""
        with one_blas_thread():
            self._place(points)
            state, checkpoints, trace = self._train(store=True)
            loss, first, upper = self._validate(state)
            return loss, self._reverse(state, checkpoints, trace, first, upper)

    def loss(self, points: Float64) -> float:
        """Return the loss alone, which takes a third of the time."""
        with one_blas_thread():
            self._place(points)
            return self._validate(self._train(store=False)[0])[0]

    def _validate(self, state: State) -> tuple[float, Float64, Float64]:
        """Return the validation loss, d(loss)/d(A_1) of its images and d(loss)/d(upper)."""
        first = np.empty((len(self.X_val), self.first.shape[1]))
        upper_adjoint = np.empty_like(self.upper)
        loss = unroll.validation_loss(
            self.features_val, self.offset_val, self.columns_val, self.setting, state, first,
            upper_adjoint,
        )  # fmt: skip
        if not math.isfinite(loss):
            raise DivergenceError(
                f"training diverged: lower learning_rate_init (it is {self.training.rates[0]:g})"
            )
        return float(loss), first, upper_adjoint

    def _place(self, points: Float64) -> None:
        """Put the points into the training set, and into what is kept of its products."""
        self.X[self.index] = points
        if self.form == "gram":
            products = points @ self.X.T
            self.features.X[self.index] = products
            self.features.X[:, self.index] = products.T
            self.features_val[:, self.index] = self.X_val @ points.T
            self.offset[self.index] = points @ self.first
        if self.form == "sparse":
            self.features = Rows.sparse(self.X)
        if self.shared_sparse:
            non_zeros = Rows.sparse(self.X)
            self.non_zeros = *non_zeros[1:], *non_zeros.by_columns()

    def _initial_state(self) -> State:
        if self.form == "gram":
            C, scale = np.zeros((len(self.X), self.first.shape[1])), np.array([1.0, 0.0])
        else:
            C, scale = _aligned_copy(self.first), np.zeros(2)
        return State(C, np.zeros_like(C), scale, self.upper.copy(), np.zeros_like(self.upper))

    @property
    def _segment(self) -> int:
        """The steps that are stored at once."""
        steps, batch = self.training.batches.shape
        size = 8 * (batch * int(self.sizes[1:].sum()) + self.upper.size)
        memory = _MEMORY // thread_count() if in_pool() else _MEMORY
        return steps if steps * size <= memory else math.isqrt(steps - 1) + 1

    def _train(self, store: bool) -> tuple[State, list[State], Trace]:
        """Return the last state, that before each segment, and what was stored of the last one."""
        state, checkpoints = self._initial_state(), []
        steps, segment = len(self.training.batches), self._segment
        for start in range(0, steps, segment):
            checkpoints.append(State(*map(np.copy, state)))
            state, trace = self._train_segment(state, start, store and start + segment >= steps)
        return state, checkpoints, trace

    def _steps(self, start: int) -> tuple[Ints, Float64]:
        """Return the batches and the rates of the segment that begins with a step."""
        part = slice(start, start + self._segment)
        return self.training.batches[part], self.training.rates[part]

    def _train_segment(self, state: State, start: int, store: bool) -> tuple[State, Trace]:
        """Return the state after a segment, whose arrays may be those of ``state``."""
        batches, rates = self._steps(start)
        steps = len(batches) if store else 1
        size = batches.shape[1] * int(self.sizes[1:].sum())
        trace = Trace(np.empty((steps, size)), np.empty((steps, self.upper.size)))
        if self.shared:
            return self._train_together(state, rates, trace), trace
        unroll.train(
            self.features, self.offset, self.columns, batches, rates, self.setting, state, trace
        )
        return state, trace

    def _reverse(
        self,
        state: State,
        checkpoints: list[State],
        trace: Trace,
        first: Float64,
        upper_adjoint: Float64,
    ) -> Float64:
        """Return the gradient, from d(loss)/d(A_1) of the validation images and the last state."""
        n_points, h = len(self.index), first.shape[1]
        if self.form == "gram":
            offset, E, share = self.features_val.T @ first, np.zeros_like(state.C), np.ones(2)
        else:
            offset, E, share = np.empty((0, h)), self.X_val.T @ first, np.zeros(2)
        E_poison, V_poison = np.zeros((2, n_points, h))
        rows, columns = np.zeros((n_points, len(self.X))), np.zeros((n_points, len(E)))
        adjoints = Adjoints(
            E, _aligned_copy(E), share, upper_adjoint, upper_adjoint.copy(), E_poison, V_poison,
            rows, columns,
        )  # fmt: skip
        segment = self._segment
        for k in reversed(range(len(checkpoints))):
            batches, rates = self._steps(k * segment)
            if k < len(checkpoints) - 1:
                _, trace = self._train_segment(checkpoints[k], k * segment, store=True)
            if self.shared:
                self._reverse_together(offset, rates, trace, adjoints)
                continue
            unroll.reverse(
                self.features, offset, self.columns, self.slots, batches, rates, self.setting,
                trace, adjoints,
            )  # fmt: skip
        gradient: Float64 = E_poison @ self.first.T
        if self.form == "gram":
            gradient += (rows + columns) @ self.X
            gradient += (state.C[self.index] @ first.T) @ self.X_val
        else:
            gradient += rows @ self.X + columns
        return gradient

    # -- a large full batch: the threads share the rows of a step ---------------------------------

    def _on_blocks(self, work: Callable[[int, int, int], None]) -> None:
        """Call ``work(block, start, stop)`` on blocks of rows, the same for any threads."""

        def one(start: int, stop: int) -> None:
            work(start // _BLOCK, start, stop)

        map_chunks(one, len(self.X), _BLOCK)

    def _gram_times(self, C: Float64) -> Float64:
        """Return X X' C, (n, h)."""
        out = np.empty_like(C)

        def some_columns(first: int, last: int) -> None:
            sparse.gram_times(*self.non_zeros, C, first, last, out)

        def some_rows(start: int, stop: int) -> None:
            np.dot(self.features.X[start:stop], C, out[start:stop])

        if self.shared_sparse:
            map_chunks(some_columns, C.shape[1], _PANEL)
        else:
            map_chunks(some_rows, len(out), _BLOCK)
        return out

    def _penalty(self, vector: Float64) -> Float64:
        """Return the gradient of alpha |W|^2 / 2 for the upper matrices; biases are spared."""
        out, start = np.zeros_like(vector), int(self.sizes[1])
        for n_in, n_out in zip(self.sizes[1:-1], self.sizes[2:], strict=True):
            out[start : start + n_in * n_out] = vector[start : start + n_in * n_out]
            start += (n_in + 1) * n_out
        return self.training.alpha * out

    def _train_together(self, state: State, rates: Float64, trace: Trace) -> State:
        """Do what `unroll.train` does, and return the last state."""
        n, per_row = len(self.X), int(self.sizes[1:].sum())
        _, _, momentum, alpha = self.setting
        gradients = np.empty((-(-n // _BLOCK), self.upper.size))
        C_next = np.empty_like(state.C)
        for t, learning_rate in enumerate(rates):
            rate, slot = learning_rate / n, t if len(trace.uppers) > 1 else 0
            trace.uppers[slot] = state.upper
            products = self._gram_times(state.C)

            def forward(
                block: int, start: int, stop: int, products: Float64 = products,
                learning_rate: float = learning_rate, state: State = state,
                C_next: Float64 = C_next, stored: Float64 = trace.activations[slot],
            ) -> None:  # fmt: skip
                unroll.train_rows(
                    products, self.offset, self.columns, start, stop, learning_rate, self.setting,
                    state, C_next, stored[start * per_row : stop * per_row], gradients[block],
                )  # fmt: skip

            self._on_blocks(forward)
            state, C_next = state._replace(C=C_next), state.C
            scale, velocity = state.scale, state.upper_velocity
            scale[1] = momentum * scale[1] - rate * alpha * scale[0]
            scale[0] += scale[1]
            gradient = gradients.sum(axis=0) + self._penalty(state.upper)
            velocity[:] = momentum * velocity - rate * gradient
            state.upper[:] += velocity
        return state

    def _reverse_together(
        self, offset: Float64, rates: Float64, trace: Trace, adjoints: Adjoints
    ) -> None:
        """Do what `unroll.reverse` does. The adjoints are modified."""
        n, per_row = len(self.X), int(self.sizes[1:].sum())
        _, _, momentum, alpha = self.setting
        gradients = np.empty((-(-n // _BLOCK), self.upper.size))
        share, upper, direction = adjoints.share, adjoints.upper, adjoints.upper_direction
        now, V_next = adjoints, np.empty_like(adjoints.V)
        for t in range(len(trace.uppers) - 1, -1, -1):
            products, rate = self._gram_times(now.V), rates[t]

            def backward(
                block: int, start: int, stop: int, t: int = t, products: Float64 = products,
                now: Adjoints = now, V_next: Float64 = V_next, rate: float = rate,
            ) -> None:  # fmt: skip
                unroll.reverse_rows(
                    products, offset, self.columns, self.slots, start, stop, rate, self.setting,
                    trace.activations[t, start * per_row : stop * per_row], trace.uppers[t], now,
                    V_next, gradients[block],
                )  # fmt: skip

            self._on_blocks(backward)
            now, V_next = now._replace(V=V_next), now.V
            now.V_poison[:] = now.V[self.index]
            share[0] -= rate * alpha / n * share[1]
            share[1] = momentum * share[1] + share[0]
            upper -= rate * (gradients.sum(axis=0) + self._penalty(direction) / n)
            direction[:] = momentum * direction + upper
        adjoints.V[:] = now.V
        adjoints.E_poison[:] = adjoints.E[self.index]


def _aligned_copy(a: Float64) -> Float64:
    out: Float64 = sparse.aligned(*a.shape, a.dtype)
    out[:] = a
    return out
