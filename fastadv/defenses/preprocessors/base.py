"""A model behind a transformation of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats
from fastadv.models.base import DifferentiableModel
from fastadv.protocols import Model, Pullback

# X (n, d) to the transformed images and the pullback of a gradient at them to X
Transform = Callable[[Floats], tuple[Floats, Pullback]]


class PreprocessedModel(DifferentiableModel):
    """``model`` as its users meet it: behind ``transform``.

    Attributes
    ----------
    gradient : {"exact", "identity"}
        What an attack gets through the transformation: its exact gradient, or the identity's in
        place of one that is zero or does not exist (BPDA, Athalye et al., ICML 2018, section 4.1).
    """

    def __init__(
        self, model: Model, transform: Transform, gradient: Literal["exact", "identity"]
    ) -> None:
        self.model = model
        self.transform = transform
        self.gradient = gradient
        self.classes_: npt.NDArray[Any] = model.classes_

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback through model and transformation."""
        inner, pull_transform = self.transform(np.ascontiguousarray(X, dtype=np.float32))
        logits, pull_model = self.model.vjp(inner)
        return logits, lambda dlogits: pull_transform(pull_model(dlogits))
