"""What an attacker on the training set works with, and what comes of it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import checks
from fastadv.arrays import Float64, Floats, Labels
from fastadv.attacks.poisoning import known
from fastadv.attacks.poisoning.feasible import Feasible, away_from
from fastadv.attacks.poisoning.goal import Goal
from fastadv.errors import InputError
from fastadv.models.base import columns_of
from fastadv.protocols import PoisonObjective
from fastadv.results import PoisonResult
from fastadv.task import Task

Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Crafted:
    """The poison that an attack chose: p points.

    Attributes
    ----------
    points : ndarray of shape (p, d)
    labels : ndarray of int64, shape (p,)
        Columns of the logits, see `Problem`.
    origin : ndarray of int, shape (p,)
        The training rows that the points started as.
    history, details, trigger
        See `PoisonResult`.
    """

    points: Floats
    labels: Labels
    origin: Index
    history: npt.ArrayLike = ()
    details: dict[str, Any] = field(default_factory=dict)
    trigger: Floats | None = None


@dataclass(frozen=True)
class Problem:
    """What an attacker on the training set knows, may do and wants.

    Whatever the labels are, the attack sees the classes of the training set as 0 to k-1, in their
    sorted order, which is that of the columns of a model's logits.

    Attributes
    ----------
    model : estimator
        What the victim will train, untrained.
    X, X_val : ndarray of float32, shape (n, d) and (m, d)
        The clean training set, and the attacker's own images, by which harm is measured.
    y, y_val : ndarray of int64, shape (n,) and (m,)
        Columns.
    classes : ndarray of shape (k,)
        The label of each column.
    task : Task
        Of the columns: it knows what the classes are called.
    n_points : int
        The budget.
    seed : int
    defense : Defense or None
        What the victim is known to use.
    region : ColumnsRegion or None
        What that defense accepts, if it is a sanitizer with a region.
    plan : dict
        What the attack has chosen by the data and the model alone (`Poisoning.plan`).
    goal : Goal
    norm : {"l2", "linf"}
    eps : float or None
        The farthest that a point may get from the image it started as; None: any distance.
    """

    model: Any
    X: Floats
    y: Labels
    X_val: Floats
    y_val: Labels
    classes: npt.NDArray[Any]
    task: Task
    n_points: int
    seed: int
    defense: Any = None
    region: known.ColumnsRegion | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    goal: Goal = field(default_factory=Goal)
    norm: str = "l2"
    eps: float | None = None

    @classmethod
    def of(
        cls,
        model: Any,
        X_train: Floats,
        y_train: npt.ArrayLike,
        X_val: Floats,
        y_val: npt.ArrayLike,
        *,
        task: Task,
        budget: Callable[[int], int],
        seed: int,
        defense: Any,
    ) -> Problem:
        """Check the four arrays and bring them into the form that the attacks use.

        ``budget`` is `PoisoningAttack.n_points`.

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
        _warn_of_shared_rows(X_train, X_val)
        names = tuple(task.name_of(label) for label in classes)
        return cls(
            model, X_train, y.astype(np.int64), X_val, columns_of(classes, y_val), classes,
            replace(task, n_classes=len(classes), class_names=names),
            budget(len(X_train)), seed, defense,
            known.region(defense, (X_train, y_train), (X_val, y_val), classes, task),
        )  # fmt: skip

    def inside(self, points: Floats, labels: Labels) -> Floats:
        """Return the points (p, d) inside what a known sanitizer accepts under their labels."""
        return points if self.region is None else self.region.project(points, labels)

    def existing(self, crafted: Crafted) -> Crafted:
        """Return the poison as rows that can exist, within the ball around those it started as."""
        if self.task.rules is None:
            return crafted
        x, points = self.X[crafted.origin], crafted.points.astype(np.float32)
        brought = self.task.brought_back(x, points, self.norm, self.eps)
        return replace(crafted, points=brought)

    @functools.cached_property
    def X_met(self) -> Floats:
        """The validation images as the victim's model is shown them."""
        return known.shown(self.defense, self.task, self.X_val)

    def feasible(self, rows: Index, labels: Labels) -> Feasible:
        """Return where points may be that start as training rows under these labels, (p,) each."""
        return Feasible(
            self.task, self.X[rows].astype(np.float64), labels,
            away_from(self.X, self.y, labels), self.norm, self.eps,
            None if self.region is None else self.region.project,
        )  # fmt: skip

    def objective(
        self, points: Floats, labels: Labels, moving: Index | None = None
    ) -> PoisonObjective:
        """Return the attacker's validation loss as a function of the points, or of those moving.

        The points are whole numbers of the type of X (see `Feasible`).
        """
        index = np.arange(len(points)) if moving is None else moving
        objective: PoisonObjective = self.model.poison_objective(
            np.concatenate([self.X, points.astype(self.X.dtype)]),
            np.concatenate([self.y, labels]), len(self.X) + index,
            self.X_val, self.goal.wanted(self.y_val),
        )  # fmt: skip
        return objective

    def add(self, crafted: Crafted) -> PoisonResult:
        """Return the clean rows with the points behind them; nothing that came in is changed."""
        n, points = len(self.X), crafted.points
        X = np.concatenate([self.X, points], dtype=np.float32, casting="same_kind")
        y = np.concatenate([self.y, crafted.labels])
        return self._result(X, y, np.arange(n, n + len(points)), crafted)

    def put_in_place(self, crafted: Crafted) -> PoisonResult:
        """Return the clean rows with the points in place of those that they started as.

        Of several points that started as one row, the first is taken.
        """
        once = np.sort(np.unique(crafted.origin, return_index=True)[1])
        rows, X, y = crafted.origin[once], self.X.copy(), self.y.copy()
        X[rows], y[rows] = crafted.points[once], crafted.labels[once]
        return self._result(X, y, rows, replace(crafted, origin=rows))

    def _result(self, X: Floats, y: Labels, index: Index, crafted: Crafted) -> PoisonResult:
        history: Float64 = np.asarray(crafted.history, dtype=np.float64)
        return PoisonResult(
            X, self.classes[y], index, history, crafted.trigger, crafted.details, crafted.origin
        )


def _warn_of_shared_rows(X_train: Floats, X_val: Floats) -> None:
    """Warn if rows of X_val are rows of X_train."""
    train, val = (X.view(np.uint32).sum(axis=1, dtype=np.uint32).tolist() for X in (X_train, X_val))
    both = set(train).intersection(val)  # equal rows have equal sums; few others do
    known = {X_train[i].tobytes() for i, total in enumerate(train) if total in both}
    shared = sum(X_val[i].tobytes() in known for i, total in enumerate(val) if total in both)
    if shared:
        warnings.warn(
            f"{shared} of {len(X_val)} validation images are training images too: the "
            "attacker's figures on them say little of others; take images that are not "
            "trained on",
            stacklevel=4,
        )
