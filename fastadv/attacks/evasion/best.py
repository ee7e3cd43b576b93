"""Of all points that an attack visits, the best of each image."""

from __future__ import annotations

import numpy as np

from fastadv.arrays import Float32, Float64, Floats, Labels, Mask

_SUCCESS = 1e6  # counts for more than any loss


class Best:
    """For each image the point of highest loss, one that succeeds before any that does not.

    Attributes
    ----------
    points : ndarray of shape (n, ...)
        Images, or flows; at first those that it was made of.
    score : ndarray of float64, shape (n,)
        The loss, with a premium for success.
    """

    def __init__(self, points: Float32) -> None:
        self.points = points.copy()
        self.score: Float64 = np.full(len(points), -np.inf)

    def offer(self, points: Float32, losses: Float64, success: Mask) -> None:
        """Keep those of the points that are better than what is kept."""
        score = losses + np.where(success, _SUCCESS, 0.0)
        better = score > self.score
        self.points[better], self.score[better] = points[better], score[better]

    @property
    def success(self) -> Mask:
        """Which images have a point that succeeds, shape (n,)."""
        return self.score > _SUCCESS / 2


def succeeds(logits: Floats, y: Labels, target: Labels | None) -> Mask:
    """Return which rows are classified other than y, or as their target, shape (n,)."""
    label = logits.argmax(axis=1)
    success: Mask = label != y if target is None else label == target
    return success
