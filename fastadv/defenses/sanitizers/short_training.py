"""What the sanitizers share that ask a model: that of the cell, trained for less long."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastadv import capabilities
from fastadv.arrays import Floats, Labels
from fastadv.protocols import Trainable
from fastadv.specs import Checked
from fastadv.task import Task


class ShortTraining(Checked):
    """Base of these sanitizers; ``asks`` is the protocol that the trained model has to keep to."""

    name: ClassVar[str]
    asks: ClassVar[type]

    epochs: int

    def supports(self, model: Any, task: Task) -> str | None:
        """Return None, or why the model cannot be asked, or a parameter has no part for it."""
        lacking = capabilities.missing(model, Trainable, self.asks)
        if lacking:
            return f"{self.name} needs {lacking}"
        in_epochs = capabilities.epochs_of(model)
        return None if in_epochs else self.unused("epochs", "the model does not learn in epochs")

    def fit_shortened(self, model: Any, X: Floats, y: Labels) -> Any:
        """Return a copy of the model, trained on X (n, d) and y (n,).

        If it learns in epochs, it gets ``epochs`` at most; that they are few is not warned of.
        """
        copy, name = clone(model), capabilities.epochs_of(model)
        if name is not None:
            copy.set_params(**{name: min(copy.get_params()[name], self.epochs)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return copy.fit(X, y)
