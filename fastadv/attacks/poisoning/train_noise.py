"""Noise in the training set: the control of an attack on it that moves images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fastadv import seeds, threat
from fastadv.arrays import Floats, Labels
from fastadv.attacks.poisoning import base
from fastadv.attacks.poisoning.label_flip import LabelFlip, random_flips
from fastadv.errors import at_least
from fastadv.protocols import Model, Projection
from fastadv.results import PoisonResult
from fastadv.seeds import Stream
from fastadv.task import Task
from fastadv.threat import Threat


@dataclass(frozen=True)
class TrainNoise(base.Poisoning):
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
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, sigma=self.sigma)

    def threat(self) -> Threat:
        """Return the share of added points, or their number."""
        return threat.poison(self.fraction, self.points)

    @property
    def replaces(self) -> bool:
        """Whether rows are made noisy in place."""
        return self.replace

    def baseline(self, n_clean: int) -> LabelFlip:
        """Return as many random label flips."""
        return LabelFlip(points=self.n_points(n_clean))

    def supports(self, model: Model, task: Task) -> str | None:
        """Return None: there is noise for any model."""
        return None

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
        """Return the poisoned set: the noisy copies added, or rows made noisy with ``replace``."""
        problem = base.Problem.of(X_train, y_train, X_val, y_val, task, project)
        X, y = problem.X, problem.y
        n_points = self.n_points(len(X))
        rows, labels = random_flips(y, n_points, len(problem.classes), seed)
        if self.labels == "kept":
            labels = y[rows]
        noisy = self._noisy(X, rows, task, seed)
        if self.replace:
            return problem.in_place(rows, noisy, labels)
        if problem.project is not None:
            noisy = problem.project(noisy, labels)
        return problem.with_points(noisy, labels, origin=rows)

    def _noisy(self, X: Floats, rows: npt.NDArray[np.intp], task: Task, seed: int) -> Floats:
        """Return X[rows] with noise; a row that comes again gets another draw."""
        key, noisy, turns = seeds.derive(seed, "train_noise"), X[rows], _turns(rows)
        for draw in range(int(turns.max()) + 1):
            again = turns == draw
            stream = Stream(key, seeds.sample_ids(X[rows[again]]))
            noisy[again] += np.float32(self.sigma) * stream.normal(draw, X.shape[1])
        return np.clip(noisy, *task.bounds)


def _turns(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return how often each row has come before, (n,)."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered)
    turns = np.empty_like(rows)
    turns[order] = np.arange(len(rows)) - first
    return turns
