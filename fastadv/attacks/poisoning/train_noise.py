"""Noise in the training set: the control of an attack on it that moves images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fastadv import seeds
from fastadv.arrays import Floats
from fastadv.attacks.poisoning.base import Poisoning
from fastadv.attacks.poisoning.flips import random_flips
from fastadv.attacks.poisoning.label_flip import LabelFlip
from fastadv.attacks.poisoning.problem import Crafted, Index, Problem
from fastadv.errors import at_least
from fastadv.seeds import Stream


@dataclass(frozen=True)
class TrainNoise(Poisoning):
    """Add noisy copies of training images under wrong labels, or put noise on the rows in place.

    The images, and with ``labels=random`` the labels, are those that `label_flip` draws with the
    same seed: what differs between the two is the noise.

    Parameters
    ----------
    fraction : float
        Added points over clean ones, or, with ``replace``, the share of the rows.
    points : int or None
        Their number, in place of ``fraction``.
    sigma : float
        Standard deviation of the Gaussian noise on each pixel, in pixel values; the noisy image is
        clipped to the range of a pixel.
    labels : {"random", "kept"}
        A wrong one for each image, drawn at random; or that of the image.
    replace : bool
        Put noise, and the label, on rows of the training set, each once at most, in place of adding
        copies.
    """

    fraction: float = 0.03
    points: int | None = None
    sigma: float = 0.25
    labels: Literal["random", "kept"] = "random"
    replace: bool = False

    name: ClassVar[str] = "train_noise"
    reference: ClassVar[str] = "a control, not an attack"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, sigma=self.sigma)

    def baseline(self, n_clean: int) -> LabelFlip:
        """Return as many random label flips."""
        return LabelFlip(points=self.n_points(n_clean))

    def craft(self, problem: Problem) -> Crafted:
        """Return noisy images, inside a sanitizer's region where they are added."""
        rows, labels = random_flips(problem, problem.seed)
        if self.labels == "kept":
            labels = problem.y[rows]
        noisy = self._noisy(problem, rows)
        points = noisy if self.replace else problem.inside(noisy, labels)
        return Crafted(points, labels, rows)

    def _noisy(self, problem: Problem, rows: Index) -> Floats:
        """Return X[rows] with noise; a row that comes again gets another draw."""
        X, turns = problem.X, _turns(rows)
        key, noisy = seeds.derive(problem.seed, "train_noise"), X[rows]
        for draw in range(int(turns.max()) + 1):
            again = turns == draw
            stream = Stream(key, seeds.sample_ids(X[rows[again]]))
            noisy[again] += np.float32(self.sigma) * stream.normal(draw, X.shape[1])
        return np.clip(noisy, *problem.task.bounds)


def _turns(rows: Index) -> Index:
    """Return how often each row has come before, (n,)."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    turns = np.empty_like(rows)
    turns[order] = np.arange(len(rows)) - first
    return turns
