"""A model behind a transformation of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, checks
from fastadv.arrays import Floats
from fastadv.batches import cuts_rows
from fastadv.models.base import DifferentiableModel, LogitsModel
from fastadv.protocols import Classifier, Model, Pullback
from fastadv.task import Task

# X (n, d) to the transformed images and the pullback of a gradient at them to X
Transform = Callable[[Floats], tuple[Floats, Pullback]]


# How far it is sharpened, from 0 to 1, to a smooth stand-in of a transformation
Smooth = Callable[[float], Transform]

# X (n, d) to the nearest values below and above each pixel that a transformation tells from it
Steps = Callable[[Floats], tuple[Floats, Floats]]


def behind(
    model: Any,
    task: Task,
    transform: Transform,
    gradient: Literal["exact", "identity"],
    smooth: Smooth | None = None,
    steps: Steps | None = None,
) -> Classifier:
    """Return ``model`` as its users meet it: behind ``transform``, differentiable if it is.

    Parameters
    ----------
    gradient : {"exact", "identity"}
        What an attack gets through the transformation: its exact gradient, or the identity's in
        place of one that is zero or does not exist (BPDA, Athalye et al., ICML 2018, section 4.1).
        A model that itself has the identity's keeps it behind any transformation.
    smooth : callable, optional
        Smooth stand-ins of a transformation without a useful gradient: from 0, where it is easy
        to climb, to 1, where it is nearly the transformation. Without one, attacks have the
        identity and what needs no gradient; see `fastadv.attacks.evasion.without_gradient`.
    steps : callable, optional
        Of a transformation that makes the same of all values of a pixel between two steps: X (n, d)
        to the nearest values beyond them, below and above, NaN where there is none.
    """
    kind = PreprocessedModel if capabilities.differentiable(model) else PreprocessedLogits
    if capabilities.gradient_kind(model) == "identity":
        gradient = "identity"

    def checked(X: Floats) -> tuple[Floats, Pullback]:
        rows = checks.rows(X, task.n_features)
        return transform(np.ascontiguousarray(rows, dtype=np.float32))

    return kind(capabilities.adapted(model, task), checked, gradient, smooth, steps)


class PreprocessedLogits(LogitsModel):
    """What `behind` makes of a model that tells its logits alone."""

    def __init__(
        self,
        model: Classifier,
        transform: Transform,
        gradient: str,
        smooth: Smooth | None = None,
        steps: Steps | None = None,
    ) -> None:
        self.model, self.transform, self.gradient = model, transform, gradient
        self.smooth, self.steps = smooth, steps
        self.classes_: npt.NDArray[Any] = model.classes_

    def logits(self, X: Floats) -> Floats:
        """Return the model's logits (n, k) of the transformed images."""
        return self.model.logits(self.transform(X)[0])


class PreprocessedModel(DifferentiableModel, PreprocessedLogits):
    """A differentiable model behind a transformation of its input."""

    model: Model

    def logits(self, X: Floats) -> Floats:
        """Return the logits (n, k); without what a gradient takes if the model cuts rows itself."""
        return PreprocessedLogits.logits(self, X) if cuts_rows(self) else super().logits(X)

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback through model and transformation."""
        inner, pull_transform = self.transform(X)
        logits, pull_model = self.model.vjp(inner)
        return logits, lambda dlogits: pull_transform(pull_model(dlogits))

    def surrogate(self, progress: float) -> Model | None:
        """Return a smooth stand-in, sharpened by ``progress`` in [0, 1]; None without one.

        Of models behind several transformations each is replaced that has a stand-in.
        """
        inner = capabilities.surrogate(self.model, progress)
        if inner is None and self.smooth is None:
            return None
        transform = self.transform if self.smooth is None else self.smooth(progress)
        return PreprocessedModel(self.model if inner is None else inner, transform, self.gradient)

    def next_steps(self, X: Floats) -> tuple[Floats, Floats] | None:
        """Return the nearest values that make a difference, see `behind`; None if unknown."""
        return None if self.steps is None else self.steps(X)
