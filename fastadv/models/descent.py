"""The training of a perceptron: mini-batch gradient descent with momentum, epoch after epoch."""

from __future__ import annotations

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.errors import DivergenceError, InputError
from fastadv.kernels.network import dense, loss
from fastadv.kernels.training import sgd
from fastadv.models.base import numbered
from fastadv.models.network import Ints, Network, Packed, add_up
from fastadv.models.rows import MOST, Rows, row_starts
from fastadv.models.schedule import Schedule, step_rates
from fastadv.models.stopping import Patience, why_unsettled
from fastadv.protocols import BatchGradient, Perturb
from fastadv.specs import format_value
from fastadv.threads import numba_threads, one_blas_thread

# (order of the rows, rate of each step) -> the sum of the rows' losses, each before its step
Epoch = Callable[[Ints, Float32], float]

_BLOCK = 64  # rows of a batch whose gradient is taken at once
_SPARSE = 0.4  # share of non-zeros below which training walks them alone


class Descent(ABC):
    """What trains a perceptron, by the cross-entropy or by any gradient that it is given.

    The parameters are those of `fastadv.models.mlp.MLPClassifier`.
    """

    batch_size: int
    learning_rate: Schedule
    learning_rate_init: float
    momentum: float
    alpha: float
    max_iter: int
    tol: float | None
    n_iter_no_change: int
    early_stopping: bool
    validation_fraction: float
    random_state: int | np.random.RandomState | None

    classes_: npt.NDArray[Any]
    loss_curve_: list[float]
    n_iter_: int
    validation_scores_: list[float] | None
    unsettled_: tuple[str, str] | None
    _params: Float32
    _sizes: Ints
    _packed: Packed

    @abstractmethod
    def network(self) -> Network:
        """Return the parameters as they stand and the shape of the network; a view."""

    @abstractmethod
    def check_parameters(self) -> None:
        """Raise InputError, in one line, if a parameter has no sense."""

    @abstractmethod
    def _layer_sizes(self, n_features: int, n_classes: int) -> Ints:
        """Return the width of each layer, the input's first."""

    @abstractmethod
    def _initial_parameters(self, rng: np.random.RandomState, sizes: Ints) -> Float64:
        """Draw the weights that training begins with."""

    def fit(self, X: Floats, y: npt.NDArray[Any]) -> Self:
        """Train on X (n, d) and labels y (n,).

        Warns
        -----
        ConvergenceWarning
            If training has not settled, see `unsettled_`.

        Raises
        ------
        DivergenceError
            If the loss or a weight is no longer finite.
        """
        return self.fit_perturbed(X, y, None)

    def fit_perturbed(self, X: Floats, y: npt.NDArray[Any], perturb: Perturb | None) -> Self:
        """Train as `fit` does, on what ``perturb`` makes of each batch just before its step.

        Parameters
        ----------
        perturb : callable or None
            ``perturb(model, x, rows, columns)`` gets the model as it stands, the batch (b, d), the
            rows' numbers in X and their class columns, and returns the batch to train on.
        """
        if perturb is not None:
            return self.fit_gradient(X, y, _cross_entropy_of(perturb))
        X, columns, rng = self._start(X, y)
        velocity, rows = np.zeros_like(self._params), _rows(X, self.batch_size)

        def epoch(order: Ints, rates: Float32) -> float:
            return self._descend(rows, columns, order, rates, velocity)

        return self._run(epoch, X, columns, rng)

    def fit_gradient(self, X: Floats, y: npt.NDArray[Any], gradient: BatchGradient) -> Self:
        """Train as `fit` does, on any loss: ``gradient`` gives it and its gradient for each batch.

        Parameters
        ----------
        gradient : callable
            ``gradient(model, x, rows, columns, out)`` gets the model as it stands, the batch
            (b, d), the rows' numbers in X and their class columns, fills ``out`` (P,) with the
            gradient of all parameters, summed over the batch, and returns the loss, summed too.
        """
        X, columns, rng = self._start(X, y)
        velocity, slope = np.zeros_like(self._params), np.empty_like(self._params)
        network, momentum = self.network(), np.float32(self.momentum)

        def epoch(order: Ints, rates: Float32) -> float:
            total = 0.0
            for rate, start in zip(rates, range(0, len(order), self.batch_size), strict=True):
                batch = order[start : start + self.batch_size]
                total += gradient(self, X[batch], batch, columns[batch], slope)
                if self.alpha:
                    decay, slopes = np.float32(self.alpha), network._replace(params=slope)
                    for k in range(network.n_layers):
                        slopes.matrix(k)[:] += decay * network.matrix(k)
                np.multiply(velocity, momentum, out=velocity)
                np.multiply(slope, rate / np.float32(len(batch)), out=slope)
                np.subtract(velocity, slope, out=velocity)
                np.add(self._params, velocity, out=self._params)
                self._packed.changed()
            return total

        with one_blas_thread():  # once: a step asks for it several times
            return self._run(epoch, X, columns, rng)

    def parameter_vjp(self, X: Float32) -> tuple[Float32, Callable[[Float32], Float32]]:
        """Return the logits (n, k) and the pullback to all parameters, (n, k) to (P,), summed.

        In the calling thread, of rows in C order.
        """
        network = self.network()
        hidden, logits = network.buffers(len(X))
        dense.forward_rows(
            X, network.params, self._packed(), network.sizes, network.activation, hidden, logits
        )
        return logits, lambda dlogits: network.backward(X, hidden, dlogits)

    def _start(
        self, X: Floats, y: npt.NDArray[Any]
    ) -> tuple[Float32, Labels, np.random.RandomState]:
        """Check what came in and draw the initial weights."""
        self.check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        X = np.require(X, requirements="W")  # kernels would be compiled anew for read-only rows
        check_classification_targets(y)
        self.classes_, columns = numbered(y)
        rng = check_random_state(self.random_state)
        self._sizes = self._layer_sizes(X.shape[1], len(self.classes_))
        self._take(self._initial_parameters(rng, self._sizes).astype(np.float32))
        return X, columns, rng

    def _run(self, epoch: Epoch, X: Float32, columns: Labels, rng: np.random.RandomState) -> Self:
        """Run the epochs, and warn if training has not settled."""
        trained, held = self._hold_out(columns, rng)
        patience = Patience(self.tol or 0.0, self.n_iter_no_change if self.may_stop() else math.inf)
        self.loss_curve_, self.validation_scores_ = [], [] if self.early_stopping else None
        best = self._params
        for number, rates in enumerate(self._rates(len(trained)).astype(np.float32)):
            total = epoch(trained[rng.permutation(len(trained))], rates)
            self.loss_curve_.append(total / len(trained))
            if not math.isfinite(total) or not np.isfinite(self._params).all():
                raise DivergenceError(
                    f"training diverged in epoch {number + 1} of {self.max_iter}: "
                    f"lower learning_rate_init (it is {self.learning_rate_init:g})"
                )
            score = -self.loss_curve_[-1]
            if self.validation_scores_ is not None:
                score = self._accuracy(X[held], columns[held])
                self.validation_scores_.append(score)
                if score > patience.best:
                    best = self._params.copy()
            if patience.is_over(score):
                break
        if self.early_stopping:
            self._take(best)
        self.n_iter_ = len(self.loss_curve_)
        self.unsettled_ = self._why_unsettled()
        if self.unsettled_ is not None:
            reason, remedy = self.unsettled_
            text = f"training has not settled: {reason}; what helps: {remedy}"
            warnings.warn(text, ConvergenceWarning, stacklevel=4)
        return self

    def _why_unsettled(self) -> tuple[str, str] | None:
        if self.tol is None:
            return None
        return why_unsettled(self.learning_rate, self.max_iter, self.loss_curve_)

    def may_stop(self) -> bool:
        """Return whether training can end before ``max_iter`` epochs, by the parameters."""
        watched = self.early_stopping or self.learning_rate == "constant"
        return watched and self.tol is not None and self.max_iter > self.n_iter_no_change + 1

    def without_effect(self) -> str | None:
        """Return None, or which parameter has no part in training, as `fit` does not mind."""
        defaults = inspect.signature(type(self)).parameters
        if not self.early_stopping and self.learning_rate != "constant":
            why = "it is for learning_rate=constant or early_stopping=true"
        elif self.tol is None:
            why = "tol=none goes on to max_iter"
        else:
            why = f"only more than {self.n_iter_no_change + 1} epochs (max_iter) can end early"
        idle = {} if self.may_stop() else {"tol": why, "n_iter_no_change": why}
        if not self.early_stopping:
            idle["validation_fraction"] = "it is for early_stopping=true"
        for name, reason in idle.items():
            value = getattr(self, name)
            if value not in (None, defaults[name].default):
                return f"{name}={format_value(value)} has no part: {reason}"
        return None

    def _hold_out(self, columns: Labels, rng: np.random.RandomState) -> tuple[Ints, Ints]:
        """Return the rows to train on and those that early stopping judges by."""
        everyone = np.arange(len(columns))
        if not self.early_stopping:
            return everyone, everyone[:0]
        from sklearn.model_selection import train_test_split  # takes a while to import

        try:
            trained, held = train_test_split(
                everyone, test_size=self.validation_fraction, stratify=columns, random_state=rng
            )
        except ValueError as error:
            raise InputError(
                f"early_stopping cannot hold out {self.validation_fraction:g}: {error}"
            ) from None
        return trained, held

    def _accuracy(self, X: Float32, columns: Labels) -> float:
        with one_blas_thread():
            logits, _ = self.network().forward(X)
        return float(np.mean(logits.argmax(axis=1) == columns))

    def _rates(self, n: int) -> Float64:
        """Return the rate of each step, (epochs, steps of each), in training on ``n`` rows."""
        n_steps = -(-n // self.batch_size)
        rates = step_rates(
            self.learning_rate, float(self.learning_rate_init), self.max_iter * n_steps
        )
        return rates.reshape(self.max_iter, n_steps)

    def _descend(
        self, rows: Rows, columns: Labels, order: Ints, rates: Float32, velocity: Float32
    ) -> float:
        with one_blas_thread(), numba_threads() as n_threads:
            total = sgd.epoch(
                *rows, columns, order, min(self.batch_size, len(order)), self._params, velocity,
                self._sizes, self.network().activation, rates, np.float32(self.momentum),
                np.float32(self.alpha), n_threads,
            )  # fmt: skip
        self._packed.changed()
        return float(total)

    def _take(self, params: Float32) -> None:
        self._params, self._packed = params, Packed(params, self._sizes)


def _cross_entropy_of(perturb: Perturb) -> BatchGradient:
    """Return the loss and gradient of what ``perturb`` makes of a batch."""

    def gradient(model: Any, x: Float32, rows: Labels, columns: Labels, out: Float32) -> float:
        x = np.ascontiguousarray(perturb(model, x, rows, columns), dtype=np.float32)

        def block(start: int, stop: int) -> tuple[Float32, float]:
            logits, pullback = model.parameter_vjp(x[start:stop])
            losses, dlogits = np.empty(stop - start), np.empty_like(logits)
            loss.cross_entropy(logits, columns[start:stop], losses, dlogits)
            return pullback(dlogits), float(losses.sum())

        return add_up(model, block, len(x), _BLOCK, out)

    return gradient


def _rows(X: Float32, batch_size: int) -> Rows:
    """Return X by its non-zeros where that is less work."""
    starts = row_starts(X)
    if starts[-1] > _SPARSE * X.size or max(X.shape[1], batch_size) > MOST:
        return Rows.dense(X)
    return Rows.sparse(X, starts)
