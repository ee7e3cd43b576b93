"""Coherent regions: images of one class that lie together, under one wrong label.

Wrong labels spread over the whole training set are outvoted everywhere. Those of one region, the
images of a class that lie furthest along the first principal direction of its hidden activations,
weigh as much as the right ones there. The attacker trains on the whole set with each of the regions
between classes that are easily confused, and chooses on the validation set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning import surrogates
from fastadv.attacks.poisoning.problem import Problem
from fastadv.kernels.network.loss import softmax
from fastadv.protocols import Features
from fastadv.task import Task

_SURROGATE_SIZE = 5000  # images that the representation is learnt from


@dataclass(frozen=True)
class Region:
    """Images of class ``source``, to be added once more under the label ``target``.

    ``side`` is 1 for the upper and -1 for the lower end of the class; ``rows`` are training rows.
    """

    source: int
    target: int
    side: int
    rows: npt.NDArray[np.intp]

    @property
    def labels(self) -> Labels:
        """The wrong label of each row."""
        return np.full(len(self.rows), self.target, dtype=np.int64)

    def described(self, task: Task) -> str:
        """Return the region in words, its classes by their names."""
        end = "upper" if self.side > 0 else "lower"
        return f"{task.name_of(self.source)} as {task.name_of(self.target)}, {end} end"


def choose(problem: Problem, tried: int, label: int | None = None) -> list[tuple[Region, float]]:
    """Return the ``tried`` likeliest regions and the harm of each, the most harmful first.

    Likely are those between classes that a small model confuses on the validation images. A
    specific goal takes regions of its source class under its target. A region has as many images as
    there are points; a class with fewer is used several times over. ``label`` is the wrong label,
    where the attacker has settled on one.
    """
    X, y, goal = problem.X, problem.y, problem.goal
    few = np.sort(seeds.generator(problem.seed, "regions").permutation(len(X))[:_SURROGATE_SIZE])
    if len(np.unique(y[few])) < len(problem.classes):
        few = np.arange(len(X))
    surrogate = surrogates.untrained(problem.model, problem.seed).fit(X[few], y[few])
    logits = surrogate.logits(problem.X_val).astype(np.float64)
    proba = np.empty_like(logits)
    softmax(logits, proba)

    def confusion(region: Region) -> float:
        column = int(np.searchsorted(surrogate.classes_, region.target))
        return float(proba[problem.y_val == region.source, column].sum())

    target = goal.target if label is None else label
    source = goal.source if goal.source != target else None
    candidates = _candidates(surrogate, problem, source, target)
    likely = sorted(candidates, key=confusion, reverse=True)[:tried]
    harms = [surrogates.harm(problem, X[region.rows], region.labels) for region in likely]
    return sorted(zip(likely, harms, strict=True), key=lambda pair: pair[1], reverse=True)


def _candidates(
    model: Any, problem: Problem, source: int | None, target: int | None
) -> list[Region]:
    """Return two regions a class, one at either end of its first principal direction.

    That is of the trained model's features, or of the pixels if it has none. ``source`` is the
    class, where only one is wanted; without a ``target`` the wrong label is the runner-up class of
    the region's images, by their mean logits.
    """
    X, y = problem.X, problem.y
    features = model.features(X) if capabilities.able(model, Features) else X
    logits = model.logits(X)
    regions = []
    for c in np.unique(y):
        if c == target or source not in (None, c):
            continue
        rows = np.flatnonzero(y == c)
        along = _first_component(features[rows])
        for side in (1, -1):
            ordered = np.resize(rows[np.argsort(-side * along, kind="stable")], problem.n_points)
            mean = logits[ordered].mean(axis=0)
            mean[np.searchsorted(model.classes_, c)] = -np.inf
            wrong = int(model.classes_[mean.argmax()]) if target is None else target
            regions.append(Region(int(c), wrong, side, ordered))
    return regions


def _first_component(features: Floats) -> npt.NDArray[np.float64]:
    """Return the first principal component of each row of features (n, f), (n,)."""
    centred = features.astype(np.float64)
    centred -= centred.mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    direction *= np.sign(direction[np.abs(direction).argmax()])  # eigh leaves the sign open
    component: npt.NDArray[np.float64] = centred @ direction
    return component
