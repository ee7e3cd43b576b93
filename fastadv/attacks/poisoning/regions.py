"""Coherent regions: images of one class that lie together, under one wrong label.

Wrong labels spread over the whole training set are outvoted everywhere. Those of one region, the
images of a class that lie furthest along its first principal direction, weigh as much as the right
ones there. The innermost quarter of them comes twice: at equal weight training decides by chance.
A model that is trained to be smooth, or a vote of models, is not moved by so narrow a majority:
where the victim is known to train in such a way, every image of the region comes twice.

Regions of different classes hardly touch one another. So one surrogate is trained on the regions at
one end of every class at once, another on those at the other end, and the validation images say
which region does most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning import surrogates
from fastadv.attacks.poisoning.problem import Index, Problem
from fastadv.kernels.network.loss import softmax
from fastadv.protocols import RobustTraining
from fastadv.task import Task
from fastadv.threads import one_blas_thread

_SMALL = 5000  # images that a small model learns which classes are alike from
_WEIGHT = 1.25  # of the wrong labels of a region against the right ones
_CLEAR_WEIGHT = 2.0  # the same for training that is known to be another


@dataclass(frozen=True)
class Region:
    """Images of class ``source``, to be added once more under the label ``target``.

    ``side`` is 1 for the upper and -1 for the lower end of the class; ``rows`` are training rows.
    """

    source: int
    target: int
    side: int
    rows: Index

    @property
    def labels(self) -> Labels:
        """The wrong label of each row."""
        return np.full(len(self.rows), self.target, dtype=np.int64)

    def described(self, task: Task) -> str:
        """Return the region in words, its classes by their names."""
        end = "upper" if self.side > 0 else "lower"
        return f"{task.name_of(self.source)} as {task.name_of(self.target)}, {end} end"

    def plan(self, task: Task) -> dict[str, Any]:
        """Return what `planned` makes the region of again."""
        return {
            "region": self.described(task), "kept": "start",
            "source": self.source, "target": self.target, "side": self.side,
        }  # fmt: skip


def planned(problem: Problem, plan: dict[str, Any]) -> Region:
    """Return the region of a plan."""
    c = plan["source"]
    return _at_the_end(problem, c, _along(problem, c), plan["side"], plan["target"])


def ranked(problem: Problem, label: int | None = None) -> list[Region]:
    """Return the regions, two of each class, the one that changes most validation images first.

    A specific goal takes regions of its source class under its target. A region has as many rows as
    there are points; a class with fewer is used several times over. ``label`` is the wrong label,
    where the attacker has settled on one.
    """
    target = problem.goal.target if label is None else label
    source = problem.goal.source if problem.goal.source != target else None
    classes = [c for c in range(len(problem.classes)) if c != target and source in (None, c)]
    k = len(problem.classes)
    wrong = class_likeness(problem).argmax(axis=1) if target is None else np.full(k, target)
    along = {c: _along(problem, c) for c in classes}
    found: list[tuple[int, Region]] = []
    for side in (1, -1):
        ends = [_at_the_end(problem, c, along[c], side, int(wrong[c])) for c in classes]
        rows = np.concatenate([region.rows for region in ends])
        labels = np.concatenate([region.labels for region in ends])
        predicted = surrogates.trained(problem, problem.X[rows], labels, seed=0).predict(
            problem.X_val
        )
        for region in ends:
            of_class = problem.y_val == region.source
            changed = int(np.count_nonzero(predicted[of_class] == region.target))
            found.append((changed, region))
    return [region for _, region in sorted(found, key=lambda pair: -pair[0])]


def class_likeness(problem: Problem) -> npt.NDArray[np.float64]:
    """Return a small model's mean probability of each class for the images of each, (k, k).

    The diagonal, of the right class, is 0.
    """
    X, y, k = problem.X, problem.y, len(problem.classes)
    few = np.sort(seeds.generator(0, "regions").permutation(len(X))[:_SMALL])
    if len(np.unique(y[few])) < k:
        few = np.arange(len(X))
    logits = surrogates.untrained(problem.model, 0).fit(X[few], y[few]).logits(X[few])
    proba = np.empty(logits.shape)
    softmax(logits.astype(np.float64), proba)
    likeness = np.array([proba[y[few] == c].mean(axis=0) for c in range(k)])
    np.fill_diagonal(likeness, 0.0)
    return likeness


def _along(problem: Problem, c: int) -> npt.NDArray[np.float64]:
    """Return how far along its first principal direction each image of class c lies."""
    return _first_component(problem.X[problem.y == c])


def _at_the_end(
    problem: Problem, c: int, along: npt.NDArray[np.float64], side: int, target: int
) -> Region:
    """Return the region at one end of class c, whose images lie so far along."""
    rows, n = np.flatnonzero(problem.y == c), problem.n_points
    ordered = rows[np.argsort(-side * along, kind="stable")]
    weight = _CLEAR_WEIGHT if isinstance(problem.defense, RobustTraining) else _WEIGHT
    once = np.resize(ordered, math.ceil(n / weight))
    return Region(c, target, side, np.concatenate([once, once[: n - len(once)]]))


def _first_component(images: Floats) -> npt.NDArray[np.float64]:
    """Return the first principal component of each image (n, d), (n,), by power iteration."""
    with one_blas_thread():
        centred = images.astype(np.float64)
        centred -= centred.mean(axis=0)
        direction = centred[(centred**2).sum(axis=1).argmax()]
        for _ in range(50):
            direction = centred.T @ (centred @ direction)
            direction /= max(float(np.linalg.norm(direction)), 1e-300)
        direction *= np.sign(direction[np.abs(direction).argmax()])  # which is the upper end
        component: npt.NDArray[np.float64] = centred @ direction
    return component
