"""Models of scikit-learn that are taken over exactly, by the name of their class.

A class that is derived from one of these may answer in another way, and is not taken over.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from fastadv.arrays import Float64
from fastadv.models.adapters.inputs import Affine, Chain
from fastadv.models.adapters.network import DenseNetwork
from fastadv.models.adapters.pairs import Pairs
from fastadv.models.base import DifferentiableModel
from fastadv.models.svm_objective import kernel_matrix

_SOME = 256  # support vectors that tell how large margins are
USUAL_LOGIT = 10.0


def taken_over(estimator: Any, inputs: Chain) -> DifferentiableModel | None:
    """Return the model with its gradient, or None if it is none of those that are known here.

    Parameters
    ----------
    estimator : estimator
        A trained classifier of scikit-learn, or a `Pipeline` that ends in one.
    inputs : Chain
        What is done to an image first.
    """
    *before, last = steps(estimator)
    taker = _TAKEN.get(name_of(last))
    affine = [_AFFINE[name_of(step)](step) for step in before if name_of(step) in _AFFINE]
    known = [step for step in affine if step is not None]
    if taker is None or len(known) < len(before):
        return None
    return taker(last, Chain((*inputs.steps, *known)))


def steps(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline, of those inside it too; of anything else itself."""
    if name_of(estimator) != "Pipeline":
        return [estimator]
    inside = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    return [inner for step in inside for inner in steps(step)]


def name_of(thing: Any) -> str:
    """Return the name of an object's class if that is scikit-learn's own, else nothing."""
    cls = type(thing)
    return cls.__name__ if cls.__module__.partition(".")[0] == "sklearn" else ""


# -- what stands before a model --------------------------------------------------------------


def _standard(step: Any) -> Affine | None:
    """(x - mean) / scale, either of which may be off."""
    n = step.n_features_in_
    scale = np.ones(n) if step.scale_ is None else np.asarray(step.scale_, dtype=np.float64)
    mean = np.zeros(n) if not step.with_mean else np.asarray(step.mean_, dtype=np.float64)
    return Affine(1 / scale, -mean / scale)


def _min_max(step: Any) -> Affine | None:
    """X * scale + min; with ``clip`` it is not affine."""
    return None if step.clip else Affine(np.asarray(step.scale_), np.asarray(step.min_))


def _max_abs(step: Any) -> Affine | None:
    scale = np.asarray(step.scale_, dtype=np.float64)
    clips = "clip" in step.get_params() and step.clip
    return None if clips else Affine(1 / scale, np.zeros_like(scale))


def _pca(step: Any) -> Affine | None:
    """(x - mean) @ components.T, divided by the standard deviations if it whitens."""
    components: Float64 = np.asarray(step.components_, dtype=np.float64).T
    if step.whiten:
        least = np.finfo(step.explained_variance_.dtype).eps
        components = components / np.maximum(np.sqrt(step.explained_variance_), least)
    return Affine(components, -np.asarray(step.mean_, dtype=np.float64) @ components)


_AFFINE: dict[str, Callable[[Any], Affine | None]] = {
    "StandardScaler": _standard, "MinMaxScaler": _min_max, "MaxAbsScaler": _max_abs, "PCA": _pca,
}  # fmt: skip


# -- models ----------------------------------------------------------------------------------


def _perceptron(model: Any, inputs: Chain) -> DifferentiableModel | None:
    """Logits whose softmax, or with two classes logistic function, is ``predict_proba``."""
    return DenseNetwork.of(
        model.coefs_, model.intercepts_, model.activation, inputs, np.asarray(model.classes_)
    )


def _log_odds(model: Any, inputs: Chain) -> DifferentiableModel | None:
    """Return (0, z) for two classes, z being the logarithm of the odds; else decision_function."""
    W = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T
    b = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), W.shape[1:])
    return DenseNetwork.of([W], [b], "identity", inputs, np.asarray(model.classes_))


