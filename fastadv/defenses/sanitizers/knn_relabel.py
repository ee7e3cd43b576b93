"""Training labels by the vote of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import checks
from fastadv.arrays import Floats, Labels, Mask
from fastadv.defenses.sanitizers.neighbors import nearest_others
from fastadv.errors import InputError, at_least, require
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threads import one_blas_thread


@dataclass(frozen=True)
class KNNRelabel(Checked):
    """Relabel a training image whose nearest neighbours agree on another label.

    Parameters
    ----------
    neighbors : int
        The paper's k; the image itself is not among them.
    eta : float
        The share of the neighbours that has to agree.
    components : int or None
        Neighbours are searched on this many principal components; None searches on the pixels,
        which takes several times as long on the whole of MNIST.
    """

    neighbors: int = 10
    eta: float = 0.5
    components: int | None = 30

    name: ClassVar[str] = "knn_relabel"
    reference: ClassVar[str] = (
        "Paudice et al., ECML PKDD workshops 2018, arXiv 1803.00992, algorithm 1"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, neighbors=self.neighbors, components=self.components)
        require(0 < self.eta <= 1, "eta has to be above 0 and at most 1", self.eta)

    def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
        """Keep every row; return the labels after the vote."""
        X, y = checks.training_set(X, y, task)
        if len(X) <= self.neighbors:
            raise InputError(
                f"knn_relabel: {self.neighbors} neighbors need more than {len(X)} images"
            )
        nearest = self._nearest(X)
        classes, columns = np.unique(y, return_inverse=True)
        votes = np.zeros((len(X), len(classes)), dtype=np.int64)
        for k in range(self.neighbors):
            votes[np.arange(len(X)), columns[nearest[:, k]]] += 1
        agreed = votes.max(axis=1) >= self.eta * self.neighbors
        return np.ones(len(X), dtype=bool), np.where(agreed, classes[votes.argmax(axis=1)], y)

    def _nearest(self, X: Floats) -> Labels:
        """Return the numbers of each image's nearest others, shape (n, neighbors)."""
        points = np.asarray(X, dtype=np.float32)
        if self.components is not None and self.components < min(X.shape):
            from sklearn.decomposition import PCA

            with one_blas_thread():
                points = PCA(self.components, svd_solver="covariance_eigh").fit_transform(points)
        return nearest_others(points, self.neighbors)[0]
