"""The model that a sanitizer asks: that of the cell, trained for less long."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastadv import capabilities
from fastadv.arrays import Floats, Labels

NO_EPOCHS = "the model does not learn in epochs"


def learns_in_epochs(model: Any) -> bool:
    """Return whether the model has a number of epochs to be shortened."""
    return capabilities.takes(model, "max_iter")


def fit_shortened(model: Any, epochs: int, X: Floats, y: Labels) -> Any:
    """Return a copy of the model, trained on X (n, d) and y (n,).

    If it learns in epochs, it gets so many at most; that they are few is meant, and not warned of.
    """
    copy = clone(model)
    if learns_in_epochs(copy):
        copy.set_params(max_iter=min(copy.get_params()["max_iter"], epochs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return copy.fit(X, y)
