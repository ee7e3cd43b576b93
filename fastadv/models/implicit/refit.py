"""Trainings of scikit-learn that can be differentiated, and the attacker's loss after them.

LogisticRegression   multinomial or of two classes, L2 penalty         `smooth`, cross-entropy
LinearSVC            one against the rest, squared hinge               `smooth`, hinge
SVC                  one against one, linear or RBF kernel             `machines`, hinge
Pipeline             of scalers and one of these                       `rescaling`

What is differentiated is the optimum that a training is after. scikit-learn's own stops near it, as
far as its ``tol`` and ``max_iter`` let it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Floats, Labels
from fastadv.errors import InputError, refuse
from fastadv.models.adapters.inputs import Chain
from fastadv.models.adapters.takeover import name_of, steps
from fastadv.models.base import columns_of
from fastadv.models.implicit import judges
from fastadv.models.implicit.kernel import Kernel
from fastadv.models.implicit.machines import Machines
from fastadv.models.implicit.rescaling import Rescaling, rescaling_of
from fastadv.models.implicit.smooth import Logistic, Multinomial, SmoothTraining, SquaredHinge
from fastadv.task import Task
from fastadv.threads import one_blas_thread

Index = npt.NDArray[np.intp]

_LEAST, _SCALED = 5e-3, 3.0  # seconds of a gradient in Python alone; times as many behind a scaler


class Training(Protocol):
    """A training, and the attacker's loss after it, as a function of rows."""

    def loss(self, Z: Float64, Z_val: Float64) -> float:
        """Return the loss after training on rows Z (n, d), of rows Z_val (m, d)."""
        ...

    def __call__(
        self, Z: Float64, Z_val: Float64, rows: Index | None
    ) -> tuple[float, Float64, Float64]:
        """Return the loss and its derivative by rows of Z, or by all of them, and by Z_val."""
        ...


class Labelled(NamedTuple):
    """The labels of training and validation rows as columns from 0 to k - 1."""

    train: Labels
    val: Labels
    k: int


class Refit:
    """The attacker's loss after training as a function of p rows: a PoisonObjective.

    Parameters
    ----------
    training : Training
    scalers : sequence of Rescaling
        What is fitted on the training rows before it.
    inputs : Chain
        What is declared to be done to images first.
    X, X_val : ndarray of shape (n, d) and (m, d)
    index : ndarray of int, shape (p,)
        The rows of X that the points stand in for.
    """

    def __init__(
        self,
        training: Training,
        scalers: Sequence[Rescaling],
        inputs: Chain,
        X: Floats,
        index: Index,
        X_val: Floats,
    ) -> None:
        if not len(index):
            raise InputError("index is empty; there is no row to move")
        self._training, self._scalers, self._inputs = training, scalers, inputs
        self._X, self._index = np.array(X, dtype=np.float64), np.asarray(index)
        self._val = inputs(np.array(X_val, dtype=np.float64))

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        """Return the loss after training with the points (p, d), and its gradient (p, d)."""
        with one_blas_thread():
            Z, Z_val = self._rows(points)
            rows = None if self._scalers else self._index
            loss, G, G_val = self._training(Z, Z_val, rows)
            for scaler in reversed(self._scalers):
                G, G_val = scaler.pull(G, G_val)
            return loss, self._inputs.pull(G[self._index] if self._scalers else G)

    def loss(self, points: Float64) -> float:
        """Return the loss alone."""
        with one_blas_thread():
            return self._training.loss(*self._rows(points))

    def _rows(self, points: Float64) -> tuple[Float64, Float64]:
        """Return training and validation rows as the model is trained on them and asked."""
        points = np.asarray(points, dtype=np.float64)
        expected = (len(self._index), self._X.shape[1])
        if points.shape != expected:
            raise InputError(f"points have shape {points.shape}, expected {expected}")
        if not np.isfinite(points).all():
            raise InputError("points hold NaN or infinity")
        self._X[self._index] = points
        Z, Z_val = self._inputs(self._X), self._val
        for scaler in self._scalers:
            Z, Z_val = scaler(Z, Z_val)
        return Z, Z_val


def no_derivative(estimator: Any) -> str | None:
    """Return None, or why the training of a classifier of scikit-learn's kind has no derivative."""
    *before, last = steps(estimator)
    name = name_of(last)
    if name not in _KNOWN:
        return (
            "biggio needs a training that it can differentiate: of scikit-learn's classifiers "
            f"LogisticRegression, LinearSVC or SVC, not {type(last).__name__}"
        )
    fitted = [rescaling_of(step) for step in before]
    unknown = next((scaler for scaler in fitted if isinstance(scaler, str)), None)
    if unknown is not None:
        return (
            f"biggio does not differentiate how {unknown} is fitted on poisoned rows (it does of "
            "StandardScaler, MinMaxScaler and MaxAbsScaler)"
        )
    setting = _KNOWN[name].refuses(last) or _weights_refused(last)
    return setting and f"biggio does not differentiate {name} with {setting}"


def seconds(estimator: Any, n_rows: int, task: Task) -> float:
    """Return about how long one processor takes for a gradient, roughly: 0 where there is none."""
    *before, last = steps(estimator)
    known = _KNOWN.get(name_of(last))
    if known is None:
        return 0.0
    numbers = n_rows * task.n_features * task.n_classes
    return _LEAST + known.each * numbers * (_SCALED if before else 1.0)


