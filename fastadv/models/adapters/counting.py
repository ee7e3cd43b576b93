"""A model as attacks meet it: its passes counted, what it returns checked."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities
from fastadv.arrays import Floats
from fastadv.errors import InputError
from fastadv.models.adapters.nearby import nearby
from fastadv.models.base import forward_of
from fastadv.protocols import Nearby, Pullback
from fastadv.threads import go_on


class Counted:
    """A model that counts the rows of its forward and backward passes.

    Parameters
    ----------
    model : Classifier
        As `fastadv.capabilities.adapted` returns it.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.classes_: npt.NDArray[Any] = np.asarray(model.classes_)
        self.forward = 0
        self.backward = 0
        self._made_here = capabilities.made_here(model)
        self._logits = forward_of(model)
        self._known: tuple[Floats, tuple[Floats, Pullback]] | None = None

    def anew(self) -> Counted:
        """Return the same model with nothing counted or remembered."""
        fresh = copy.copy(self)
        fresh.forward, fresh.backward, fresh._known = 0, 0, None
        return fresh

    def remember(self, X: Floats, passed: tuple[Floats, Pullback]) -> None:
        """Answer `vjp` of this very array by what is known of it; it counts all the same."""
        self._known = X, passed

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the labels, shape (n,)."""
        labels: npt.NDArray[Any] = self.classes_[np.argmax(self.logits(X), axis=1)]
        return labels

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k); in the calling thread where the model has ``vjp``."""
        go_on()
        self.forward += len(X)
        return self.checked(self._logits(X))

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits and the pullback, of a model that has them."""
        go_on()
        self.forward += len(X)
        known = self._known
        logits, pullback = known[1] if known and X is known[0] else self.model.vjp(X)

        def counted(dlogits: Floats) -> Floats:
            self.backward += len(dlogits)
            gradient = pullback(dlogits)
            return gradient if self._made_here else _as_gradient(gradient, X)

        return self.checked(logits), counted

    def nearby(self, X: Floats) -> Nearby:
        """Return what gives the logits of images near ``X``, and counts them."""
        return _CountedNearby(self, nearby(self.model, X))

    def checked(self, logits: Floats) -> Floats:
        """Return logits of this model, of any but fastadv's own as losses can be taken of them."""
        return logits if self._made_here else _as_logits(logits)


class _CountedNearby:
    def __init__(self, counted: Counted, inner: Nearby) -> None:
        self._counted, self._inner = counted, inner
        self.move = inner.move

    def logits(self, rows: npt.NDArray[np.intp], X: Floats) -> Floats:
        go_on()
        self._counted.forward += len(X)
        return self._counted.checked(self._inner.logits(rows, X))


def _as_logits(logits: npt.ArrayLike) -> Floats:
    """Return logits that losses can be taken of.

    Raises
    ------
    InputError
        If one is NaN: the image would count as changed.
    """
    array = _as_floats(logits)
    if np.isnan(array).any():
        raise InputError("the model's logits are NaN at some images: it cannot be judged there")
    return array


def _as_gradient(gradient: npt.ArrayLike, X: Floats) -> Floats:
    """Return a gradient that kernels can take: of the images' shape, and 0 where it is no number.

    Raises
    ------
    InputError
        If it is of another shape.
    """
    array = _as_floats(gradient)
    if array.shape != X.shape:
        raise InputError(
            f"the model's input gradient has shape {array.shape}, its images {X.shape}"
        )
    finite = np.isfinite(array)
    return array if finite.all() else np.where(finite, array, array.dtype.type(0))


def _as_floats(given: npt.ArrayLike) -> Floats:
    """Return an array of float32, or of float64 as it came."""
    array: Floats = np.asarray(given)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
