"""Models that keep fastadv's protocols by themselves."""

from __future__ import annotations

import copy
from typing import Any

from sklearn.base import clone

from fastadv import capabilities
from fastadv.errors import InputError
from fastadv.models.adapters import function
from fastadv.models.adapters.declared import Declared, Taken
from fastadv.models.adapters.scikit import TAKEN_OVER
from fastadv.protocols import Layered, Persistent, Trainable


def take(model: Any, declared: Declared) -> Taken:
    """Return a copy of a model with ``logits`` or ``vjp``, behind what is declared.

    Raises
    ------
    InputError
        If it is not trained, or cannot be copied.
    """
    name = type(model).__name__
    trainable = capabilities.able(model, Trainable)
    if isinstance(model, type):
        raise InputError(f"{model.__name__} is a class; give a trained object of it")
    if trainable and not hasattr(model, "classes_"):
        raise InputError(f"{name} is not trained: call its fit first")
    try:
        made = copy.deepcopy(model)
    except Exception as error:
        raise InputError(f"{name} cannot be copied ({type(error).__name__}: {error})") from None
    persistent = capabilities.able(made, Persistent)
    inputs, n_features = declared.inputs("rows", flat=True), getattr(made, "n_features_in_", None)
    parts = ("fastadv", type(made), made.state() if persistent else vars(made), inputs)
    declares = inputs.steps or declared.outputs.probabilities or declared.classes is not None
    if trainable and not declares:
        how = TAKEN_OVER if capabilities.able(made, Layered) else "its own gradient"
        return Taken(made, name, how, parts, n_features, clone(made))
    classes = getattr(made, "classes_", None) if declared.classes is None else declared.classes
    why = "it has no fit and get_params" if not declares else "inputs are declared"
    raw = made.logits if hasattr(made, "logits") else lambda X: made.vjp(X)[0]
    vjp, gradient = getattr(made, "vjp", None), getattr(made, "input_gradient", None)
    how = "its own gradient" if capabilities.differentiable(made) else "its logits alone"
    met = function.of(raw, vjp, None if vjp else gradient, inputs, declared.outputs, classes)
    met.computed_by = capabilities.computed_by(made)
    return Taken(met, name, how, parts, n_features, why_not=why)