def objective(
    estimator: Any,
    inputs: Chain,
    X_train: Floats,
    y_train: npt.NDArray[Any],
    index: Index,
    X_val: Floats,
    y_val: npt.NDArray[Any],
) -> Refit:
    """Return the loss after training an estimator, see `fastadv.protocols.PoisonableModel`.

    Raises
    ------
    InputError
        If its training has no derivative, or labels do not fit.
    """
    refuse(no_derivative(estimator))
    *before, last = steps(estimator)
    classes, columns = np.unique(y_train, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"y has one class ({classes[0]!r}); training needs two")
    labels = Labelled(columns.astype(np.int64), columns_of(classes, y_val), len(classes))
    scalers = [made for step in before if isinstance(made := rescaling_of(step), Rescaling)]
    training = _KNOWN[name_of(last)].make(last, labels)
    return Refit(training, scalers, inputs, X_train, index, X_val)


# -- the classifiers ---------------------------------------------------------------------------


class _Known(NamedTuple):
    """What is known of a classifier.

    Attributes
    ----------
    refuses : callable
        Estimator to the parameter that has no derivative here, or None.
    make : callable
        Estimator and labels to its training.
    each : float
        Seconds a gradient takes for each row, column and class.
    """

    refuses: Callable[[Any], str | None]
    make: Callable[[Any, Labelled], Training]
    each: float


def _logistic_refused(model: Any) -> str | None:
    penalty, ratio = getattr(model, "penalty", "deprecated"), getattr(model, "l1_ratio", None)
    if penalty is None or np.inf == model.C:
        return "no penalty (its optimum need not exist)"
    if penalty not in ("l2", "deprecated") or (penalty == "deprecated" and ratio):
        return "an L1 penalty (its optimum has kinks)"
    if getattr(model, "multi_class", "auto") == "ovr":
        return "multi_class=ovr"
    return None


def _logistic(model: Any, labels: Labelled) -> Training:
    by_liblinear = model.solver == "liblinear"  # penalises the intercept, which no other does
    if by_liblinear and labels.k > 2:
        raise InputError("LogisticRegression with solver=liblinear takes two classes")
    scale = (float(model.C) * _class_weights(model, labels))[labels.train][:, np.newaxis]
    q = 1 if labels.k == 2 else labels.k
    loss = Logistic(judges.signs(labels.train, 2)) if q == 1 else Multinomial(labels.train)
    constant = float(model.intercept_scaling) if by_liblinear else 1.0
    return SmoothTraining(
        loss, scale, q, constant if model.fit_intercept else 0.0, by_liblinear,
        judges.cross_entropy(labels.val, q),
    )  # fmt: skip


def _linear_svc_refused(model: Any) -> str | None:
    if model.loss != "squared_hinge":
        return f"loss={model.loss} (it does with squared_hinge)"
    if model.penalty != "l2":
        return "an L1 penalty (its optimum has kinks)"
    return None if model.multi_class == "ovr" else f"multi_class={model.multi_class}"


def _linear_svc(model: Any, labels: Labelled) -> Training:
    """Each machine weighs its own class by the class's weight, and all others by 1 (liblinear)."""
    weights, y = _class_weights(model, labels), judges.signs(labels.train, labels.k)
    if labels.k == 2:
        scale = weights[labels.train][:, np.newaxis]
    else:
        scale = np.where(y > 0, weights[labels.train][:, np.newaxis], 1.0)
    constant = float(model.intercept_scaling) if model.fit_intercept else 0.0
    q = y.shape[1]
    return SmoothTraining(
        SquaredHinge(y), float(model.C) * scale, q, constant, True, judges.hinge(labels.val, q)
    )


def _svc_refused(model: Any) -> str | None:
    if model.kernel not in ("linear", "rbf"):
        return f"kernel={model.kernel if isinstance(model.kernel, str) else 'a function'}"
    if model.class_weight is not None:
        return "class_weight"
    return None


def _svc(model: Any, labels: Labelled) -> Training:
    return Machines(
        Kernel(None if model.kernel == "linear" else model.gamma),
        labels.train, labels.val, labels.k, float(model.C),
    )  # fmt: skip


def _weights_refused(model: Any) -> str | None:
    """Return that weights are of other classes than those that an attack sees, 0 to k - 1."""
    given = model.class_weight
    if not isinstance(given, dict) or set(given) == set(range(len(given))):
        return None
    return "class_weight for other labels than 0, 1, 2, ..., each of them"


def _class_weights(model: Any, labels: Labelled) -> Float64:
    """Return the weight of each class, (k,)."""
    given = model.class_weight
    if given is None:
        return np.ones(labels.k)
    if not isinstance(given, dict):
        return len(labels.train) / (labels.k * np.bincount(labels.train, minlength=labels.k))
    if len(given) != labels.k:
        raise InputError(f"class_weight has {len(given)} classes, the training set {labels.k}")
    return np.array([float(given[c]) for c in range(labels.k)])


_KNOWN: dict[str, _Known] = {
    "LogisticRegression": _Known(_logistic_refused, _logistic, 8e-8),
    "LinearSVC": _Known(_linear_svc_refused, _linear_svc, 2.5e-8),
    "SVC": _Known(_svc_refused, _svc, 1.5e-8),
}
