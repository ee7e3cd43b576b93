"""What the poisoning attacks share: their judgement, what they start from and what they return."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Floats, Labels
from fastadv.attacks import checks
from fastadv.errors import InputError, at_least, require
from fastadv.models.base import columns_of
from fastadv.protocols import Model, Projection
from fastadv.results import PoisonEvaluation, PoisonResult
from fastadv.specs import Checked
from fastadv.task import Task


class Poisoning(Checked):
    """Base of the poisoning attacks here; a subclass has fields of these names."""

    fraction: float
    points: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.fraction <= 0.5, "fraction has to be in (0, 0.5]", self.fraction)
        at_least(1, points=self.points)
        if self.points is not None:
            self.no_part("points is their number", "fraction")

    @property
    def replaces(self) -> bool:
        """Whether rows are changed in place; otherwise some are added."""
        return False

    def n_points(self, n_clean: int) -> int:
        """Return the number of points for ``n_clean`` clean rows: ``points``, or the fraction.

        Raises
        ------
        InputError
            If that is less than one.
        """
        return amount(self.fraction, self.points, n_clean)

    def evaluate(
        self,
        model: Model,
        X: Floats,
        y: Labels,
        *,
        trigger: Floats | None = None,
        target: Any = None,
    ) -> PoisonEvaluation:
        """Judge a trained model by the images X (n, d) that it gets right, without any trigger."""
        predicted = model.predict(X)
        return PoisonEvaluation(predicted, predicted == y)


def amount(fraction: float, points: int | None, n_clean: int) -> int:
    """Return the number of points to add: ``points``, or the fraction of the clean ones."""
    n = round(fraction * n_clean) if points is None else points
    if n < 1:
        raise InputError(f"a fraction of {fraction:g} of {n_clean} images is less than one point")
    return n


@dataclass(frozen=True)
class Problem:
    """What an attacker on the training set starts from.

    Whatever the labels are, the attack sees the classes of the training set as 0 to k-1, in their
    sorted order, which is that of the columns of a model's logits.

    Attributes
    ----------
    X, X_val : ndarray of float32, shape (n, d) and (m, d)
    y, y_val : ndarray of int64, shape (n,) and (m,)
        Columns.
    classes : ndarray of shape (k,)
        The label of each column.
    task : Task
        Of the columns: it knows what the classes are called.
    project : callable or None
        As `PoisoningAttack.poison` takes it, but of columns.
    """

    X: Floats
    y: Labels
    X_val: Floats
    y_val: Labels
    classes: npt.NDArray[Any]
    task: Task
    project: Projection | None

    @classmethod
    def of(
        cls,
        X_train: Floats,
        y_train: npt.ArrayLike,
        X_val: Floats,
        y_val: npt.ArrayLike,
        task: Task,
        project: Projection | None,
    ) -> Problem:
        """Check the four arrays and bring them into the form that the attacks use.

        Raises
        ------
        InputError
            If one does not fit the task, the training set has one class only, or the validation set
            one that the training set has not.
        """
        X_train = checks.images(X_train, task, "X_train").astype(np.float32, copy=False)
        X_val = checks.images(X_val, task, "X_val").astype(np.float32, copy=False)
        y_train = checks.labels(y_train, len(X_train), "y_train")
        y_val = checks.labels(y_val, len(X_val), "y_val")
        classes, y = np.unique(y_train, return_inverse=True)
        if classes.dtype.kind in "iu":  # in one form, whichever the numbers came in
            classes = classes.astype(np.int64)
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
                f"{shared} of {len(X_val)} validation images are training images too: the "
                "attacker's figures on them say little of others; take images that are not "
                "trained on",
                stacklevel=3,
            )
        names = tuple(task.name_of(label) for label in classes)
        inside = None if project is None else lambda X, y: project(X, classes[y])
        return cls(
            X_train, y.astype(np.int64), X_val, columns_of(classes, y_val), classes,
            replace(task, n_classes=len(classes), class_names=names), inside,
        )  # fmt: skip

    def with_points(
        self,
        points: Floats,
        labels: Labels,
        history: npt.ArrayLike = (),
        details: dict[str, Any] | None = None,
        trigger: Floats | None = None,
        origin: npt.NDArray[np.intp] | None = None,
    ) -> PoisonResult:
        """Return the clean rows with the points behind them; nothing that came in is changed."""
        n = len(self.X)
        return PoisonResult(
            X=np.concatenate([self.X, points], dtype=np.float32, casting="same_kind"),
            y=self.classes[np.concatenate([self.y, labels])],
            index=np.arange(n, n + len(points)),
            history=np.asarray(history, dtype=np.float64),
            trigger=trigger,
            details=details or {},
            origin=origin,
        )

    def in_place(
        self,
        rows: npt.NDArray[np.intp],
        points: Floats,
        labels: Labels,
        details: dict[str, Any] | None = None,
    ) -> PoisonResult:
        """Return the clean rows with the points in place of some; of a row's points, the first."""
        once = np.sort(np.unique(rows, return_index=True)[1])
        rows, X, y = rows[once], self.X.copy(), self.y.copy()
        X[rows], y[rows] = points[once], labels[once]
        return PoisonResult(
            X, self.classes[y], rows, np.empty(0), details=details or {}, origin=rows
        )


def _shared_rows(X_train: Floats, X_val: Floats) -> int:
    """Return how many rows of X_val are rows of X_train."""
    train, val = (X.view(np.uint32).sum(axis=1, dtype=np.uint32).tolist() for X in (X_train, X_val))
    both = set(train).intersection(val)  # equal rows have equal sums; few others do
    known = {X_train[i].tobytes() for i, total in enumerate(train) if total in both}
    return sum(X_val[i].tobytes() in known for i, total in enumerate(val) if total in both)
