"""A model."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from fastadv.arrays import Floats
from fastadv.errors import require
from fastadv.protocols import Pullback


class NearestMean(ClassifierMixin, BaseEstimator):
    """The class whose mean is nearest.

    The logit of a class is minus the squared distance to its mean, without the square of the image
    itself, which is the same for all classes.

    Parameters
    ----------
    temperature : float
        What the squared distances are divided by.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def check_parameters(self) -> None:
        """Raise InputError for a parameter that makes no sense."""
        require(self.temperature > 0, "temperature has to be above 0", self.temperature)

    def fit(self, X: Floats, y: Any) -> Self:
        """Learn the mean of each class."""
        self.classes_ = np.unique(y)
        means = [X[y == label].mean(axis=0) for label in self.classes_]
        self.means_ = np.array(means, dtype=np.float32)
        return self

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k), and d(loss)/d(logits) (n, k) -> d(loss)/dX (n, d)."""
        scale = np.float32(1 / self.temperature)
        logits = (2 * X @ self.means_.T - np.square(self.means_).sum(axis=1)) * scale
        return logits, lambda dlogits: 2 * scale * dlogits @ self.means_

    def logits(self, X: Floats) -> Floats:
        """Return the logits (n, k)."""
        return self.vjp(X)[0]

    def predict(self, X: Floats) -> Any:
        """Return the label of each row of X, (n,)."""
        return self.classes_[np.argmax(self.logits(X), axis=1)]

    def state(self) -> dict[str, Any]:
        """Return all that the trained model is, as plain arrays."""
        temperature = np.array(self.temperature)
        return {"classes": self.classes_, "means": self.means_, "temperature": temperature}

    @classmethod
    def from_state(cls, arrays: dict[str, Any]) -> Self:
        """Return the model of which `state` gave these arrays."""
        model = cls(float(arrays["temperature"]))
        model.classes_, model.means_ = arrays["classes"], arrays["means"]
        return model
