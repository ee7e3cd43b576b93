"""A model as attacks meet it: with its classes, its passes counted, whatever of `Model` it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats
from fastadv.errors import InputError
from fastadv.protocols import Nearby, Pullback
from fastadv.threads import go_on


def with_classes(model: Any, n_classes: int) -> Any:
    """Return a model that names its classes."""
    if hasattr(model, "classes_"):
        return model
    if hasattr(model, "get_params"):  # of scikit-learn's kind: it would know them, were it trained
        raise InputError(f"{type(model).__name__} is not trained: call its fit first")
    return _Numbered(model, n_classes)


def made_here(model: Any) -> bool:
    """Return whether a model, and what it stands before, are fastadv's own, and as they were made.

    Their gradients are tested; those of others have to be looked at.
    """
    ours = type(model).__module__.partition(".")[0] == "fastadv"
    own = getattr(model, "__dict__", {})
    patched = any(name in own for name in ("vjp", "input_gradient", "logits"))
    inner = own.get("model", own.get("_model"))
    return ours and not patched and (inner is None or made_here(inner))


class _Numbered:
    """A model that does not name its classes: they are the columns of its logits."""

    def __init__(self, model: Any, n_classes: int) -> None:
        self._model, self.classes_ = model, np.arange(n_classes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class Counted:
    """A model that counts the rows of its forward and backward passes."""

    def __init__(self, model: Any) -> None:
        self.model = model  # a Model, or one with logits and input_gradient alone
        self.classes_: npt.NDArray[Any] = np.asarray(model.classes_)
        self.forward = 0
        self.backward = 0
        self._made_here = made_here(model)
        self._known: tuple[Floats, tuple[Floats, Pullback]] | None = None

    def remember(self, X: Floats, passed: tuple[Floats, Pullback]) -> None:
        """Answer `vjp` of this very array by what is known of it; it counts all the same."""
        self._known = X, passed

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the labels, shape (n,)."""
        labels: npt.NDArray[Any] = self.classes_[np.argmax(self.logits(X), axis=1)]
        return labels

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k); computed in the calling thread."""
        go_on()
        self.forward += len(X)
        return _logits(self.model, X)

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits and the pullback, from ``input_gradient`` where there is no ``vjp``."""
        go_on()
        self.forward += len(X)
        pullback: Pullback | None = None
        if self._known is not None and X is self._known[0]:
            logits, pullback = self._known[1]
        elif hasattr(self.model, "vjp"):
            logits, pullback = self.model.vjp(X)
        else:
            logits = self.model.logits(X)

        def counted(dlogits: Floats) -> Floats:
            self.backward += len(dlogits)
            if pullback is None:
                gradient = self.model.input_gradient(X, dlogits)
            else:
                gradient = pullback(dlogits)
            return gradient if self._made_here else _as_gradient(gradient, X)

        return logits if self._made_here else _as_logits(logits), counted

    def nearby(self, X: Floats) -> Nearby:
        """Return what gives the logits of images near ``X``, and counts them."""
        return _CountedNearby(self, nearby(self.model, X))


class _CountedNearby:
    def __init__(self, counted: Counted, inner: Nearby) -> None:
        self._counted, self._inner = counted, inner
        self.move = inner.move

    def logits(self, rows: npt.NDArray[np.intp], X: Floats) -> Floats:
        go_on()
        self._counted.forward += len(X)
        return self._inner.logits(rows, X)


class _Anew:
    """The logits of images near known ones, for a model that knows no short cut to them."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def logits(self, rows: npt.NDArray[np.intp], X: Floats) -> Floats:
        return _logits(self._model, X)

    def move(self, rows: npt.NDArray[np.intp], X: Floats) -> None:
        """Keep nothing."""


def nearby(model: Any, X: Floats) -> Nearby:
    """Return what follows images from ``X`` on, the model's own if it has one."""
    found: Nearby = model.nearby(X) if hasattr(model, "nearby") else _Anew(model)
    return found


def _logits(model: Any, X: Floats) -> Floats:
    """Return the logits, in the calling thread where the model has ``vjp``."""
    logits: Floats = model.vjp(X)[0] if hasattr(model, "vjp") else model.logits(X)
    return logits if made_here(model) else _as_logits(logits)


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
