"""Training images that lie far from their class are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastadv import checks
from fastadv.arrays import Float32, Floats, Labels, Mask
from fastadv.errors import InputError, at_least, require
from fastadv.neighbors import Points, distances, nearest_others
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threads import map_chunks, one_blas_thread

_CHUNK = 1024  # images that a thread judges at once
_HALVINGS = 10  # of the way from an accepted image to one that is not


@dataclass(frozen=True)
class Outlier(Checked):
    """Drop an image whose k-th nearest neighbour within its class is far for that class.

    A class's threshold is a quantile of the scores of trusted images of that class, each scored by
    the others; the training images are scored by all of them.

    Parameters
    ----------
    neighbors : int
        k.
    keep : float
        The share of a class's trusted images that lie within its threshold.
    trusted : bool
        Scores by the held-out images, known to be clean, as in the paper. Otherwise by the training
        set itself, poison included, each image by the others; that drops 1 - keep of every class,
        poisoned or not, and poison that stands in clusters vouches for itself.
    """

    neighbors: int = 5
    keep: float = 0.95
    trusted: bool = True

    name: ClassVar[str] = "outlier"
    reference: ClassVar[str] = "Paudice et al., 2018, arXiv 1802.03041, section 4"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, neighbors=self.neighbors)
        require(0 < self.keep <= 1, "keep has to be above 0 and at most 1", self.keep)

    def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
        """Return the rows that lie near to others of their class, and the labels as they are."""
        X, y = checks.training_set(X, y, task)
        keep = np.ones(len(y), dtype=bool)
        for label in np.unique(y):
            rows = np.flatnonzero(y == label)
            scores = self._scores(X[rows], task.name_of(label))
            keep[rows] = scores <= np.quantile(scores, self.keep, method="higher")
        return keep, y.copy()

    def region(self, X: Floats, y: Labels, *, task: Task) -> NearClass:
        """Return what lies near to trusted images."""
        X, y = checks.training_set(X, y, task)
        points, inside, thresholds = {}, {}, {}
        for label in np.unique(y):
            of_class = np.asarray(X[y == label], dtype=np.float32)
            scores = self._scores(of_class, task.name_of(label))
            threshold = float(np.quantile(scores, self.keep, method="higher"))
            points[label] = Points.of(of_class)
            inside[label] = of_class[scores <= threshold]
            thresholds[label] = threshold
        return NearClass(points, inside, thresholds, self.neighbors)

    def _scores(self, points: Floats, name: str) -> Float32:
        """Return the distance of each point to its k-th nearest other, (n,)."""
        if len(points) <= self.neighbors:
            raise InputError(
                f"outlier: {self.neighbors} neighbors need more than {len(points)} images, which "
                f"are all that there are of class {name} (of the held-out ones, if trusted)"
            )
        return nearest_others(points, self.neighbors).distances(points)[:, -1]


@dataclass(frozen=True)
class NearClass:
    """The images whose k-th nearest trusted image of their class is within its threshold.

    Attributes
    ----------
    points : dict of ndarray
        By class, the trusted images.
    inside : dict of ndarray
        Those of them that lie within the threshold themselves.
    thresholds : dict of float
    neighbors : int
    """

    points: dict[Any, Points]
    inside: dict[Any, Float32]
    thresholds: dict[Any, float]
    neighbors: int

    def accepts(self, X: Floats, y: Labels) -> Mask:
        """Return which rows lie near enough; none of a class without trusted images does."""
        keep = np.zeros(len(y), dtype=bool)
        for label in self.points:
            rows = np.flatnonzero(y == label)
            scores = map_chunks(
                lambda a, b, rows=rows, label=label: self._score(X[rows[a:b]], label),  # type: ignore[misc]
                len(rows), _CHUNK,
            )  # fmt: skip
            if scores:
                keep[rows] = np.concatenate(scores) <= self.thresholds[label]
        return keep

    def project(self, X: Floats, y: Labels) -> Floats:
        """Return X, what lies outside moved towards the nearest trusted image until it is inside.

        The farthest accepted image on that straight line, within a thousandth of its length.
        """
        out = np.array(X, dtype=np.float32)
        with one_blas_thread():
            for label in self.inside:
                rows = np.flatnonzero(y == label)
                out[rows] = self._inside(out[rows], label)
        return out

    def _inside(self, X: Float32, label: Any) -> Float32:
        # a little within, so that rounding in another product cannot tip a point over
        threshold = self.thresholds[label] * (1 - 1e-4)
        outside = np.flatnonzero(self._score(X, label) > threshold)
        if len(outside) == 0:
            return X
        start = X[outside]
        near = self.inside[label][_nearest(start, self.inside[label])]
        low, high = np.zeros((len(start), 1), np.float32), np.ones((len(start), 1), np.float32)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            accepted = self._score(near + middle * (start - near), label)[:, None] <= threshold
            low, high = np.where(accepted, middle, low), np.where(accepted, high, middle)
        X[outside] = near + low * (start - near)
        return X

    def _score(self, X: Floats, label: Any) -> Float32:
        """Return the distance of each row to its k-th nearest trusted image, in this thread."""
        return distances(X, self.points[label], self.neighbors)[:, -1]


def _nearest(X: Float32, points: Float32) -> Labels:
    """Return the number of the nearest point to each row, (n,)."""
    gaps = (points.astype(np.float64) ** 2).sum(axis=1) - 2.0 * (X @ points.T)
    nearest: Labels = np.argmin(gaps, axis=1).astype(np.int64)
    return nearest
