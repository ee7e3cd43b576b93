"""Poisoning points found by the exact gradient through training (Biggio et al., ICML 2012).

The attacker adds points with wrong labels and moves them to raise the validation loss of the model
that is trained on them:

    x  <-  box( x + t u ),   u the unit gradient of the validation loss after training

The model gives that loss and its gradient (`poison_objective`): an SVM from the conditions that its
solution obeys, a perceptron by differentiating every step of its training (Munoz-Gonzalez et al.,
AISec 2017). The points start as training images under a wrong label.

The loss of an SVM is smooth in pieces only, and a line search stops at the first edge between two
of them that it meets: no length along the gradient gains there. So every step is taken, along a
running mean of unit gradients, of a length that falls to nothing; the best points are kept, not the
last. With as many gradients this raises the error of one point against a linear SVM (7 against 1,
100 images) to 18 % where a backtracking search ends at 14 %.

Beyond ``subset_size`` images the points start as a coherent region and are moved on subsets, by
surrogates: see `full_scale`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fastadv import seeds, threat
from fastadv.arrays import Float64, Floats, Labels
from fastadv.attacks import checks
from fastadv.attacks.poisoning import base, full_scale
from fastadv.attacks.poisoning.feasible import Feasible, away_from
from fastadv.attacks.poisoning.goal import Goal
from fastadv.attacks.poisoning.label_flip import LabelFlip, random_flips
from fastadv.errors import InputError, at_least, require
from fastadv.protocols import Model, PoisonObjective, Projection
from fastadv.results import PoisonResult
from fastadv.task import Task
from fastadv.threads import go_on
from fastadv.threat import Threat

_STEPS, _STEP_SIZE, _RESTARTS = 50, 1.0, 2  # unless told
_MOMENTUM = 0.7  # the weight of the earlier directions

Way = int | Literal["random"]  # to label the points: all alike, or each at random


@dataclass(frozen=True)
class Biggio(base.Poisoning):
    """Projected gradient ascent on the validation loss, through the training of the model.

    Parameters
    ----------
    fraction : float
        Added points over clean ones.
    points : int or None
        Their number, in place of ``fraction``.
    steps : int or None
        Gradients for each ascent; None is 50, or 2 for each subset of a large training set.
    step_size : float or None
        Length of the first step of each point, in pixel values (Euclidean); None is 1, or 0.15 on
        subsets.
    restarts : int or None
        Ascents, each from a start of its own; the one that does most harm is kept. None is 2, or 1
        of a large training set, where a start is a region.
    labels : int or {"worst", "random"}
        Of the points: a class; ``random``, a wrong one for each, in a training set of up to
        ``subset_size`` images; or ``worst``: as many ways as there are restarts, random labels
        first if there are more than two classes, then the classes in the order of the harm that
        their starts do to the validation loss. The ascent that does most harm is kept.
    objective : str
        ``generic``: any error. ``8-3``, error-specific: images of class 8 are to be taken for 3,
        and the points are images of 8 under the label 3 unless ``labels`` says otherwise.
    passes : int
        0: all points move together. Otherwise the points move in turn, ``steps`` gradients each,
        the others held where they are, so many times over.
    norm : {"l2", "linf"}
    eps : float or None
        The farthest that a point may get from the image it started as; None: anywhere in the box.
    subset_size : int
        A larger training set is attacked on subsets of this many images.
    regions : int
        How many starting regions are tried on such a set, at least as many as there are restarts.

    Notes
    -----
    The attacker knows the training set, the model and how it is trained, with its random state if
    the whole training set fits into one subset; beyond that the surrogates draw their own.

    ``history`` is the validation loss at the start and after each step, of the best points so far:
    towards the true labels, which rises, or for ``8-3`` towards the labels that the attacker
    wants, which falls.
    """

    fraction: float = 0.03
    points: int | None = None
    steps: int | None = None
    step_size: float | None = None
    restarts: int | None = None
    labels: int | Literal["worst", "random"] = "worst"
    objective: str = "generic"
    passes: int = 0
    norm: Literal["l2", "linf"] = "l2"
    eps: float | None = None
    subset_size: int = 1000
    regions: int = 3

    name: ClassVar[str] = "biggio"
    reference: ClassVar[str] = (
        "Biggio et al., ICML 2012, arXiv 1206.6389; "
        "Munoz-Gonzalez et al., AISec 2017, arXiv 1708.08689"
    )
    needs: ClassVar[frozenset[str]] = frozenset({"poison_objective"})

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps is None or self.steps >= 1, "steps has to be at least 1", self.steps)
        length = self.step_size
        require(length is None or length > 0, "step_size has to be above 0", length)
        at_least(1, restarts=self.restarts)
        require(self.passes >= 0, "passes has to be at least 0", self.passes)
        require(self.eps is None or self.eps > 0, "eps has to be above 0", self.eps)
        require(self.subset_size >= 10, "subset_size has to be at least 10", self.subset_size)
        require(self.regions >= 1, "regions has to be at least 1", self.regions)
        if self.eps is None:
            self.no_part("it is that of eps", "norm")
        Goal.classes(self.objective)

    def threat(self) -> Threat:
        """Return the share of added points, or their number."""
        return threat.poison(self.fraction, self.points)

    def baseline(self, n_clean: int) -> LabelFlip:
        """Return as many random label flips."""
        return LabelFlip(points=self.n_points(n_clean))

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or why the attack cannot run: training has to be differentiable."""
        if not hasattr(model, "poison_objective"):
            return "biggio needs a model with poison_objective"
        asked = getattr(model, "no_derivative", None)
        reason: str | None = asked() if asked else None
        named = [self.labels] if isinstance(self.labels, int) else []
        return reason or checks.no_such_class(task, *named, *Goal.classes(self.objective))

    def poison(
        self,
        model: Any,
        X_train: Floats,
        y_train: Labels,
        X_val: Floats,
        y_val: Labels,
        *,
        task: Task,
        seed: int = 0,
        project: Projection | None = None,
    ) -> PoisonResult:
        """Add the points that do most harm to ``model``, which is left untrained."""
        problem = base.Problem.of(X_train, y_train, X_val, y_val, task, project)
        n_points = self.n_points(len(problem.X))
        goal = Goal.parse(self.objective, problem.task)
        goal.check(problem.y_val, problem.task)
        label = problem.task.label_of(self.labels) if isinstance(self.labels, int) else None

        def room(start: Float64, labels: Labels) -> Feasible:
            away = away_from(problem.X, problem.y, labels)
            return Feasible(
                task.bounds, start, labels, away, self.norm, self.eps, problem.project
            )  # fmt: skip

        if len(problem.X) <= self.subset_size:
            self.no_part(f"it is for more than subset_size={self.subset_size} images", "regions")
            points, labels, history, details, origin = self._best_of_starts(
                model, problem, n_points, goal, label, room, seed
            )
        else:
            if self.labels == "random":
                raise InputError(
                    f"labels=random is for up to subset_size={self.subset_size} images: beyond, "
                    "the points are a region under one label"
                )
            points, labels, history, details, origin = full_scale.craft(
                self._move, model, problem, n_points, goal, label, room,
                subset_size=self.subset_size, steps=self.steps or full_scale.STEPS,
                step_size=self.step_size or full_scale.STEP_SIZE, tried=self.regions,
                restarts=self.restarts or 1, seed=seed,
            )  # fmt: skip
        return problem.with_points(points, labels, history, details, origin=origin)

    def _best_of_starts(
        self,
        model: Any,
        problem: base.Problem,
        n_points: int,
        goal: Goal,
        label: int | None,
        room: Callable[[Float64, Labels], Feasible],
        seed: int,
    ) -> tuple[Float64, Labels, Float64, dict[str, Any], npt.NDArray[np.intp]]:
        """Ascend from several starts; return what `full_scale.craft` does, of the best."""
        X, y, X_val, y_val = problem.X, problem.y, problem.X_val, problem.y_val
        ways = self._ways_to_label(np.unique(y), goal, label)
        restarts = self.restarts or _RESTARTS
        starts = [
            (turn, way, *_flips(y, n_points, way, goal, seeds.derive(seed, "start", turn)))
            for turn in range(-(-restarts // len(ways)))
            for way in ways
        ]

        def rank(start: tuple[int, Way, npt.NDArray[np.intp], Labels]) -> tuple[int, bool, float]:
            turn, way, rows, labels = start
            objective = _objective(model, X, y, X_val, y_val, goal, X[rows], labels)
            return turn, way != "random", -goal.sign * objective.loss(X[rows].astype(np.float64))

        if len(starts) > restarts:
            starts = sorted(starts, key=rank)[:restarts]
        best: tuple[float, Float64, Labels, Float64, npt.NDArray[np.intp]] | None = None
        for _, _, rows, labels in starts:
            feasible = room(X[rows].astype(np.float64), labels)
            points, history = self._move(
                model, X, y, X_val, y_val, goal, feasible.start, feasible,
                self.steps or _STEPS, self.step_size or _STEP_SIZE,
            )  # fmt: skip
            if best is None or goal.sign * history[-1] > best[0]:
                best = (goal.sign * history[-1], points, labels, history, rows)
        assert best is not None  # there is at least one restart
        _, points, labels, history, origin = best
        found = np.unique(labels)
        details = {"labels": problem.task.name_of(found[0]) if len(found) == 1 else "mixed"}
        return points, labels, history, details, origin

    def _ways_to_label(self, classes: Labels, goal: Goal, label: int | None) -> list[Way]:
        if label is not None:
            return [label]
        if goal.target is not None:
            return [goal.target]
        if self.labels == "random":
            return ["random"]
        each: list[Way] = [int(c) for c in classes]
        return each if len(classes) == 2 else ["random", *each]

    def _move(
        self,
        model: Any,
        X: Floats,
        y: Labels,
        X_val: Floats,
        y_val: Labels,
        goal: Goal,
        points: Float64,
        feasible: Feasible,
        steps: int,
        step_size: float,
    ) -> tuple[Float64, Float64]:
        """Move the points, added to X, y, all together or in turn; return them and the history."""
        points = feasible(points)
        labels, everyone = feasible.labels, np.arange(len(points))
        if self.passes == 0:
            objective = _objective(model, X, y, X_val, y_val, goal, points, labels)
            return ascend(objective, points, feasible, goal.sign, steps, step_size)
        history: list[Float64] = []
        for k in np.tile(everyone, self.passes):
            moving = everyone[k : k + 1]
            objective = _objective(model, X, y, X_val, y_val, goal, points, labels, moving)
            points[moving], losses = ascend(
                objective, points[moving], feasible.part(moving), goal.sign, steps, step_size
            )
            history.append(losses[1:] if history else losses)
        return points, np.concatenate(history)


def ascend(
    objective: PoisonObjective,
    start: Float64,
    feasible: Feasible,
    sign: float,
    steps: int,
    step_size: float,
) -> tuple[Float64, Float64]:
    """Climb from ``start`` (p, d) and return the best points on the way, and the history.

    Parameters
    ----------
    objective : callable
        The validation loss and its gradient.
    sign : float
        1 to raise the loss, -1 to lower it.
    steps : int
        Calls of the objective, after the first. Each step is a little shorter than the one before.
    step_size : float
        Length of the first one.

    Returns
    -------
    points : ndarray of shape (p, d)
    history : ndarray of shape (steps + 1,)
        The loss at the best points so far, the start's first.
    """
    points = best = start
    best_loss, gradient = objective(start)
    history = np.full(steps + 1, best_loss)
    heading = np.zeros_like(start)
    lengths = np.outer(step_size * (1.0 - np.arange(steps) / steps), np.ones(len(start)))
    for step in range(steps):
        go_on()
        points = feasible.step(points, sign * gradient, _MOMENTUM, lengths[step], heading)
        if step < steps - 1:
            loss, gradient = objective(points)
        else:
            loss = objective.loss(points)
        if sign * (loss - best_loss) > 0:
            best, best_loss = points, loss
        history[step + 1] = best_loss
    return best, history


def _objective(
    model: Any,
    X: Floats,
    y: Labels,
    X_val: Floats,
    y_val: Labels,
    goal: Goal,
    points: Floats,
    labels: Labels,
    moving: npt.NDArray[np.intp] | None = None,
) -> PoisonObjective:
    """Return the loss that the attacker looks at, as a function of the points (or those moving).

    The points are whole numbers of the type of X (see `Feasible`).
    """
    index = np.arange(len(points)) if moving is None else moving
    objective: PoisonObjective = model.poison_objective(
        np.concatenate([X, points.astype(X.dtype)]), np.concatenate([y, labels]),
        len(X) + index, X_val, goal.wanted(y_val),
    )  # fmt: skip
    return objective


def _flips(
    y: Labels, n_points: int, way: Way, goal: Goal, seed: int
) -> tuple[npt.NDArray[np.intp], Labels]:
    """Draw training images and their wrong labels, (n_points,) each."""
    if way == "random":
        classes = np.unique(y)
        rows, columns = random_flips(np.searchsorted(classes, y), n_points, len(classes), seed)
        return rows, classes[columns]
    source = goal.source if goal.source not in (None, way) else None
    wrong = np.flatnonzero(y != way if source is None else y == source)
    rows = np.resize(seeds.generator(seed, "flips").permutation(wrong), n_points)
    return rows, np.full(n_points, way, dtype=np.int64)
