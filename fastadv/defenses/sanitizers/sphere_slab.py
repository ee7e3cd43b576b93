"""Training images far from the mean of their class, or along the way to the others, are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import checks
from fastadv.arrays import Float64, Floats, Labels, Mask
from fastadv.errors import InputError, require
from fastadv.specs import Checked
from fastadv.task import Task

_ROUNDS = 20  # of projections onto ball, slab and box in turn


@dataclass(frozen=True)
class SphereSlab(Checked):
    """Keep x under y where |x - mu_y| <= r_y and |<x - mu_y, v_y>| <= s_y.

    mu_y is the mean of class y, v_y the direction from the mean over the other classes' means to
    mu_y. For two classes this is the paper's slab, whose direction is mu_+ - mu_-; the paper has no
    more than two, and one class against the rest is our extension.

    Parameters
    ----------
    keep : float
        Radii and widths are this quantile of each class's distances, each of the two by itself.
        The paper's experiments drop 30 % of the data.
    slab : bool
        Without it, the sphere alone.
    trusted : bool
        Means, radii and widths from the held-out images, known to be clean (the paper's oracle).
        Otherwise from the training set itself, poison included (its data-dependent defense).
    """

    keep: float = 0.95
    slab: bool = True
    trusted: bool = True

    name: ClassVar[str] = "sphere_slab"
    reference: ClassVar[str] = (
        "Steinhardt, Koh and Liang, NeurIPS 2017, arXiv 1706.03691, section 2, equation 2"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.keep <= 1, "keep has to be above 0 and at most 1", self.keep)

    def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
        """Return the rows inside spheres and slabs around the rows, and the labels as they are."""
        X, y = checks.training_set(X, y, task)
        return self.region(X, y, task=task).accepts(X, y), y.copy()

    def region(self, X: Floats, y: Labels, *, task: Task) -> BallAndSlab:
        """Return the spheres and slabs around these images."""
        X, y = checks.training_set(X, y, task)
        classes = np.unique(y)
        if len(classes) < 2:
            raise InputError(f"sphere_slab: y holds {len(classes)} class; a slab lies between two")
        means = np.array([X[y == label].mean(axis=0, dtype=np.float64) for label in classes])
        total = means.sum(axis=0)
        directions = means - (total - means) / (len(classes) - 1)
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        directions /= np.where(lengths > 0, lengths, 1.0)
        radii, widths = np.empty(len(classes)), np.full(len(classes), np.inf)
        for column, label in enumerate(classes):
            gaps = X[y == label] - means[column]
            radii[column] = np.quantile(np.linalg.norm(gaps, axis=1), self.keep, method="higher")
            if self.slab:
                along = np.abs(gaps @ directions[column])
                widths[column] = np.quantile(along, self.keep, method="higher")
        return BallAndSlab(classes, means, directions, radii, widths, task.bounds)


@dataclass(frozen=True)
class BallAndSlab:
    """A ball and a slab around the mean of each class.

    Attributes
    ----------
    classes : ndarray of shape (k,)
    means, directions : ndarray of shape (k, d), float64
        Directions of length 1; 0 where a class's mean is that of the others.
    radii, widths : ndarray of shape (k,)
    bounds : tuple of float
        Of a pixel.
    """

    classes: Labels
    means: Float64
    directions: Float64
    radii: Float64
    widths: Float64
    bounds: tuple[float, float]

    def accepts(self, X: Floats, y: Labels) -> Mask:
        """Return which rows lie inside; none of an unknown class does."""
        keep = np.zeros(len(y), dtype=bool)
        for column, label in enumerate(self.classes):
            rows = np.flatnonzero(y == label)
            gaps = X[rows] - self.means[column]
            near = np.linalg.norm(gaps, axis=1) <= self.radii[column]
            keep[rows] = near & (np.abs(gaps @ self.directions[column]) <= self.widths[column])
        return keep

    def project(self, X: Floats, y: Labels) -> Floats:
        """Return X brought into ball, slab and box: near the nearest such point, always inside.

        Projections onto the three in turn, and what is then still outside is drawn to the mean.
        """
        out = np.array(X, dtype=np.float64)
        for column, label in enumerate(self.classes):
            rows = np.flatnonzero(y == label)
            if len(rows):
                out[rows] = self._inside(out[rows], column)
        return out.astype(np.asarray(X).dtype, copy=False)

    def _inside(self, X: Float64, column: int) -> Float64:
        mean, direction = self.means[column], self.directions[column]
        # a little within, so that rounding to float32 cannot tip a point over
        radius, width = self.radii[column] * (1 - 1e-5), self.widths[column] * (1 - 1e-5)
        for _ in range(_ROUNDS):
            gaps = np.clip(X, *self.bounds) - mean
            along = gaps @ direction
            gaps -= np.outer(along - np.clip(along, -width, width), direction)
            gaps *= _at_most(radius, np.linalg.norm(gaps, axis=1))
            X = mean + gaps
        gaps = np.clip(X, *self.bounds) - mean
        gaps *= _at_most(radius, np.linalg.norm(gaps, axis=1))
        gaps *= _at_most(width, np.abs(gaps @ direction))
        inside: Float64 = mean + gaps
        return inside


def _at_most(limit: float, lengths: Float64) -> Float64:
    """Return the factors, (n, 1), that bring each length down to the limit."""
    factors: Float64 = np.minimum(1.0, limit / np.maximum(lengths, 1e-12))
    return factors[:, None]
