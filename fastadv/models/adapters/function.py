"""A model that is a function of prepared images: logits, and perhaps a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats
from fastadv.batches import batch_rows
from fastadv.errors import InputError
from fastadv.models.adapters.declared import Declared, Taken
from fastadv.models.adapters.inputs import Chain
from fastadv.models.adapters.outputs import Outputs
from fastadv.models.base import DifferentiableModel, LogitsModel
from fastadv.protocols import Pullback

Raw = Callable[[Floats], Any]
RawVjp = Callable[[Floats], tuple[Any, Pullback]]

_ROWS = 1024  # images that a model gets at once where there are more, unless it says


class FunctionModel(LogitsModel):
    """The logits of a function, of images that are prepared for it.

    Parameters
    ----------
    raw : callable
        What the images became to what it returns of them, a row each.
    inputs : Chain
    outputs : Outputs
    classes : ndarray of shape (k,) or None
        The labels of the columns; None: their numbers, once it is known how many there are.
    """

    foreign = True  # what it returns is checked, see `fastadv.capabilities.made_here`
    batch_rows: int
    any_thread: bool
    computed_by: str | None = None

    def __init__(
        self, raw: Raw, inputs: Chain, outputs: Outputs, classes: npt.NDArray[Any] | None = None
    ) -> None:
        self._raw, self._inputs, self._outputs = raw, inputs, outputs
        if classes is not None:
            self.classes_ = classes

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k), in the calling thread, some images at a time."""
        rows = batch_rows(self, _ROWS)
        starts = range(0, max(len(X), 1), rows)
        return np.concatenate([self._some(X[start : start + rows]) for start in starts])

    def _some(self, X: Floats) -> Floats:
        if not len(X):  # which many libraries do not take
            return np.zeros((0, len(self.classes_)), dtype=np.float32)
        return self._known(self._outputs(self._raw(self._inputs(X)), len(X))[0])

    def _known(self, logits: Floats) -> Floats:
        """Return the logits; the first ones tell how many classes there are."""
        k = logits.shape[1]
        if not hasattr(self, "classes_"):
            self.classes_ = np.arange(k)
        if len(self.classes_) != k:
            raise InputError(f"the model returns {k} logits for {len(self.classes_)} classes")
        return logits


class DifferentiableFunction(FunctionModel, DifferentiableModel):
    """A function that comes with its gradient.

    Parameters
    ----------
    vjp : callable
        Prepared images to what ``raw`` returns of them and the pullback.
    """

    def __init__(
        self,
        raw: Raw,
        vjp: RawVjp,
        inputs: Chain,
        outputs: Outputs,
        classes: npt.NDArray[Any] | None = None,
    ) -> None:
        super().__init__(raw, inputs, outputs, classes)
        self._vjp = vjp

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback to X (n, d), in the calling thread."""
        if not len(X):
            return self._some(X), lambda _: np.zeros_like(X)
        raw, pull_model = self._vjp(self._inputs(X))
        logits, pull_outputs = self._outputs(raw, len(X))

        def pullback(dlogits: Floats) -> Floats:
            return self._inputs.pull(np.asarray(pull_model(pull_outputs(dlogits))))

        return self._known(logits), pullback


def of(
    logits: Raw,
    vjp: RawVjp | None,
    input_gradient: Callable[[Floats, Floats], Any] | None,
    inputs: Chain,
    outputs: Outputs,
    classes: npt.NDArray[Any] | None,
) -> FunctionModel:
    """Return the model of some functions of prepared images."""
    if input_gradient is not None:
        gradient = input_gradient

        def vjp(X: Floats) -> tuple[Any, Pullback]:
            return logits(X), lambda dlogits: gradient(X, dlogits)

    if vjp is None:
        return FunctionModel(logits, inputs, outputs, classes)
    return DifferentiableFunction(logits, vjp, inputs, outputs, classes)


def take(logits: Any, vjp: Any, input_gradient: Any, declared: Declared) -> Taken:
    """Return the model of some functions from outside; its name is what tells it from others.

    Raises
    ------
    InputError
        If one of them is no function, or there are two gradients.
    """
    for name, given in (("logits", logits), ("vjp", vjp), ("input_gradient", input_gradient)):
        if given is not None and not callable(given):
            raise InputError(f"{name} has to be a function of images, got {type(given).__name__}")
    if vjp is not None and input_gradient is not None:
        raise InputError("give one of vjp and input_gradient, not both")
    how = "a function alone" if vjp is None and input_gradient is None else "a function's gradient"
    inputs = declared.inputs("rows")
    made = of(logits, vjp, input_gradient, inputs, declared.outputs, declared.classes)
    parts = None if declared.name is None else ("function", declared.name, how, inputs)
    return Taken(made, "function", how, parts, why_not="a function cannot be trained")
