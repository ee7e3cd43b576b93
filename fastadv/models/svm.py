"""A support vector machine for two classes, trained to rounding, and the derivative of training."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from fastadv import checks
from fastadv.arrays import Arrays, Float64, Floats
from fastadv.errors import DivergenceError, InputError, require
from fastadv.kernels.svm import dual
from fastadv.models.base import DifferentiableModel, TrainingDifferentiable
from fastadv.models.saved import (
    Saved,
    as_text,
    built,
    from_text,
    plain_classes,
    taken,
    taken_classes,
)
from fastadv.models.svm_objective import Objective, gamma_on, kernel_matrix
from fastadv.protocols import Pullback
from fastadv.specs import check_arguments
from fastadv.task import Task
from fastadv.threads import map_chunks

TOLERANCE = 1e-8  # of the optimality conditions, in units of the margin
MAX_ROUNDS = 10_000  # one to ten are usual

_CHUNK = 1024  # rows a thread takes at once when it predicts
_MOST_ROWS = 16_384  # to train on: their kernel matrix takes 2 GiB


class SVC(ClassifierMixin, DifferentiableModel, TrainingDifferentiable, Saved, BaseEstimator):  # type: ignore[misc]
    """C-support vector classification of two classes, in float64.

    The dual is solved until no pair of multipliers violates its optimality conditions by more
    than 1e-8 (or than rounding makes of values of this size, for a C in the thousands), on a
    kernel matrix that is held whole. Decision values are those of ``sklearn.svm.SVC``, which
    reaches about 1e-6: its kernel matrix is float32.

    Parameters
    ----------
    C : float, default=1.0
        The weight of the hinge losses beside ``|w|^2 / 2``.
    kernel : {"linear", "rbf"}, default="linear"
        ``x'z``, or ``exp(-gamma |x - z|^2)``.
    gamma : {"scale", "auto"} or float, default="scale"
        1 / (n_features * X.var()), 1 / n_features, or a number. What is chosen by the data
        changes with a poisoned row: `resolve` fixes it on the clean set, for attacker and victim.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    support_ : ndarray of int, shape (n_sv,)
        The rows with a multiplier other than 0.
    support_vectors_ : ndarray of shape (n_sv, d)
    dual_coef_ : ndarray of shape (1, n_sv)
        alpha_i y_i, where y is 1 for ``classes_[1]`` and -1 for ``classes_[0]``.
    intercept_ : ndarray of shape (1,)
        Where no multiplier lies strictly between 0 and C, the middle of what is optimal.
    coef_ : ndarray of shape (1, d)
        The weights of the linear kernel.
    gamma_ : float
        What ``gamma`` came to; 0 for the linear kernel, which has none.
    kkt_violation_ : float
        The largest violation of the optimality conditions that is left.
    n_iter_ : int
        Rounds of pairwise and Newton steps.
    n_features_in_ : int

    Examples
    --------
    >>> from fastadv import load_dataset
    >>> ds = load_dataset("mnist[classes=7-1,train=100]")
    >>> bool(SVC().fit(ds.x_train, ds.y_train).score(ds.x_test, ds.y_test) > 0.95)
    True
    """

    classes_: npt.NDArray[Any]
    support_: npt.NDArray[np.intp]
    support_vectors_: Float64
    dual_coef_: Float64
    intercept_: Float64
    gamma_: float
    kkt_violation_: float
    n_iter_: int
    n_features_in_: int

    def __init__(
        self,
        C: float = 1.0,
        kernel: Literal["linear", "rbf"] = "linear",
        gamma: Literal["scale", "auto"] | float = "scale",
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.gamma = gamma

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def supports(self, task: Task) -> str | None:
        """Return None, or the reason why the data cannot be learnt."""
        if task.n_classes != 2:
            return (
                f"it tells two classes apart, there are {task.n_classes}; "
                "keep two of them: classes=1-0 in the brackets behind the data's name"
            )
        return None

    # -- training ---------------------------------------------------------------------------

    def fit(self, X: Floats, y: npt.NDArray[Any]) -> Self:
        """Train on X (n, d) and labels y (n,) of two classes.

        Raises
        ------
        InputError
            If y has other than two classes, or X too many rows for its kernel matrix.
        DivergenceError
            If the optimality conditions are not met after very many rounds.
        """
        self.check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float64, order="C")
        check_classification_targets(y)
        self.classes_, signs = signed(y)
        if len(X) > _MOST_ROWS:
            raise InputError(
                f"{len(X)} rows make a kernel matrix of {8 * len(X) ** 2 / 2**30:.0f} GiB; "
                f"SVC takes at most {_MOST_ROWS} (a dataset is narrowed by train={_MOST_ROWS})"
            )
        self.gamma_ = self._gamma_on(X)
        K = kernel_matrix(X, X, self.gamma_)
        a, g = np.zeros(len(X)), np.empty(len(X))
        bias, self.kkt_violation_, self.n_iter_ = dual.solve(
            K, signs, float(self.C), TOLERANCE, MAX_ROUNDS, a, g
        )
        if self.n_iter_ >= MAX_ROUNDS:
            raise DivergenceError(
                f"the SVM's dual is off its optimum by {self.kkt_violation_:.1e} after "
                f"{MAX_ROUNDS} rounds: lower C (it is {self.C:g}) or scale the data"
            )
        self.support_ = np.flatnonzero(a)
        self._set(X[self.support_], a[self.support_], bias)
        return self

    def _set(self, support_vectors: Float64, dual: Float64, bias: float) -> None:
        self.support_vectors_ = support_vectors
        self.dual_coef_, self.intercept_ = dual[np.newaxis], np.array([bias])
        self.n_features_in_ = support_vectors.shape[1]
        self._coef = np.zeros(self.n_features_in_)
        for start in range(0, len(dual), _CHUNK):  # one after another, for any number the same sum
            rows = slice(start, start + _CHUNK)
            terms = dual[rows, np.newaxis] * support_vectors[rows]
            self._coef = np.add.accumulate(np.vstack([self._coef, terms]), axis=0)[-1]
        self._squares = np.square(support_vectors).sum(axis=1)
        self._columns = np.ascontiguousarray(support_vectors.T)

    def check_parameters(self) -> None:
        """Raise InputError, in one line, if a parameter has no sense."""
        check_arguments(self, SVC)
        require(self.C > 0, "C has to be above 0", self.C)
        require(
            isinstance(self.gamma, str) or self.gamma > 0, "gamma has to be above 0", self.gamma
        )

    def without_effect(self) -> str | None:
        """Return None, or which parameter has no part in training, as `fit` does not mind."""
        if self.kernel == "linear" and self.gamma != "scale":
            return f"gamma={self.gamma} has no part: it is for kernel=rbf"
        return None

    def resolve(self, X: Floats) -> SVC:
        """Return an untrained copy whose gamma is the number that X (the clean set) makes of it."""
        self.check_parameters()
        model: SVC = clone(self)
        if self.kernel == "rbf":
            model.gamma = self._gamma_on(X)
        return model

    def _gamma_on(self, X: Floats) -> float:
        return 0.0 if self.kernel == "linear" else gamma_on(self.gamma, X)

    # -- the derivative of training ------------------------------------------------------------

    def poison_objective(
        self,
        X_train: Floats,
        y_train: npt.NDArray[Any],
        index: npt.NDArray[np.intp],
        X_val: Floats,
        y_val: npt.NDArray[Any],
    ) -> Objective:
        """Return the mean hinge loss max(0, 1 - y f(x)) on X_val as a function of rows of X_train.

        See `fastadv.protocols.PoisonableModel`. Training starts from the last solution. Where a
        margin vector appears or goes, the loss has a kink, and the derivative is that of one side;
        at a point that is no support vector it is 0.

        References
        ----------
        Biggio, Nelson and Laskov, ICML 2012 (arXiv 1206.6389), section 3, with the row that is
        missing there where a point is itself on the margin.
        """
        self.check_parameters()
        classes, signs = signed(y_train)
        y_val = np.asarray(y_val)
        strange = (y_val != classes[0]) & (y_val != classes[1])
        if strange.any():
            raise InputError(f"y_val holds the label {y_val[strange][0]}, which y_train does not")
        clean = np.delete(np.arange(len(signs)), index)
        X_clean = np.asarray(X_train)[clean]
        return Objective(
            X_clean, np.concatenate([signs[clean], signs[index]]), np.asarray(X_val),
            np.where(y_val == classes[1], 1.0, -1.0),
            self._gamma_on(X_clean), float(self.C), TOLERANCE, MAX_ROUNDS,
        )  # fmt: skip

    # -- the trained model -----------------------------------------------------------------------

    def decision_function(self, X: Floats) -> Float64:
        """Return f(x), shape (n,): above 0 for ``classes_[1]``, 1 on its margin."""
        check_is_fitted(self, "dual_coef_")
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        parts = map_chunks(lambda start, stop: self._decide(X[start:stop])[0], len(X), _CHUNK)
        return np.concatenate(parts)

    def _decide(self, X: Float64) -> tuple[Float64, Float64]:
        """Return f (n,) and the kernel with the support vectors, (n, n_sv) or (n, 0)."""
        out, bias = np.empty(len(X)), float(self.intercept_[0])
        if self.kernel == "linear":
            dual.linear_decision(X, self._coef, bias, out)
            return out, np.empty((len(X), 0))
        K = np.empty((len(X), len(self._squares)))
        dual.rbf_decision(
            X, self._columns, self._squares, self.dual_coef_[0], bias, self.gamma_, K, out
        )
        return out, K

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the label of each row of X, shape (n,)."""
        columns = (self.decision_function(X) > 0).astype(np.intp)
        labels: npt.NDArray[Any] = self.classes_[columns]
        return labels

    def logits(self, X: Floats) -> Floats:
        """Return (-f, f), shape (n, 2), in the float type of X."""
        f = self.decision_function(X)
        return np.stack([-f, f], axis=1).astype(_float_type(X))

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (-f, f) and the pullback to X, in its float type."""
        check_is_fitted(self, "dual_coef_")
        X = checks.rows(X, self.n_features_in_)
        kind = _float_type(X)
        X = np.ascontiguousarray(X, dtype=np.float64)
        f, K = self._decide(X)

        def pullback(dlogits: Floats) -> Floats:
            scale = dlogits[:, 1].astype(np.float64) - dlogits[:, 0]
            if self.kernel == "linear":
                return (scale[:, np.newaxis] * self._coef).astype(kind)
            out = np.empty_like(X)
            dual.rbf_input_gradient(
                X, self.support_vectors_, self.dual_coef_[0], self.gamma_, K, scale, out
            )
            return out.astype(kind)

        return np.stack([-f, f], axis=1).astype(kind), pullback

    def features(self, X: Floats, *, activated: bool = True) -> Floats:
        """Return X itself: there is no hidden layer."""
        return np.asarray(X)

    @property
    def coef_(self) -> Float64:
        """The weights (1, d) of the linear kernel."""
        check_is_fitted(self, "dual_coef_")
        if self.kernel != "linear":
            raise AttributeError("coef_ is there for the linear kernel only")
        return self._coef[np.newaxis]

    # -- as plain arrays -------------------------------------------------------------------------

    def state(self) -> Arrays:
        """Return all that the trained model is, as plain arrays."""
        check_is_fitted(self, "dual_coef_")
        return {
            "parameters": as_text(self.get_params()), "classes": plain_classes(self.classes_),
            "support": self.support_, "vectors": self.support_vectors_,
            "dual": self.dual_coef_[0], "bias": self.intercept_, "gamma": np.array(self.gamma_),
            "training": np.array([self.kkt_violation_, self.n_iter_]),
        }  # fmt: skip

    @classmethod
    def from_state(cls, arrays: Arrays) -> Self:
        """Return the model of which `state` gave these arrays."""
        model = built(cls, from_text(taken(arrays, "parameters", "U", 0)))
        model.check_parameters()
        model.classes_ = taken_classes(arrays, 2)
        model.support_ = taken(arrays, "support", "iu", 1)
        vectors, dual = taken(arrays, "vectors", "f", 2), taken(arrays, "dual", "f", 1)
        bias = taken(arrays, "bias", "f", 1)
        fit = vectors.shape[1] > 0 and dual.shape == model.support_.shape == (len(vectors),)
        if not fit or bias.shape != (1,):
            raise InputError(f"vectors {vectors.shape} and multipliers {dual.shape} do not fit")
        model.gamma_ = float(taken(arrays, "gamma", "f", 0))
        training = taken(arrays, "training", "f", 1)
        if training.shape != (2,):
            raise InputError("what it says of its training cannot be read")
        model.kkt_violation_, model.n_iter_ = float(training[0]), int(training[1])
        model._set(vectors.astype(np.float64), dual.astype(np.float64), float(bias[0]))
        return model


def signed(y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Float64]:
    """Return the two classes and each label as -1.0 or 1.0.

    Raises
    ------
    InputError
        If there are not two.
    """
    classes, columns = np.unique(y, return_inverse=True)
    if len(classes) > 2:
        raise InputError(
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(y)} ({len(classes)} classes); keep two of them (a dataset is "
            "narrowed by classes=1-0)"
        )
    if len(classes) < 2:
        raise InputError(f"y has one class ({classes[0]!r}); training needs two")
    return classes, np.where(columns == 1, 1.0, -1.0)


def _float_type(X: Floats) -> npt.DTypeLike:
    return np.float32 if np.asarray(X).dtype == np.float32 else np.float64
