"""What the poisoning attacks share: their judgement, the number of points, checks, the set."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.attacks import checks
from fastadv.errors import InputError, at_least, require
from fastadv.protocols import Floats, Labels, Model, PoisonEvaluation, PoisonResult, Task


class Poisoning:
    """Base of the poisoning attacks here."""

    def evaluate(
        self, model: Model, X: Floats, y: Labels, *, trigger: Floats | None = None
    ) -> PoisonEvaluation:
        """Judge a trained model by the images X (n, d) that it gets right, without any trigger."""
        predicted = model.predict(X)
        return PoisonEvaluation(predicted, predicted == y)


def check_amount(fraction: float, points: int | None) -> None:
    """Raise InputError unless fraction and points make sense."""
    require(0 < fraction <= 0.5, "fraction has to be above 0 and at most 0.5", fraction)
    at_least(1, points=points)


def amount(fraction: float, points: int | None, n_clean: int) -> int:
    """Return the number of points to add: ``points``, or the fraction of the clean ones."""
    n = round(fraction * n_clean) if points is None else points
    if n < 1:
        raise InputError(f"a fraction of {fraction:g} of {n_clean} images is less than one point")
    return n


def check_data(
    X_train: Floats, y_train: Labels, X_val: Floats, y_val: Labels, task: Task
) -> tuple[Floats, Labels, Floats, Labels]:
    """Return the four arrays in the form that the attacks use.

    Raises
    ------
    InputError
        If one does not fit the task, or the training set has one class only.
    """
    X_train = checks.images(X_train, task, "X_train").astype(np.float32, copy=False)
    X_val = checks.images(X_val, task, "X_val").astype(np.float32, copy=False)
    y_train = checks.labels(y_train, len(X_train), task, "y_train")
    y_val = checks.labels(y_val, len(X_val), task, "y_val")
    classes = np.unique(y_train)
    if len(classes) < 2:
        raise InputError(f"y_train holds {len(classes)} class; poisoning needs at least two")
    if len(X_val) == 0:
        raise InputError("X_val is empty; the attacker chooses by validation images")
    strange = np.setdiff1d(y_val, classes)
    if len(strange):
        raise InputError(f"y_val holds the label {strange[0]}, which y_train does not")
    shared = _shared_rows(X_train, X_val)
    if shared:
        warnings.warn(
            f"{shared} of {len(X_val)} validation images are training images too: the attacker's "
            "figures on them say little of others; take images that are not trained on",
            stacklevel=3,
        )
    return X_train, y_train, X_val, y_val


def _shared_rows(X_train: Floats, X_val: Floats) -> int:
    """Return how many rows of X_val are rows of X_train."""
    train, val = (X.view(np.uint32).sum(axis=1, dtype=np.uint32).tolist() for X in (X_train, X_val))
    both = set(train).intersection(val)  # equal rows have equal sums; few others do
    known = {X_train[i].tobytes() for i, total in enumerate(train) if total in both}
    return sum(X_val[i].tobytes() in known for i, total in enumerate(val) if total in both)


def added(
    X_train: Floats,
    y_train: Labels,
    points: Floats,
    labels: Labels,
    history: npt.ArrayLike = (),
    details: dict[str, Any] | None = None,
    trigger: Floats | None = None,
    origin: npt.NDArray[np.intp] | None = None,
) -> PoisonResult:
    """Return the clean rows with the points behind them; nothing that came in is changed."""
    n = len(X_train)
    return PoisonResult(
        X=np.concatenate([X_train, points], dtype=np.float32, casting="same_kind"),
        y=np.concatenate([y_train, labels]),
        index=np.arange(n, n + len(points)),
        history=np.asarray(history, dtype=np.float64),
        trigger=trigger,
        details=details or {},
        origin=origin,
    )
