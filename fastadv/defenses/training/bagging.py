"""Bagging: a vote of models, each trained on a few images drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from fastadv import checks, seeds
from fastadv.arrays import Float64, Floats, Labels
from fastadv.defenses.training.voters import Voters, blurring, classes_of
from fastadv.errors import at_least, require
from fastadv.models.base import certified_labels
from fastadv.models.voting import VotingModel, fit_voters
from fastadv.results import Certificate
from fastadv.task import Task


@dataclass(frozen=True)
class Bagging(Voters):
    """Train classifiers on bags of images, drawn with replacement, and let them vote.

    What is certified is the ensemble of all possible bags: with confidence 1 - alpha for each
    image, its label is the one returned, and stays so if r images of any content and label are
    added to the n of the training set, as long as

        (1 + r / n)^k  <  1 + p_l - p_u

    where k is the size of a bag, p_l bounds the label's probability from below and p_u that of
    every other from above. (A bag drawn from the larger set holds clean images alone with
    probability q = (n / (n + r))^k, and is then a bag of the clean set: the label keeps at least
    q p_l, and none other gets more than q p_u + 1 - q. It is the paper's theorem 1 for insertions;
    against images that are changed or removed it certifies about half as many.)

    Parameters
    ----------
    models : int
        The bags that are drawn, the paper's N.
    images : int
        In each bag, the paper's k. Smaller bags certify against more poison.
    alpha : float
        The probability that an image's certificate is wrong; the counts of all classes are bounded
        together (Clopper and Pearson, alpha over the classes each).
    blur : float
        Of the Gaussian through which the classifiers see the images, in pixels.
    budget : int
        The added images that the certified accuracy is stated for, where no attack gives a number.
    """

    models: int = 1000
    images: int = 50
    alpha: float = 0.001
    blur: float = 1.5
    budget: int = 270

    name: ClassVar[str] = "bagging"
    reference: ClassVar[str] = "Jia, Cao and Gong, AAAI 2021, arXiv 2008.04495, theorem 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, models=self.models, images=self.images)
        require(0 < self.alpha < 1, "alpha has to be in (0, 1)", self.alpha)

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> VotingModel:
        """Return the voting models; ``model`` itself plays no part in them."""
        X, y = checks.training_set(X, y, task)
        rng = seeds.generator(seed, "bagging")
        parts = [rng.integers(0, len(X), self.images) for _ in range(self.models)]
        return fit_voters(X, y, parts, classes_of(y, task), blurring(self.blur, task))

    def certify(self, model: Any, X: Floats, *, task: Task, seed: int) -> Certificate:
        """Return the labels, -1 where votes do not decide, and the insertions they withstand."""
        column, gap = self._gap(model.votes(checks.images(X, task)))
        label = certified_labels(model.classes_, column)
        radius = insertions(gap, model.n_train, self.images)
        return Certificate(np.where(gap > 0, label, -1), radius, "points")

    def _gap(self, votes: npt.NDArray[np.int64]) -> tuple[Labels, Float64]:
        """Return the winner of each row of votes (n, k), and p_l - p_u."""
        rows, n_models = np.arange(len(votes)), votes.sum(axis=1)
        share = self.alpha / votes.shape[1]
        winner = votes.argmax(axis=1)
        top = votes[rows, winner]
        others = votes.copy()
        others[rows, winner] = -1
        second = others.max(axis=1)
        lower = beta.ppf(share, top, n_models - top + 1)
        upper = np.ones(len(votes))  # that of a class that every bag votes for
        beaten = second < n_models
        upper[beaten] = beta.ppf(1 - share, second + 1, n_models - second)[beaten]
        gap: Float64 = lower - np.minimum(upper, 1 - lower)
        return winner.astype(np.int64), gap


def insertions(gap: Float64, n: int, k: int) -> Float64:
    """Return the largest r with (1 + r / n)^k < 1 + gap, and 0 where there is none."""
    limit = n * (np.power(1.0 + np.maximum(gap, 0.0), 1.0 / k) - 1.0)
    # rounded down a little: where both sides are equal, nothing is certified
    return np.maximum(np.ceil(limit * (1 - 1e-9)) - 1.0, 0.0)
