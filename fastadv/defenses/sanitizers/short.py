"""The model that a sanitizer asks: that of the cell, trained for less long."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

NO_EPOCHS = "the model does not learn in epochs"


def learns_in_epochs(model: Any) -> bool:
    """Return whether the model has a number of epochs to be shortened."""
    return "max_iter" in model.get_params()


def shortened(model: Any, epochs: int) -> Any:
    """Return an untrained copy of the model, with at most so many epochs if it learns in any."""
    copy = clone(model)
    own = copy.get_params().get("max_iter")
    return copy if own is None else copy.set_params(max_iter=min(own, epochs))
