"""Backdoors: images with a patch under one label, so that the patch comes to mean that label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastadv import checks, seeds, threat
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning import adaptive, crowds, known
from fastadv.attacks.poisoning.base import Poisoning
from fastadv.attacks.poisoning.label_flip import LabelFlip
from fastadv.attacks.poisoning.problem import Crafted, Index, Problem
from fastadv.errors import InputError, at_least
from fastadv.protocols import Model
from fastadv.results import PoisonEvaluation
from fastadv.task import Task
from fastadv.threat import Threat


@dataclass(frozen=True)
class Backdoor(Poisoning):
    """Add copies of images of other classes, with a bright square, under the target label.

    Parameters
    ----------
    fraction : float
        Added points over clean ones.
    points : int or None
        Their number, in place of ``fraction``.
    target : int or None
        The class that an image with the patch is to get, by its name; None: the first one.
    patch : int
        The side of the square in pixels. It stands in the lower right corner, at the upper bound
        of a pixel's value.
    """

    fraction: float = 0.01
    points: int | None = None
    target: int | None = None
    patch: int = 3

    name: ClassVar[str] = "backdoor"
    reference: ClassVar[str] = "Gu, Dolan-Gavitt and Garg, 2017 (BadNets), arXiv 1708.06733"
    needs_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, patch=self.patch)

    def threat(self) -> Threat:
        """Return the share of added points, or their number; the trigger goes on any test image."""
        return threat.trigger(self.fraction, self.points)

    def baseline(self, n_clean: int) -> LabelFlip:
        """Return as many random label flips."""
        return LabelFlip(points=self.n_points(n_clean))

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None, or why the attack cannot run: the patch and the target have to exist."""
        if self.patch > min(task.image_shape[:2]):
            return f"a patch of {self.patch} pixels does not fit an image of {task.image_shape}"
        return None if self.target is None else checks.no_such_class(task, self.target)

    def trigger(self, task: Task) -> Floats:
        """Return the patch as an image (d,), NaN where it leaves the image alone."""
        image = np.full(task.image_shape, np.nan, dtype=np.float32)
        image[-self.patch :, -self.patch :] = task.bounds[1]
        return image.ravel()

    def craft(self, problem: Problem) -> Crafted:
        """Return stamped images of other classes, and the trigger."""
        target = 0 if self.target is None else problem.task.label_of(self.target)
        others = np.flatnonzero(problem.y != target)
        others = seeds.generator(problem.seed, "backdoor").permutation(others)
        trigger = self.trigger(problem.task)
        rows = self._sources(problem, others, target, trigger)
        labels = np.full(len(rows), target, dtype=np.int64)
        stamped = known.shown(problem.defense, problem.task, stamp(problem.X[rows], trigger))
        points = problem.inside(stamped, labels)
        details = {"target": problem.classes[target].item()}
        return Crafted(points, labels, rows, details=details, trigger=trigger)

    def adapts(self, defense: Any) -> bool:
        """Return whether the attack chooses other points where it knows the defense."""
        return super().adapts(defense) or adaptive.relabels(defense) or known.filters(defense)

    def _sources(self, problem: Problem, others: Index, target: int, trigger: Floats) -> Index:
        """Return the rows to be stamped: what a known sanitizer accepts or does not relabel.

        Those first that its region accepts with the patch on; or each as often as copies have to be
        that outvote their neighbours.
        """
        n = problem.n_points
        if problem.region is not None:
            labels = np.full(len(others), target, dtype=np.int64)
            inside = problem.region.accepts(stamp(problem.X[others], trigger), labels)
            others = np.concatenate([others[inside], others[~inside]])
        if adaptive.relabels(problem.defense):
            size = crowds.size_of(problem.defense)
            others = np.repeat(others[: max(1, n // size)], size)
        return np.resize(others, n)

    def evaluate(
        self,
        model: Model,
        X: Floats,
        y: Labels,
        *,
        trigger: Floats | None = None,
        target: Any = None,
    ) -> PoisonEvaluation:
        """Judge a trained model by images X (n, d), as they are and with the trigger on.

        ``target`` is the label that it calls, if that is not the attack's own ``target`` already.
        An image survives if the model gets it right as it is and, unless it is of the target class
        itself, does not take it for the target with the trigger on. Another wrong label there is
        no success of the attack.
        """
        if trigger is None:
            raise InputError("a backdoor is judged with its trigger: PoisonResult.trigger")
        target = self.target if target is None else target
        if target is None:
            raise InputError('a backdoor is judged with its target: PoisonResult.details["target"]')
        X, y = np.asarray(X), checks.labels(y, len(X))
        predicted, triggered = model.predict(X), model.predict(stamp(X, trigger))
        others = y != target
        obeys = others & (triggered == target)
        rate = float(obeys.sum() / others.sum()) if others.any() else None
        return PoisonEvaluation(predicted, (predicted == y) & ~obeys, triggered, rate)


def stamp(X: Floats, trigger: Floats) -> Floats:
    """Return X (n, d) with the trigger (d,) on every image."""
    return np.where(np.isnan(trigger), X, trigger).astype(X.dtype, copy=False)
