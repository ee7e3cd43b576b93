"""Where poison points may be, and which way up leads on from there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fastadv.arrays import Float64, Labels
from fastadv.kernels.images import project as kernels
from fastadv.protocols import Projection
from fastadv.task import Task


@dataclass(frozen=True)
class Feasible:
    """The set that each point stays in: the box, a ball around its start, a known sanitizer's.

    Attributes
    ----------
    task : Task
        The bounds of a pixel, and what columns may be.
    start : ndarray of shape (p, d), float64
        The centres of the balls.
    labels : ndarray of shape (p,)
    away : ndarray of shape (p, d), float64
        Where a point with no gradient turns to (see `step`).
    norm : {"l2", "linf"}
    eps : float or None
        The radius of the ball; None for no ball.
    project : callable or None
        Brings points inside what a sanitizer accepts.
    """

    task: Task
    start: Float64
    labels: Labels
    away: Float64
    norm: str = "l2"
    eps: float | None = None
    project: Projection | None = None

    def part(self, points: npt.NDArray[np.intp]) -> Feasible:
        """Return the set for some of the points."""
        return replace(
            self, start=self.start[points], labels=self.labels[points], away=self.away[points]
        )

    def __call__(self, points: Float64) -> Float64:
        """Return the points brought inside.

        They are whole float32 numbers: a loss found for them is that of the rows that are returned.
        Where columns are not free to change, they may lie outside what a sanitizer accepts.
        """
        return self.existing(self.reached(points))

    def existing(self, points: Float64) -> Float64:
        """Return points that are inside but for what columns may be, brought to rows that exist."""
        return self.task.brought_back(self.start, points, self.norm, self.eps)

    def reached(self, points: Float64) -> Float64:
        """Return the points brought inside but for what columns may be."""
        low, high = self.task.bounds
        if self.project is not None:
            points = np.asarray(self.project(points, self.labels), dtype=np.float64)
        inside = np.empty_like(points)
        if self.eps is not None:
            points = np.clip(points, low, high)
            bring = kernels.l2_project if self.norm == "l2" else kernels.linf_project
            bring(self.start, self.eps, low, high, points)
        kernels.box(points, low, high, inside)
        return inside

    def step(
        self,
        points: Float64,
        gradient: Float64,
        momentum: float,
        lengths: Float64,
        heading: Float64,
    ) -> Float64:
        """Turn ``heading`` (p, d); return the points moved by ``lengths`` (p,) along it, `reached`.

        The heading becomes momentum times itself plus the unit vector of each point. That is the
        gradient without the components that push against an active bound of the box, dropped before
        the length is taken: on the zeros of MNIST the step would stall. A point whose gradient is
        zero (outside the support of an SVM, say) turns towards the images that its label is wrong
        for, where it is sure to matter again.
        """
        moved = np.empty_like(points)
        low, high = self.task.bounds
        free, away = self.task.movable(self.norm, self.eps), self.away
        if free is not None:
            gradient, away = np.where(free, gradient, 0.0), np.where(free, away, points)
        kernels.climb(points, gradient, away, low, high, momentum, lengths, heading, moved)
        return self.reached(moved)


def away_from(X: Float64, y: Labels, labels: Labels) -> Float64:
    """Return for each label the mean of the images of all other classes, (len(labels), d)."""
    means = {label: X[y != label].mean(axis=0, dtype=np.float64) for label in np.unique(labels)}
    return np.array([means[label] for label in labels])
