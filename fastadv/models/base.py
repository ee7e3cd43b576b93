"""What the models have in common: what follows from ``vjp``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastadv import capabilities
from fastadv.arrays import Float64, Floats, Labels
from fastadv.batches import cuts_rows, map_rows
from fastadv.errors import InputError
from fastadv.kernels.network.loss import cross_entropy, softmax
from fastadv.protocols import Classifier, Differentiable, PoisonableModel, Pullback
from fastadv.task import listed

Forward = Callable[[Floats], Floats]

_NUMBERS = "iufb"  # kinds of dtypes


class LogitsModel(ABC):
    """A classifier that is given by its logits."""

    classes_: npt.NDArray[Any]

    @abstractmethod
    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k)."""

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the label of each row of X, shape (n,)."""
        columns = np.argmax(self.logits(X), axis=1)  # first: it says so if there was no training
        labels: npt.NDArray[Any] = self.classes_[columns]
        return labels


class DifferentiableModel(LogitsModel):
    """A classifier that is given by its logits and their pullback."""

    CHUNK: ClassVar[int] = 1024  # rows that a thread takes at once, unless the model says

    @abstractmethod
    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback d(loss)/d(logits) (n, k) -> d(loss)/dX (n, d).

        The pullback reuses what the forward pass stored.
        """

    def logits(self, X: Floats) -> Floats:
        """Return the logits, shape (n, k), chunk by chunk."""
        parts = map_rows(self, lambda a, b: self.vjp(X[a:b])[0], len(X), self.CHUNK)
        return np.concatenate(parts or [self.vjp(X)[0]])

    def input_gradient(self, X: Floats, dlogits: Floats) -> Floats:
        """Return d(loss)/dX (n, d) for the given d(loss)/d(logits) (n, k)."""
        return self.vjp(X)[1](dlogits)


class TrainingDifferentiable(PoisonableModel):
    """A classifier whose validation loss can be differentiated through its training."""

    def poison_gradient(
        self,
        X_train: Floats,
        y_train: Labels,
        index: npt.NDArray[np.intp],
        X_val: Floats,
        y_val: Labels,
    ) -> tuple[float, Float64]:
        """Return the validation loss after training on X_train and its gradient, (len(index), d).

        The objective of `poison_objective` at the rows as they are.
        """
        objective = self.poison_objective(X_train, y_train, index, X_val, y_val)
        return objective(np.asarray(X_train[index], dtype=np.float64))


def forward_of(model: Any) -> Forward:
    """Return what gives the model's logits (n, k) of X in the calling thread.

    By ``vjp`` where it has that, unless it says how many rows it wants: of so many its ``logits``
    is one call. Asked for once: attacks call it thousands of times.
    """
    if not cuts_rows(model) and capabilities.able(model, Differentiable):
        return lambda X: model.vjp(X)[0]
    forward: Forward = model.logits
    return forward


def class_columns(model: Classifier, y: npt.NDArray[Any]) -> Labels:
    """Return the column of the logits of ``model`` that stands for each label, see `columns_of`."""
    return columns_of(model.classes_, y)


def columns_of(classes: npt.NDArray[Any], y: npt.NDArray[Any]) -> Labels:
    """Return the place of each label among the classes of a model, shape (n,), int64.

    Raises
    ------
    InputError
        If a label is not among them.
    """
    classes, y = np.asarray(classes), np.asarray(y)
    if not len(y):
        return np.empty(0, dtype=np.int64)
    if (classes.dtype.kind in _NUMBERS) != (y.dtype.kind in _NUMBERS):
        strange = y[:1]
    else:
        order = np.argsort(classes, kind="stable")
        columns: Labels = order[
            np.searchsorted(classes, y, sorter=order).clip(max=len(classes) - 1)
        ]
        strange = y[classes[columns] != y]
    if len(strange):
        raise InputError(
            f"the label {strange[0]} is not among the model's classes: "
            f"{listed([str(label) for label in classes])}"
        )
    return columns.astype(np.int64, copy=False)


def numbered(y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Labels]:
    """Return the classes of training labels y (n,), in order, and the number of each label's.

    Raises
    ------
    InputError
        If there is one class.
    """
    classes, columns = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"y has one class ({classes[0]!r}); training needs at least two")
    return classes, columns.astype(np.int64)


def probabilities(logits: Floats) -> Float64:
    """Return the softmax of logits, (n, k), float64."""
    logits = logits.astype(np.float64)
    out = np.empty_like(logits)
    softmax(logits, out)
    return out


def certified_labels(classes: npt.NDArray[Any], columns: npt.NDArray[Any]) -> Labels:
    """Return the labels of some columns as a certificate holds them, where -1 is no label.

    Raises
    ------
    InputError
        If the classes are other than whole numbers from 0 on.
    """
    classes = np.asarray(classes)
    if classes.dtype.kind not in "iu" or classes.min() < 0:
        raise InputError(
            "a certificate tells classes by whole numbers from 0 on, and has -1 where it abstains; "
            f"the model's classes are {listed([str(label) for label in classes])}"
        )
    labels: Labels = classes[columns].astype(np.int64)
    return labels


def cross_entropies(model: Classifier, X: Floats, y: npt.NDArray[Any]) -> Float64:
    """Return the cross-entropy of the model's logits on each row of X, (n,), see `columns_of`."""
    logits = model.logits(X).astype(np.float64)
    losses, dlogits = np.empty(len(logits)), np.empty_like(logits)
    cross_entropy(logits, class_columns(model, y), losses, dlogits)
    return losses
