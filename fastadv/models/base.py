"""What the models have in common: everything that follows from ``vjp``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.errors import InputError
from fastadv.protocols import Floats, Labels, Model, Pullback


class DifferentiableModel(ABC):
    """A classifier that is given by its logits and their pullback."""

    classes_: npt.NDArray[Any]

    @abstractmethod
    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback d(loss)/d(logits) (n, k) -> d(loss)/dX (n, d).

        The pullback reuses what the forward pass stored.
        """

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k), float32."""
        return self.vjp(X)[0]

    def input_gradient(self, X: Floats, dlogits: Floats) -> Floats:
        """Return d(loss)/dX (n, d) for the given d(loss)/d(logits) (n, k)."""
        return self.vjp(X)[1](dlogits)

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the label of each row of X, shape (n,)."""
        labels: npt.NDArray[Any] = self.classes_[np.argmax(self.logits(X), axis=1)]
        return labels


def class_columns(model: Model, y: npt.NDArray[Any]) -> Labels:
    """Return the column of the logits of ``model`` that stands for each label, shape (n,), int64.

    Raises
    ------
    InputError
        If a label is not among the classes that the model was trained on.
    """
    y = np.asarray(y)
    columns = np.searchsorted(model.classes_, y).clip(max=len(model.classes_) - 1)
    strange = model.classes_[columns] != y
    if np.any(strange):
        raise InputError(
            f"the label {y[strange][0]!r} is not among the model's classes "
            f"{', '.join(map(str, model.classes_))}"
        )
    return columns.astype(np.int64)
