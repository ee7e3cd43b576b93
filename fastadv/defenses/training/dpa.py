"""Deep partition aggregation: a vote of models, each trained on its own part of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastadv import checks, seeds
from fastadv.arrays import Float64, Floats, Labels
from fastadv.defenses.training.voters import Voters, blurring, classes_of
from fastadv.errors import at_least
from fastadv.models.base import certified_labels
from fastadv.models.voting import VotingModel, fit_voters
from fastadv.results import Certificate
from fastadv.task import Task


@dataclass(frozen=True)
class DPA(Voters):
    """Deal the images into parts by their hash, train a classifier on each, and let them vote.

    An image that is added to the training set, taken out or given another label is one unit of
    poison: it changes one part, for the hash is of the image alone, and so one vote. A changed
    image is two, one out and one in. The votes certify a prediction against

        floor( (n_c - max over c' != c of (n_c' + [c' < c])) / 2 )

    such units, c being the label with n_c votes, and of equal counts the lower label winning.

    Parameters
    ----------
    partitions : int
        The paper's k. More of them certify against more poison, and each sees fewer images. It may
        not hang on the training set, whose size the attacker changes.
    blur : float
        Of the Gaussian through which the classifiers see the images, in pixels.
    budget : int
        The added images that the certified accuracy is stated for, where no attack gives a number.

    Notes
    -----
    The paper's classifiers are convolutional networks; ours, whatever the cell's model, are softmax
    regressions, see `fastadv.models.voting.fit_voters`. Training has no randomness, and a part is
    put in an order of its own content, so that what a classifier becomes hangs on nothing else.
    """

    partitions: int = 1200
    blur: float = 1.5
    budget: int = 270

    name: ClassVar[str] = "dpa"
    reference: ClassVar[str] = "Levine and Feizi, ICLR 2021, arXiv 2006.14768, section 3.1"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, partitions=self.partitions)

    def warns(self, n_train: int, task: Task) -> tuple[str, str] | None:
        """Return None, or why so few training images make poor figures, and what helps."""
        if 2 * n_train >= self.partitions * task.n_classes:
            return None
        return (
            f"{self.name} deals {n_train:,} images into {self.partitions:,} parts: a model sees "
            f"{n_train / self.partitions:.1f} on average, of {task.n_classes} classes",
            f"fewer parts, such as dpa[partitions={max(2, n_train // task.n_classes)}]: fewer "
            "votes, each worth more",
        )

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> VotingModel:
        """Return the voting models; ``model`` and ``seed`` play no part in them."""
        X, y = checks.training_set(X, y, task)
        hashes = seeds.sample_ids(X)
        part = (hashes % np.uint64(self.partitions)).astype(np.int64)
        order = np.lexsort((y, hashes, part))
        ends = np.searchsorted(part[order], np.arange(1, self.partitions))
        parts = np.split(order, ends)
        return fit_voters(X, y, parts, classes_of(y, task), blurring(self.blur, task))

    def certify(self, model: Any, X: Floats, *, task: Task, seed: int) -> Certificate:
        """Return the label of each image and the units of poison that cannot change it."""
        column, radius = plurality(model.votes(checks.images(X, task)))
        return Certificate(certified_labels(model.classes_, column), radius, "points")


def plurality(votes: npt.NDArray[np.int64]) -> tuple[Labels, Float64]:
    """Return the winner of each row of votes (n, k), and how many votes may change for sure."""
    rows = np.arange(len(votes))
    winner = votes.argmax(axis=1)
    rivals = votes + (np.arange(votes.shape[1]) < winner[:, None])
    rivals[rows, winner] = -1
    radius = (votes[rows, winner] - rivals.max(axis=1)) // 2
    return winner.astype(np.int64), radius.astype(np.float64)
