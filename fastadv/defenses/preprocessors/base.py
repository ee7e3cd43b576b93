"""A model behind a transformation of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, checks
from fastadv.arrays import Floats
from fastadv.models.base import DifferentiableModel, LogitsModel
from fastadv.protocols import Classifier, Model, Pullback
from fastadv.task import Task

# X (n, d) to the transformed images and the pullback of a gradient at them to X
Transform = Callable[[Floats], tuple[Floats, Pullback]]


def behind(
    model: Any, task: Task, transform: Transform, gradient: Literal["exact", "identity"]
) -> Classifier:
    """Return ``model`` as its users meet it: behind ``transform``, differentiable if it is.

    Parameters
    ----------
    gradient : {"exact", "identity"}
        What an attack gets through the transformation: its exact gradient, or the identity's in
        place of one that is zero or does not exist (BPDA, Athalye et al., ICML 2018, section 4.1).
    """
    kind = PreprocessedModel if capabilities.differentiable(model) else PreprocessedLogits

    def checked(X: Floats) -> tuple[Floats, Pullback]:
        rows = checks.rows(X, task.n_features)
        return transform(np.ascontiguousarray(rows, dtype=np.float32))

    return kind(capabilities.adapted(model, task), checked, gradient)


class PreprocessedLogits(LogitsModel):
    """What `behind` makes of a model that tells its logits alone."""

    def __init__(self, model: Classifier, transform: Transform, gradient: str) -> None:
        self.model, self.transform, self.gradient = model, transform, gradient
        self.classes_: npt.NDArray[Any] = model.classes_

    def logits(self, X: Floats) -> Floats:
        """Return the model's logits (n, k) of the transformed images."""
        return self.model.logits(self.transform(X)[0])


class PreprocessedModel(DifferentiableModel, PreprocessedLogits):
    """What `behind` makes of a differentiable model."""

    model: Model

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback through model and transformation."""
        inner, pull_transform = self.transform(X)
        logits, pull_model = self.model.vjp(inner)
        return logits, lambda dlogits: pull_transform(pull_model(dlogits))
