"""A multi-layer perceptron with softmax output, trained by mini-batch gradient descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastadv import checks
from fastadv.arrays import Arrays, Float32, Float64, Floats, Labels
from fastadv.errors import InputError, at_least, brief, refuse, require
from fastadv.kernels.network import dense
from fastadv.models import unrolled
from fastadv.models.base import (
    DifferentiableModel,
    TrainingDifferentiable,
    columns_of,
    probabilities,
)
from fastadv.models.descent import Descent
from fastadv.models.network import Ints, Network, layers_of, n_params
from fastadv.models.saved import (
    Saved,
    as_text,
    built,
    from_text,
    plain_classes,
    taken,
    taken_classes,
)
from fastadv.models.schedule import Schedule
from fastadv.protocols import PoisonObjective, Pullback
from fastadv.specs import check_arguments
from fastadv.threads import one_blas_thread

ACTIVATIONS = {"logistic": dense.LOGISTIC, "tanh": dense.TANH, "relu": dense.RELU}
Activation = Literal["logistic", "tanh", "relu"]


class MLPClassifier(
    ClassifierMixin,  # type: ignore[misc]
    Descent,
    TrainingDifferentiable,
    DifferentiableModel,
    Saved,
    BaseEstimator,  # type: ignore[misc]
):
    """Multi-layer perceptron: softmax cross-entropy, SGD with heavy-ball momentum, float32.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(128,)
        ``()``, in a spec none, is softmax regression.
    activation : {"logistic", "tanh", "relu"}, default="logistic"
        Of the hidden layers.
    batch_size : int, default=100
        The last batch of an epoch may be smaller.
    learning_rate : {"constant", "linear", "cooldown"}, default="cooldown"
        What becomes of the rate over all ``max_iter`` epochs, step by step: ``constant``;
        ``linear``, it falls to 0; ``cooldown``, it falls to 0 over the last 30 % of the steps.
    learning_rate_init : float, default=0.4
        Of the first step.
    momentum : float, default=0.9
        Heavy ball: v = momentum * v - rate * gradient; w = w + v.
    alpha : float, default=0.0
        L2 penalty on the matrices, divided by the batch size as in scikit-learn.
    max_iter : int, default=10
        Epochs.
    tol : float or None, default=1e-4
        At a constant rate training ends early, as in scikit-learn, when the mean loss of an epoch
        has not been ``tol`` below the least so far for more than ``n_iter_no_change`` epochs. A
        rate that falls has its length from ``max_iter``, and goes to its end. None: never ends
        early, and whether training has settled is not judged.
    n_iter_no_change : int, default=10
        Epochs without progress that are waited for.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows, in the proportions of the classes; keep the
        weights that get most of them right (as they came, whatever is trained on) after any epoch;
        and end, at any rate, when that share has not risen by ``tol`` for more than
        ``n_iter_no_change`` epochs.
    validation_fraction : float, default=0.1
        Of the rows, with ``early_stopping``.
    random_state : int, RandomState instance or None, default=0
        Of the initial weights (Glorot and Bengio, AISTATS 2010, as scikit-learn scales them) and
        of the order of the samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coefs_, intercepts_ : list of ndarray, float32
        ``coefs_[i]`` has shape (n_in, n_out).
    loss_curve_ : list of float
        The mean cross-entropy of each epoch, each sample taken just before its step.
    n_iter_ : int
        The epochs that were run.
    validation_scores_ : list of float, or None
        With ``early_stopping``, the share of the rows held out that was right after each epoch.
    unsettled_ : tuple of str, or None
        Why the result still hangs on when training ended, and what helps, see
        `fastadv.models.stopping.why_unsettled`; None if it has settled. `fit` warns of it.
    n_features_in_ : int

    Examples
    --------
    >>> from fastadv import load_dataset
    >>> ds = load_dataset("mnist")
    >>> model = MLPClassifier(random_state=0).fit(ds.x_train, ds.y_train)
    >>> bool(model.score(ds.x_test, ds.y_test) > 0.973)
    True
    """

    n_features_in_: int

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128,),
        activation: Activation = "logistic",
        *,
        batch_size: int = 100,
        learning_rate: Schedule = "cooldown",
        learning_rate_init: float = 0.4,
        momentum: float = 0.9,
        alpha: float = 0.0,
        max_iter: int = 10,
        tol: float | None = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def check_parameters(self) -> None:
        """Raise InputError, in one line, if a parameter has no sense."""
        check_arguments(self, MLPClassifier)
        at_least(1, batch_size=self.batch_size, max_iter=self.max_iter)
        at_least(1, n_iter_no_change=self.n_iter_no_change)
        widths, rate = self.hidden_layer_sizes, self.learning_rate_init
        whole = np.ndim(widths) == 1 and all(isinstance(width, Integral) for width in widths)
        positive = whole and all(width >= 1 for width in widths)
        require(positive, "hidden_layer_sizes has to hold whole, positive widths", widths)
        require(0 < rate < math.inf, "learning_rate_init has to be above 0", rate)
        require(0 <= self.momentum < 1, "momentum has to be in [0, 1)", self.momentum)
        require(0 <= self.alpha < math.inf, "alpha has to be at least 0", self.alpha)
        at_least(0, tol=self.tol)
        seed: object = self.random_state
        if isinstance(seed, Integral):
            require(0 <= int(seed) < 2**32, f"random_state has to be from 0 to {2**32 - 1}", seed)
        share = self.validation_fraction
        require(0 < share < 1, "validation_fraction has to be above 0 and below 1", share)

    def _layer_sizes(self, n_features: int, n_classes: int) -> Ints:
        return np.array([n_features, *self.hidden_layer_sizes, n_classes], dtype=np.int64)

    def _initial_parameters(self, rng: np.random.RandomState, sizes: Ints) -> Float64:
        factor = 2.0 if self.activation == "logistic" else 6.0
        parts = []
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            bound = math.sqrt(factor / (n_in + n_out))
            parts.append(rng.uniform(-bound, bound, (n_in + 1) * n_out))
        return np.concatenate(parts)

    # -- the derivative of training ------------------------------------------------------------

    def poison_objective(
        self,
        X_train: Floats,
        y_train: Labels,
        index: npt.NDArray[np.intp],
        X_val: Floats,
        y_val: Labels,
    ) -> PoisonObjective:
        """Return the validation loss after training as a function of the rows ``index``.

        Training is in float64 and takes the steps that `fit` takes: the same initial weights, the
        same batches. The loss is the mean cross-entropy on the validation set, its gradient the
        exact derivative through every step (Munoz-Gonzalez et al., AISec 2017, arXiv 1708.08689,
        section 4, without Algorithm 3's reversed dynamics); see `fastadv.models.unrolled`.

        Raises
        ------
        InputError
            If training can end early: what ends it has no derivative.
        """
        self.check_parameters()
        refuse(self.no_derivative())
        classes, columns = np.unique(y_train, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"y_train has one class ({classes[0]}); training needs two")
        rng = check_random_state(self.random_state)
        sizes = self._layer_sizes(X_train.shape[1], len(classes))
        training = unrolled.Training(
            sizes=sizes,
            activation=ACTIVATIONS[self.activation],
            momentum=float(self.momentum),
            alpha=float(self.alpha),
            initial=self._initial_parameters(rng, sizes),
            batches=unrolled.batches(rng, len(X_train), self.batch_size, self.max_iter),
            rates=self._rates(len(X_train)).ravel(),
        )
        return unrolled.Objective(
            training, X_train, columns.astype(np.int64), index, X_val, columns_of(classes, y_val)
        )

    def no_derivative(self) -> str | None:
        """Return None, or which of the parameters makes training one without a derivative."""
        if self.early_stopping:
            return "there is no derivative through early_stopping; leave it off"
        if self.may_stop():
            return (
                "there is no derivative through training that tol can end: tol=none, or a rate "
                "that falls (learning_rate=cooldown)"
            )
        return None

    # -- the trained model -----------------------------------------------------------------------

    def vjp(self, X: Floats) -> tuple[Float32, Pullback]:
        """Return the logits (n, k) and the pullback to X, both float32, in the calling thread."""
        network = self.network()
        X = checks.rows(X, int(network.sizes[0]))
        n, n_features = X.shape
        packed, (hidden, logits) = self._packed(), network.buffers(n)
        x = np.require(X, np.float32, ["C", "A", "W"])
        dense.forward_rows(
            x, network.params, packed, network.sizes, network.activation, hidden, logits
        )

        def pullback(dlogits: Floats) -> Float32:
            out = np.empty((n, n_features), dtype=np.float32)
            slope = np.ascontiguousarray(dlogits, dtype=np.float32)
            dense.input_gradient_rows(packed, network.sizes, network.activation, hidden, slope, out)
            return out

        return logits, pullback

    def logits(self, X: Floats) -> Float32:
        """Return the logits, shape (n, n_classes), float32."""
        check_is_fitted(self, "_params")
        X = validate_data(self, X, dtype=np.float32, order="C", reset=False)
        return super().logits(X)

    def network(self) -> Network:
        """Return the parameters as they stand and the shape of the network; a view."""
        if "_params" not in vars(self):  # that check takes as long as the passes of some images
            check_is_fitted(self, "_params")
        return Network(self._params, self._sizes, ACTIVATIONS[self.activation])

    def features(self, X: Floats, *, activated: bool = True) -> Float32:
        """Return the last hidden layer's activations (n, width), or without one X itself.

        Not ``activated``: what the layer sums up, before its activation.
        """
        network, out = self.network(), np.ascontiguousarray(X, dtype=np.float32)
        for layer in range(network.n_layers - 1):
            if layer > 0:
                dense.activate(out, network.activation)
            with one_blas_thread():
                out = out @ network.matrix(layer) + network.bias(layer)
        if activated and network.n_layers > 1:
            dense.activate(out, network.activation)
        return out

    def decision_function(self, X: Floats) -> Float32:
        """Return the logits (n, k), or with two classes their difference (n,)."""
        logits = self.logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Floats) -> Float64:
        """Return the softmax of the logits, shape (n, k), float64."""
        return probabilities(self.logits(X))

    @property
    def coefs_(self) -> list[Float32]:
        """The matrices, read-only views of shape (n_in, n_out)."""
        network = self._read_only()
        return [network.matrix(k) for k in range(network.n_layers)]

    @property
    def intercepts_(self) -> list[Float32]:
        """The biases, read-only views of shape (n_out,)."""
        network = self._read_only()
        return [network.bias(k) for k in range(network.n_layers)]

    def _read_only(self) -> Network:
        network = self.network()
        params = network.params.view()
        params.flags.writeable = False  # other weights would have to be packed anew
        return network._replace(params=params)

    # -- given weights ----------------------------------------------------------------------------

    @classmethod
    def from_weights(
        cls,
        coefs: Sequence[npt.ArrayLike],
        intercepts: Sequence[npt.ArrayLike],
        *,
        activation: Activation = "logistic",
        classes: npt.ArrayLike | None = None,
    ) -> MLPClassifier:
        """Make a trained model of given weights.

        Parameters
        ----------
        coefs, intercepts : sequence of array-like
            In scikit-learn's layout: ``coefs[i]`` (n_in, n_out), ``intercepts[i]`` (n_out,). A last
            layer of one column is the logistic output z of a network of two classes, whose logits
            are (0, z): the same probabilities.
        classes : array-like of shape (n_classes,), optional
            Each once; 0 to n_classes - 1 unless given.

        Raises
        ------
        InputError
            If the shapes do not fit together, or a weight is not finite.
        """
        matrices, biases = layers_of(coefs, intercepts)
        model = cls(tuple(w.shape[1] for w in matrices[:-1]), activation)
        model.check_parameters()
        n_classes = matrices[-1].shape[1]
        model.classes_ = np.arange(n_classes) if classes is None else np.asarray(classes)
        if model.classes_.shape != (n_classes,) or len(np.unique(model.classes_)) < n_classes:
            raise InputError(
                f"classes {model.classes_.tolist()} for {n_classes} columns of logits, expected "
                "one each"
            )
        model._sizes = np.array([matrices[0].shape[0], *(w.shape[1] for w in matrices)])
        parts = [part.ravel() for pair in zip(matrices, biases, strict=True) for part in pair]
        model._take(np.concatenate(parts))
        model.n_features_in_ = int(model._sizes[0])
        model.loss_curve_, model.n_iter_ = [], 0
        model.validation_scores_ = model.unsettled_ = None
        return model

    # -- as plain arrays ----------------------------------------------------------------------

    def state(self) -> Arrays:
        """Return all that the trained model is, as plain arrays."""
        check_is_fitted(self, "_params")
        parameters = self.get_params()
        if not isinstance(self.random_state, Integral | None):
            parameters["random_state"] = None
        return {
            "parameters": as_text(parameters), "classes": plain_classes(self.classes_),
            "sizes": self._sizes, "weights": self._params,
            "loss_curve": np.array(self.loss_curve_),
            "validation_scores": np.array(self.validation_scores_ or []),
        }  # fmt: skip

    @classmethod
    def from_state(cls, arrays: Arrays) -> Self:
        """Return the model of which `state` gave these arrays."""
        parameters = from_text(taken(arrays, "parameters", "U", 0))
        widths = parameters.get("hidden_layer_sizes")
        parameters["hidden_layer_sizes"] = tuple(widths) if isinstance(widths, list) else widths
        model = built(cls, parameters)
        model.check_parameters()
        sizes = taken(arrays, "sizes", "iu", 1)
        if sizes[1:-1].tolist() != list(model.hidden_layer_sizes) or sizes.min(initial=1) < 1:
            raise InputError(f"layers of {brief(sizes)} do not fit its parameters")
        model._sizes = sizes.astype(np.int64)
        model.classes_ = taken_classes(arrays, int(sizes[-1]))
        weights, expected = taken(arrays, "weights", "f", 1), n_params(model._sizes)
        if len(weights) != expected or weights.dtype != np.float32:
            raise InputError(f"{weights.size} weights, expected {expected} of float32")
        model._take(weights)
        model.loss_curve_ = taken(arrays, "loss_curve", "f", 1).tolist()
        model.n_iter_, model.n_features_in_ = len(model.loss_curve_), int(model._sizes[0])
        model.validation_scores_ = taken(arrays, "validation_scores", "f", 1).tolist() or None
        model.unsettled_ = model._why_unsettled()
        return model
