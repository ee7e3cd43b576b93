"""Training labels by the vote of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastadv import checks
from fastadv.arrays import Arrays, Float32, Floats, Labels, Mask
from fastadv.errors import InputError, at_least, require
from fastadv.kernels.linalg import product
from fastadv.neighbors import Ints, Neighbors, nearest_after, nearest_others
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threads import map_chunks, one_blas_thread

_CHUNK = 1024  # images that a thread brings onto the components at once
_NO_ROWS = np.empty(0, dtype=np.int64)


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
        Neighbours are searched on this many principal components: those of the held-out images,
        which no poison can turn, where such are known to be clean, as in grids; else of what is
        judged. None searches on the pixels, which takes several times as long on the whole of
        MNIST; so does a search by fewer images than components.
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
        survey = self.survey(X, trusted=X, task=task)
        return self.sanitize_from(survey, X, y, _NO_ROWS, task=task, seed=seed)

    def survey(self, X: Floats, *, trusted: Floats, task: Task) -> Arrays:
        """Return the images' neighbours, more than the vote needs: some may yet change."""
        X = np.asarray(checks.images(X, task), dtype=np.float32)
        basis = self._basis(np.asarray(trusted, dtype=np.float32))
        points = _on(basis, X)
        found = nearest_others(points, min(2 * self.neighbors, max(len(X) - 1, 0)))
        survey: Arrays = {"index": found.index, "product": found.product}
        if basis is not None:
            survey |= {"basis": basis, "points": points}
        return survey

    def sanitize_from(
        self,
        survey: Arrays,
        X: Floats,
        y: Labels,
        changed: Ints,
        *,
        task: Task,
        seed: int,
    ) -> tuple[Mask, Labels]:
        """Return what `sanitize` does, on the surveyed components."""
        X, y = checks.training_set(X, y, task)
        if len(X) <= self.neighbors:
            raise InputError(
                f"knn_relabel: {self.neighbors} neighbors need more than {len(X)} images"
            )
        known = Neighbors(survey["index"], survey["product"])
        points = np.asarray(X, dtype=np.float32)
        if "basis" in survey:
            n_known, basis = len(known.index), survey["basis"]
            points = np.concatenate([survey["points"], _on(basis, points[n_known:])])
            points[changed] = _on(basis, X[changed])
        nearest = nearest_after(known, points, changed, self.neighbors).index
        classes, columns = np.unique(y, return_inverse=True)
        votes = np.zeros((len(X), len(classes)), dtype=np.int64)
        for k in range(self.neighbors):
            votes[np.arange(len(X)), columns[nearest[:, k]]] += 1
        agreed = votes.max(axis=1) >= self.eta * self.neighbors
        return np.ones(len(X), dtype=bool), np.where(agreed, classes[votes.argmax(axis=1)], y)

    def _basis(self, trusted: Float32) -> Float32 | None:
        """Return the principal components (d, c), or None to search on the pixels."""
        if self.components is None or self.components >= min(trusted.shape):
            return None
        from sklearn.decomposition import PCA

        with one_blas_thread():
            fitted = PCA(self.components, svd_solver="covariance_eigh").fit(trusted)
        return np.ascontiguousarray(fitted.components_.T)


def _on(basis: Float32 | None, X: Float32) -> Float32:
    """Return X (n, d) on the components, (n, c); each row's bits the same in any set."""
    if basis is None:
        return X
    packed = np.empty(product.packed_size(*basis.shape, basis), dtype=np.float32)
    product.pack(basis, packed)
    X, out = np.ascontiguousarray(X, np.float32), np.empty((len(X), basis.shape[1]), np.float32)
    map_chunks(lambda a, b: product.product(X[a:b], packed, out[a:b]), len(X), _CHUNK)
    return out
