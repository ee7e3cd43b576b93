"""Classifiers with scikit-learn's contract: taken over where they are known, else a black box."""

from __future__ import annotations

import copy
import sys
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone

from fastadv.arrays import Arrays, Floats
from fastadv.errors import InputError, require
from fastadv.models.adapters.declared import Declared, Taken
from fastadv.models.adapters.function import FunctionModel
from fastadv.models.adapters.inputs import Chain
from fastadv.models.adapters.network import DenseNetwork
from fastadv.models.adapters.outputs import Outputs
from fastadv.models.adapters.pairs import Pairs
from fastadv.models.adapters.takeover import steps, taken_over
from fastadv.models.base import DifferentiableModel, LogitsModel
from fastadv.models.implicit import refit
from fastadv.models.network import Network
from fastadv.protocols import Pullback
from fastadv.task import Task
from fastadv.threads import one_openmp_thread

TAKEN_OVER = "taken over"

# What a black box may be asked for, the first that there is.
_ASKED = ("decision_function", "predict_proba", "predict")

_FEW = 4096  # rows to train on, for which threads cost more than they save

_KEPT: dict[str, Any] = {"DenseNetwork": DenseNetwork, "Pairs": Pairs}


def _home(estimator: Any) -> str:
    """Return the library that an estimator's class is of, as far as it is one."""
    library = type(estimator).__module__.partition(".")[0]
    return library if library in sys.modules else "sklearn"


class Answers:
    """What a trained classifier answers, a row each: its scores, probabilities or labels."""

    def __init__(self, estimator: Any, by: str) -> None:
        self._estimator, self._by = estimator, by

    def __call__(self, X: Floats) -> npt.NDArray[Any]:
        """Return the scores or probabilities (n, k) or (n,), or (n, k) of 0 and 1."""
        with one_openmp_thread(_home(self._estimator)):
            answers = np.asarray(getattr(self._estimator, self._by)(X))
        if self._by != "predict":
            return answers
        equal: Floats = answers[:, np.newaxis] == np.asarray(self._estimator.classes_)
        return equal.astype(np.float64)


