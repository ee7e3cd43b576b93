"""Classes that fall into two populations inside a model: a trigger makes one of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fastadv import checks
from fastadv.arrays import Float64, Floats, Labels, Mask
from fastadv.defenses.sanitizers.short_training import ShortTraining
from fastadv.errors import at_least, refuse, require
from fastadv.models.base import class_columns
from fastadv.protocols import Features
from fastadv.task import Task
from fastadv.threads import one_blas_thread

_RIDGE = 0.01  # of the mean variance, so that a feature that never varies does not blow up
_COMPONENTS = 10  # of a class that are clustered, as in the paper
_ROUNDS = 100  # of 2-means at most
_LEAST = 8  # rows of a class in which populations can be told apart


@dataclass(frozen=True)
class TriggerScan(ShortTraining):
    """Drop the smaller of two populations of a class, where the class clearly consists of two.

    A model is trained on the set as it came. What its last hidden layer sums up for the images of a
    class is centred and whitened by the covariance inside the other classes, averaged, so that what
    varies in every class does not hide a trigger.

    Parameters
    ----------
    method : {"spectral", "clustering"}
        ``spectral``: projections onto the top singular vector, cut in two by 2-means; two
        populations if the distance of their means is over ``separation`` standard deviations (the
        root of the mean of both variances: Ashman's D). The paper drops one and a half times the
        expected amount of poison, in every class and whether or not there is any.
        ``clustering``: 2-means on ten principal components; two populations if the mean silhouette
        (by the distances to both means) is over ``silhouette``.
    separation, silhouette : float
        Above what classes without a trigger reach.
    epochs : int
        Of the model that is asked, where it learns in epochs.
    """

    method: Literal["spectral", "clustering"] = "spectral"
    separation: float = 8.0
    silhouette: float = 0.6
    epochs: int = 5

    name: ClassVar[str] = "trigger_scan"
    asks: ClassVar[type] = Features
    reference: ClassVar[str] = (
        "spectral: Tran, Li and Madry, NeurIPS 2018, arXiv 1811.00636, algorithm 1; "
        "clustering: Chen et al., 2018, arXiv 1811.03728, algorithm 1"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.separation > 0, "separation has to be above 0", self.separation)
        require(-1 <= self.silhouette <= 1, "silhouette has to be in [-1, 1]", self.silhouette)
        at_least(1, epochs=self.epochs)
        if self.method == "spectral":
            self.no_part("it is for method=clustering", "silhouette")
        else:
            self.no_part("it is for method=spectral", "separation")

    def screen(
        self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int
    ) -> tuple[Mask, Labels]:
        """Return the rows outside of suspicious populations, and the labels as they are."""
        refuse(self.supports(model, task))
        X, y = checks.training_set(X, y, task)
        short = self.fit_shortened(model, X, y)
        keep = np.ones(len(y), dtype=bool)
        with one_blas_thread():
            features = np.asarray(short.features(X, activated=False), dtype=np.float64)
            columns = class_columns(short, y)
            for column, Z in enumerate(whitened(features, columns)):
                if len(Z) >= _LEAST:
                    keep[columns == column] = ~self.suspicious(Z)
        return keep, y.copy()

    def suspicious(self, Z: Float64) -> Mask:
        """Return which rows of one class (n, d), whitened, are a population to be dropped."""
        _, vectors = np.linalg.eigh(Z.T @ Z)
        top = vectors[:, ::-1]
        if self.method == "spectral":
            scores = Z @ top[:, :1]
            small = smaller_half(scores)
            suspicious = ashman_d(scores[:, 0], small) > self.separation
        else:
            components = Z @ top[:, :_COMPONENTS]
            small = smaller_half(components)
            suspicious = mean_silhouette(components, small) > self.silhouette
        return small if suspicious else np.zeros(len(Z), dtype=bool)


def whitened(features: Float64, columns: Labels) -> list[Float64]:
    """Return each class's features, centred, in units of the spread inside the other classes."""
    n_classes, width = int(columns.max()) + 1, features.shape[1]
    centred = [
        features[columns == c] - features[columns == c].mean(axis=0) for c in range(n_classes)
    ]
    covariances = [Z.T @ Z / len(Z) for Z in centred]
    total = np.sum(covariances, axis=0)
    out = []
    for Z, own in zip(centred, covariances, strict=True):
        others = (total - own) / (n_classes - 1)
        spread = max(float(np.trace(others)) / width, 1e-12)
        root = np.linalg.cholesky(others + _RIDGE * spread * np.eye(width))
        out.append(np.linalg.solve(root, Z.T).T)
    return out


def smaller_half(Z: Float64) -> Mask:
    """Return the smaller of the two clusters of the rows of Z (n, d) that 2-means ends at.

    It starts from the two sides of the mean along the first column.
    """
    second = Z[:, 0] > Z[:, 0].mean()
    for _ in range(_ROUNDS):
        if second.all() or not second.any():
            break
        near, far = _squares(Z, ~second), _squares(Z, second)
        if np.array_equal(far < near, second):
            break
        second = far < near
    smaller: Mask = ~second if np.count_nonzero(second) > len(Z) / 2 else second
    return smaller


def _squares(Z: Float64, rows: Mask) -> Float64:
    """Return the squared distances to the mean of some of the rows, (n,)."""
    out: Float64 = ((Z - Z[rows].mean(axis=0)) ** 2).sum(axis=1)
    return out


def ashman_d(scores: Float64, part: Mask) -> float:
    """Return the distance of the means of both parts in their common standard deviation."""
    if part.all() or not part.any():
        return 0.0
    spread = np.sqrt((scores[part].var() + scores[~part].var()) / 2)
    return float(abs(scores[part].mean() - scores[~part].mean()) / max(spread, 1e-12))


def mean_silhouette(Z: Float64, part: Mask) -> float:
    """Return the mean of (b - a) / max(a, b): a to the row's own mean, b to the other's."""
    if part.all() or not part.any():
        return -1.0
    inside, outside = np.sqrt(_squares(Z, part)), np.sqrt(_squares(Z, ~part))
    own, other = np.where(part, inside, outside), np.where(part, outside, inside)
    return float(np.mean((other - own) / np.maximum(np.maximum(own, other), 1e-12)))
