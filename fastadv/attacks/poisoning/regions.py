"""Coherent regions: where a little wrong mass wins.

Wrong labels spread over the whole training set are outvoted everywhere. Those of one region, the
images of a class that lie furthest along the first principal direction of its hidden activations,
weigh as much as the right ones there. Which region does most harm is not to be seen from a small
training set (on MNIST the harm at a tenth or a fifth of it does not correlate with the harm on
the whole), so the attacker trains on the whole set with each region that it tries, of classes that
are easily confused, and chooses on its validation set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from fastadv import capabilities, seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning.goal import Goal
from fastadv.kernels.network.loss import softmax
from fastadv.models.base import cross_entropies
from fastadv.protocols import Features
from fastadv.task import Task

_SURROGATE_SIZE = 5000  # images that the representation is learnt from


@dataclass(frozen=True)
class Region:
    """Images of class ``source``, to be added once more under the label ``target``."""

    source: int
    target: int
    side: int
    rows: npt.NDArray[np.intp]

    def described(self, task: Task) -> str:
        """Return the region in words, its classes by their names."""
        end = "upper" if self.side > 0 else "lower"
        return f"{task.name_of(self.source)} as {task.name_of(self.target)}, {end} end"


def candidates(
    model: Any, X: Floats, y: Labels, n_points: int, source: int | None, target: int | None
) -> list[Region]:
    """Return two regions a class, one at either end of its first principal direction.

    Parameters
    ----------
    model : fitted model
        Its ``features(X)`` give the representation; without one the pixels do.
    n_points : int
        The size of a region (a class with fewer images is used several times over).
    source : int or None
        The class, where only one is wanted.
    target : int or None
        The wrong label; without one it is the runner-up class of the region's images, by their
        mean logits.
    """
    features = model.features(X) if capabilities.able(model, Features) else X
    logits = model.logits(X)
    regions = []
    for c in np.unique(y):
        if c == target or source not in (None, c):
            continue
        rows = np.flatnonzero(y == c)
        centred = features[rows].astype(np.float64)
        centred -= centred.mean(axis=0)
        direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        direction *= np.sign(direction[np.abs(direction).argmax()])  # eigh leaves the sign open
        along = centred @ direction
        for side in (1, -1):
            ordered = np.resize(rows[np.argsort(-side * along, kind="stable")], n_points)
            mean = logits[ordered].mean(axis=0)
            mean[np.searchsorted(model.classes_, c)] = -np.inf
            wrong = int(model.classes_[mean.argmax()]) if target is None else target
            regions.append(Region(int(c), wrong, side, ordered))
    return regions


def surrogate_of(model: Any, seed: int) -> Any:
    """Return an untrained copy of ``model`` with a random state, if it has one, of its own."""
    surrogate = clone(model)
    if "random_state" in surrogate.get_params():
        surrogate.set_params(random_state=seeds.derive(seed, "surrogate", 0) % 2**31)
    return surrogate


@dataclass(frozen=True)
class Trial:
    """What the attacker can try out: training what the victim will train, with points added.

    Attributes
    ----------
    model : estimator
        What the victim will train, untrained.
    X, y : ndarray of shape (n, d) and (n,)
        The clean training set.
    X_val, y_val : ndarray of shape (m, d) and (m,)
        The attacker's own images, by which harm is measured.
    goal : Goal
    seed : int
        Of the surrogates.
    """

    model: Any
    X: Floats
    y: Labels
    X_val: Floats
    y_val: Labels
    goal: Goal
    seed: int

    def surrogate(self) -> Any:
        """Return the model, untrained, with a random state of its own."""
        return surrogate_of(self.model, self.seed)

    def trained_with(self, points: Floats, labels: Labels) -> Any:
        """Return a surrogate, trained on the clean set and these points."""
        X, y = np.concatenate([self.X, points]), np.concatenate([self.y, labels])
        return self.surrogate().fit(X, y)

    def loss(self, points: Floats, labels: Labels) -> float:
        """Return the mean cross-entropy of a surrogate's logits on X_val, trained with these."""
        victim = self.trained_with(points, labels)
        return float(cross_entropies(victim, self.X_val, self.y_val).mean())

    def harm(self, points: Floats, label: int) -> float:
        """Return the harm that points under one label do to a surrogate (see `Goal.harm`).

        One run is a rough measure: on MNIST the harm of likely regions differs by 0.1 points from
        one to the next and by 0.9 from one random state to the next. A second run chose no better.
        """
        victim = self.trained_with(points, np.full(len(points), label, dtype=np.int64))
        return self.goal.harm(victim.predict(self.X_val), self.y_val)

    def choose(
        self, n_points: int, tried: int, label: int | None = None
    ) -> list[tuple[Region, float]]:
        """Return the ``tried`` likeliest regions and the harm of each, the most harmful first.

        Likely are those between classes that a small model confuses on the validation images. A
        specific goal takes regions of its source class under its target.

        Parameters
        ----------
        n_points : int
            Points to be added to X.
        label : int or None
            The wrong label, where the attacker has settled on one.
        """
        X, y, goal = self.X, self.y, self.goal
        rng = seeds.generator(self.seed, "regions")
        few = np.sort(rng.permutation(len(X))[:_SURROGATE_SIZE])
        if len(np.unique(y[few])) < len(np.unique(y)):
            few = np.arange(len(X))
        surrogate = self.surrogate().fit(X[few], y[few])
        logits = surrogate.logits(self.X_val).astype(np.float64)
        proba = np.empty_like(logits)
        softmax(logits, proba)

        def confusion(region: Region) -> float:
            column = int(np.searchsorted(surrogate.classes_, region.target))
            return float(proba[self.y_val == region.source, column].sum())

        target = goal.target if label is None else label
        source = goal.source if goal.source != target else None
        every = candidates(surrogate, X, y, n_points, source, target)
        likely = sorted(every, key=confusion, reverse=True)[:tried]
        done = [(region, self.harm(X[region.rows], region.target)) for region in likely]
        return sorted(done, key=lambda found: found[1], reverse=True)