class Scikit(BaseEstimator, LogitsModel):  # type: ignore[misc]
    """A classifier of scikit-learn's kind as a black box: logits without a gradient.

    Parameters
    ----------
    estimator : estimator
        Trained or not; `fit` trains a clone of it.
    inputs : Chain
        What is done to images first, in training too.
    take_over : bool
        Whether what is known is taken over with its gradient.
    """

    foreign = True

    def __init__(self, estimator: Any, inputs: Chain | None = None, take_over: bool = True) -> None:
        self.estimator, self.inputs, self.take_over = estimator, inputs, take_over

    def fit(self, X: Floats, y: npt.NDArray[Any]) -> Self:
        """Train a clone of the estimator on X (n, d) and labels y (n,)."""
        few = one_openmp_thread(_home(self.estimator)) if len(X) < _FEW else nullcontext()
        with few:
            return self._take(clone(self.estimator).fit(self._prepared(X), y))

    def trained(self) -> Self:
        """Return the same with the estimator as it has been trained."""
        return self._take(self.estimator)

    def _prepared(self, X: Floats) -> Floats:
        return X if self.inputs is None else self.inputs(X)

    def _take(self, fitted: Any) -> Self:
        self.fitted_, self.model_, self.how_ = met(fitted, self.inputs or Chain(), self.take_over)
        self.classes_ = self.model_.classes_
        return self

    def original_labels(self, X: Floats) -> npt.NDArray[Any]:
        """Return what the trained estimator itself predicts, (n,)."""
        return np.asarray(self.fitted_.predict(self._prepared(X)))

    def no_derivative(self) -> str | None:
        """Return None, or why the estimator's training cannot be differentiated."""
        return refit.no_derivative(self.estimator)

    def gradient_seconds(self, n_rows: int, task: Task) -> float:
        """Return about how long one processor takes for a gradient of `poison_objective`."""
        return refit.seconds(self.estimator, n_rows, task)

    def poison_objective(
        self,
        X_train: Floats,
        y_train: npt.NDArray[Any],
        index: npt.NDArray[np.intp],
        X_val: Floats,
        y_val: npt.NDArray[Any],
    ) -> refit.Refit:
        """Return the loss on X_val after training as a function of rows of X_train.

        See `fastadv.protocols.PoisonableModel`, and `fastadv.models.implicit.refit` for which loss
        it is and which trainings have a derivative.
        """
        return refit.objective(
            self.estimator, self.inputs or Chain(), X_train, y_train, index, X_val, y_val
        )

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k)."""
        if not hasattr(self, "model_"):
            raise InputError(f"{type(self.estimator).__name__} is not trained: call its fit first")
        return self.model_.logits(X)


class DifferentiableScikit(Scikit, DifferentiableModel):
    """One that is taken over with its gradient."""

    foreign = False
    model_: DifferentiableModel

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k)."""
        return Scikit.logits(self, X)

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback to X (n, d), in the calling thread."""
        return self.model_.vjp(X)

    def features(self, X: Floats, *, activated: bool = True) -> Floats:
        """Return what the last hidden layer makes of X, or X itself without one."""
        model: Any = self.model_
        features: Floats = model.features(X, activated=activated)
        return features

    def state(self) -> Arrays:
        """Return the trained model as plain arrays, without what it was taken from."""
        model: Any = self.model_
        state: Arrays = model.state()
        return {"kind": np.array(type(model).__name__), **state}

    def from_state(self, arrays: Arrays) -> Self:
        """Return the trained model of which `state` gave these arrays; this one stays as it is."""
        again: Self = clone(self)
        again.model_ = _KEPT[str(arrays["kind"])].from_state(arrays)
        again.classes_ = again.model_.classes_
        return again


class LayeredScikit(DifferentiableScikit):
    """One that is a network of dense layers."""

    model_: DenseNetwork

    def network(self) -> Network:
        """Return the parameters as they stand and the shape of the network; a view."""
        return self.model_.network()


def take(estimator: Any, declared: Declared) -> Taken:
    """Return a trained classifier of scikit-learn's kind as a model that keeps the protocols.

    It is a copy: training the estimator further does not change it.

    Raises
    ------
    InputError
        If it is not trained, is no classifier, or tells several labels of one image.
    """
    check_classifier(estimator)
    if declared.classes is not None or declared.outputs.probabilities:
        raise InputError(
            f"{type(estimator).__name__} has classes_ and scores of its own; leave out classes and "
            "probabilities"
        )
    name = "+".join(type(step).__name__ for step in steps(estimator))
    try:
        snapshot = copy.deepcopy(estimator)
    except Exception as error:
        raise InputError(f"{name} cannot be copied ({type(error).__name__}: {error})") from None
    trainable = hasattr(snapshot, "get_params") and hasattr(snapshot, "fit")
    if trainable:  # attacks have threads of their own
        snapshot.set_params(
            **{key: None for key in snapshot.get_params() if key.endswith("n_jobs")}
        )
    inputs = declared.inputs("rows", flat=True)
    inner = met(snapshot, inputs, declared.take_over)[1]
    kind = Scikit
    if isinstance(inner, DifferentiableModel):
        kind = LayeredScikit if isinstance(inner, DenseNetwork) else DifferentiableScikit
    model = kind(snapshot, inputs, declared.take_over).trained()
    n_features = getattr(snapshot, "n_features_in_", None)
    return Taken(
        model,
        name,
        model.how_,
        ("scikit-learn", snapshot, inputs),
        n_features,
        clone(model) if trainable else None,
        "" if trainable else f"{name} has no fit and get_params",
    )


def check_classifier(estimator: Any) -> None:
    """Raise InputError unless it is a trained classifier with one label an image."""
    name = type(estimator).__name__
    if isinstance(estimator, type):
        raise InputError(f"{estimator.__name__} is a class; give a trained object of it")
    if not any(hasattr(estimator, by) for by in _ASKED):
        if hasattr(estimator, "fit") and hasattr(type(estimator), "predict"):
            raise InputError(f"{name} is not trained: call its fit first")
        raise InputError(
            f"{name} is no model that fastadv knows: it has none of {', '.join(_ASKED)}, logits "
            "or vjp; give its functions: fastadv.wrap(logits=f, vjp=g)"
        )
    kind = getattr(estimator, "_estimator_type", None) or _estimator_type(estimator)
    if kind not in (None, "classifier"):
        raise InputError(f"{name} is no classifier but a {kind}")
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise InputError(f"{name} is not trained (it has no classes_): call its fit first")
    if isinstance(classes, list) or getattr(estimator, "multilabel_", False):
        raise InputError(f"{name} tells several labels of an image; fastadv takes one")
    if getattr(estimator, "out_activation_", "") == "logistic" and estimator.n_outputs_ > 1:
        raise InputError(f"{name} tells several labels of an image; fastadv takes one")
    require(len(classes) >= 2, f"{name} has to know two classes at least", list(classes))


def _estimator_type(estimator: Any) -> str | None:
    try:
        tags = estimator.__sklearn_tags__()
    except Exception:  # of a class that is of scikit-learn's kind in part
        return None
    found: str | None = tags.estimator_type
    return found


def met(estimator: Any, inputs: Chain, take_over: bool) -> tuple[Any, LogitsModel, str]:
    """Return a trained estimator, the model that attacks meet in its place, and how they do."""
    model = taken_over(estimator, inputs) if take_over else None
    if model is not None:
        return estimator, model, TAKEN_OVER
    classes, by = np.asarray(estimator.classes_), _asked(estimator)
    outputs = Outputs(probabilities=by != "decision_function")
    return estimator, FunctionModel(Answers(estimator, by), inputs, outputs, classes), by


def _asked(estimator: Any) -> str:
    """Return what a black box is asked for: scores, if there is one for each class."""
    one_each = getattr(estimator, "decision_function_shape", "ovr") != "ovo"
    return next(
        by for by in _ASKED if hasattr(estimator, by) and (one_each or by != "decision_function")
    )