def _hyperplanes(model: Any, inputs: Chain) -> DifferentiableModel | None:
    """Return (-f, f) for two classes, as our own SVC has them; else decision_function, scaled.

    These are trained to be about 1 or -1. A softmax of such numbers tells hardly any classes apart,
    and whoever climbs its cross-entropy is drawn to all of them at once, not to the nearest.
    """
    W = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T
    b = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), W.shape[1:])
    if W.shape[1] == 1:
        W, b = np.hstack([-W, W]), np.concatenate([-b, b])
    else:
        W, b = USUAL_LOGIT * W, USUAL_LOGIT * b
    return DenseNetwork.of([W], [b], "identity", inputs, np.asarray(model.classes_))


def _svc(model: Any, inputs: Chain) -> DifferentiableModel | None:
    """Machines of two classes each; of the linear kernel one of two classes is a hyperplane."""
    if model.kernel not in ("linear", "rbf"):
        return None
    if not isinstance(model.support_vectors_, np.ndarray):  # sparse
        return None
    classes, vectors = np.asarray(model.classes_), np.asarray(model.support_vectors_)
    if model.kernel == "linear" and len(classes) == 2:
        return _hyperplanes(model, inputs)
    dual, bias = _duels(model), np.asarray(model.intercept_, dtype=np.float64)
    if len(classes) == 2:  # its values are positive for the second class
        dual, bias = -dual, -bias
    gamma = 0.0 if model.kernel == "linear" else float(model._gamma)
    scale = 1.0 if len(classes) == 2 else _scale(vectors, dual, bias, gamma)
    by_margin = bool(model.break_ties and model.decision_function_shape == "ovr")
    if model.kernel == "linear":
        W, b = inputs.fold(vectors.T @ dual, bias)
        return Pairs(W.T.copy(), np.eye(len(b)), b, gamma, classes, by_margin, scale=scale)
    before = _one_step(inputs, vectors.shape[1])
    return Pairs(vectors, dual, bias, gamma, classes, by_margin, before, scale)


def _scale(vectors: Float64, dual: Float64, bias: Float64, gamma: float) -> float:
    """Return what makes a support vector's usual margin as large as a network's usual logit."""
    some = vectors[:: max(1, len(vectors) // _SOME)]
    usual = float(np.median(np.abs(kernel_matrix(some, vectors, gamma) @ dual + bias)))
    return USUAL_LOGIT / usual if usual > 0 else 1.0


def _duels(model: Any) -> Float64:
    """Return the factor of each support vector in each machine of two classes, (n_sv, p).

    ``dual_coef_[m, s]`` is that of vector s, of class c, in the machine of c and the m-th of the
    other classes.
    """
    k, dual = len(model.classes_), np.asarray(model.dual_coef_, dtype=np.float64)
    of_class = np.repeat(np.arange(k), model.n_support_)
    out = np.zeros((len(of_class), k * (k - 1) // 2))
    for p, (i, j) in enumerate(combinations(range(k), 2)):
        out[of_class == i, p] = dual[j - 1, of_class == i]
        out[of_class == j, p] = dual[i, of_class == j]
    return out


def _one_step(inputs: Chain, width: int) -> Affine | None:
    """Return all steps as one; a factor for each pixel where no pixel is mixed with another."""
    if not inputs.steps:
        return None
    factor, offset = inputs.fold(np.eye(width), np.zeros(width))
    if factor.shape[0] == width and np.count_nonzero(factor - np.diag(np.diag(factor))) == 0:
        factor = np.diag(factor).copy()
    return Affine(factor, offset)


_TAKEN: dict[str, Callable[[Any, Chain], DifferentiableModel | None]] = {
    "MLPClassifier": _perceptron,
    "LogisticRegression": _log_odds, "LogisticRegressionCV": _log_odds,
    "LinearDiscriminantAnalysis": _log_odds,
    "LinearSVC": _hyperplanes, "SGDClassifier": _hyperplanes, "RidgeClassifier": _hyperplanes,
    "Perceptron": _hyperplanes, "SVC": _svc,
}  # fmt: skip
