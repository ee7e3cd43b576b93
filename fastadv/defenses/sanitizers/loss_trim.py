"""Training on the rows of least loss, over and over, until they stay the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastadv import checks, seeds
from fastadv.arrays import Floats, Labels, Mask
from fastadv.defenses.sanitizers.short_training import ShortTraining
from fastadv.errors import at_least, refuse, require
from fastadv.models.base import cross_entropies
from fastadv.protocols import Classifier, Logits
from fastadv.task import Task


@dataclass(frozen=True)
class LossTrim(ShortTraining):
    """TRIM: alternate between a fit and the choice of the n rows of least loss under it.

    The paper's algorithm, for linear regression, starts from n random rows and ends when the loss
    no longer falls; here the loss is the cross-entropy of the model of the cell. A network learns
    what is wrong too, given time, so it gets a few epochs a round, from fresh weights each time.

    Parameters
    ----------
    fraction : float
        The poison that is reckoned with, added points over clean ones: n = rows / (1 + fraction).
        As much is dropped where there is less poison.
    rounds : int
        Fits at most.
    epochs : int
        Of each fit, where the model learns in epochs, and no more than it would take by itself.
    tolerance : float
        The share of n that may still change places when the choice counts as stable: training by
        batches moves some rows at the edge for ever.
    """

    fraction: float = 0.03
    rounds: int = 5
    epochs: int = 2
    tolerance: float = 0.001

    name: ClassVar[str] = "loss_trim"
    asks: ClassVar[type] = Logits
    reference: ClassVar[str] = (
        "Jagielski et al., IEEE S&P 2018, arXiv 1804.00308, section V, algorithm 2 (TRIM)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 < self.fraction <= 0.5, "fraction has to be above 0 and at most 0.5", self.fraction
        )
        at_least(1, rounds=self.rounds, epochs=self.epochs)
        require(0 <= self.tolerance < 1, "tolerance has to be in [0, 1)", self.tolerance)

    def screen(
        self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int
    ) -> tuple[Mask, Labels]:
        """Return the rows of least loss, and the labels as they are."""
        refuse(self.supports(model, task))
        X, y = checks.training_set(X, y, task)
        n_kept = round(len(y) / (1 + self.fraction))
        keep = np.zeros(len(y), dtype=bool)
        keep[seeds.generator(seed, "loss_trim").permutation(len(y))[:n_kept]] = True
        for _ in range(self.rounds):
            fitted = self.fit_shortened(model, X[keep], y[keep])
            chosen = _of_least_loss(fitted, X, y, n_kept)
            moved = np.count_nonzero(chosen & ~keep)
            keep = chosen
            if moved <= self.tolerance * n_kept:
                break
        return keep, y.copy()


def _of_least_loss(fitted: Classifier, X: Floats, y: Labels, n: int) -> Mask:
    """Return the mask of the n rows of least cross-entropy; of equal ones, the first."""
    known = np.isin(y, fitted.classes_)  # a class of which no row was drawn is wrong for sure
    losses = np.full(len(y), np.inf)
    losses[known] = cross_entropies(fitted, X[known], y[known])
    keep = np.zeros(len(y), dtype=bool)
    keep[np.argsort(losses, kind="stable")[:n]] = True
    return keep
