"""A network of dense layers from elsewhere, taken over into the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Arrays, Float32, Float64, Floats
from fastadv.errors import InputError
from fastadv.models.adapters.inputs import Chain
from fastadv.models.base import DifferentiableModel
from fastadv.models.mlp import Activation, MLPClassifier
from fastadv.models.network import Network
from fastadv.protocols import Pullback


class DenseNetwork(DifferentiableModel):
    """The logits of a trained `fastadv.models.mlp.MLPClassifier`, without its training.

    What trained the network is another library, whose way of training ours is not.
    """

    def __init__(self, perceptron: MLPClassifier) -> None:
        self._perceptron = perceptron
        self.classes_: npt.NDArray[Any] = perceptron.classes_

    @classmethod
    def of(
        cls,
        coefs: Sequence[npt.ArrayLike],
        intercepts: Sequence[npt.ArrayLike],
        activation: str,
        inputs: Chain,
        classes: npt.NDArray[Any] | None,
    ) -> Self:
        """Return the network of these layers, with the steps before it inside the first of them.

        Parameters
        ----------
        coefs, intercepts : sequence of array-like
            Matrices (n_in, n_out) and biases (n_out,), in float64 as long as they are put together.
        activation : {"identity", "logistic", "tanh", "relu"}
            Of the hidden layers; with ``identity`` they are one.

        Raises
        ------
        InputError
            If a weight is not finite in float32, or classes do not fit.
        """
        matrices = [np.asarray(coef, dtype=np.float64) for coef in coefs]
        biases = [np.asarray(bias, dtype=np.float64) for bias in intercepts]
        if activation == "identity":
            matrices, biases = _product(matrices, biases)
            activation = "logistic"  # of no hidden layer
        matrices[0], biases[0] = inputs.fold(matrices[0], biases[0])
        kind = cast(Activation, activation)
        return cls(MLPClassifier.from_weights(matrices, biases, activation=kind, classes=classes))

    @property
    def n_features_in_(self) -> int:
        """How many numbers an image has."""
        return self._perceptron.n_features_in_

    def vjp(self, X: Floats) -> tuple[Float32, Pullback]:
        """Return the logits (n, k) and the pullback to X, both float32, in the calling thread."""
        return self._perceptron.vjp(X)

    def logits(self, X: Floats) -> Float32:
        """Return the logits, shape (n, k), float32."""
        return self._perceptron.logits(X)

    def network(self) -> Network:
        """Return the parameters and the shape of the network; a view."""
        return self._perceptron.network()

    def features(self, X: Floats, *, activated: bool = True) -> Float32:
        """Return what the last hidden layer makes of X, (n, width); without one, X itself."""
        return self._perceptron.features(X, activated=activated)

    def state(self) -> Arrays:
        """Return all that the network is, as plain arrays."""
        return self._perceptron.state()

    @classmethod
    def from_state(cls, arrays: Arrays) -> Self:
        """Return the network of which `state` gave these arrays."""
        return cls(MLPClassifier.from_state(arrays))


def _product(matrices: list[Float64], biases: list[Float64]) -> tuple[list[Float64], list[Float64]]:
    """Return layers without activations between them as one."""
    W, b = matrices[0], biases[0]
    for matrix, bias in zip(matrices[1:], biases[1:], strict=True):
        if W.shape[1] != len(matrix):
            raise InputError(f"layers of {W.shape} and {matrix.shape} do not fit")
        W, b = W @ matrix, b @ matrix + bias
    return [W], [b]
