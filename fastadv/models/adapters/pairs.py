"""A support vector machine of several classes, one against one, as libsvm trains it."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastadv import checks
from fastadv.arrays import Arrays, Float64, Floats
from fastadv.errors import InputError
from fastadv.models.adapters.inputs import Affine
from fastadv.models.base import DifferentiableModel
from fastadv.models.saved import plain_classes
from fastadv.models.svm_objective import kernel_matrix
from fastadv.protocols import Pullback

_ABOVE = 1e-3  # of a class that wins a circle, over the others


class Pairs(DifferentiableModel):
    """Machines for each two of the classes, and their vote, in float64.

    The logit of a class is its margin over the class that wins the vote, times ``scale``, and that
    of the winner 0; of two classes it is the margin over the other. The votes themselves, which
    scikit-learn's ``decision_function`` counts, jump from image to image, so that their gradient
    leads nowhere. Where a class beats the winner of the vote (in a circle), the winner is set just
    above all others.

    Parameters
    ----------
    vectors : ndarray of shape (n_sv, d)
        The support vectors.
    dual : ndarray of shape (n_sv, p)
        Their factors in each of the p = k (k - 1) / 2 machines, in the order (0, 1), (0, 2), ...;
        positive values of machine (i, j) are for class i.
    bias : ndarray of shape (p,)
    gamma : float
        Of the RBF kernel; 0 is the linear one.
    classes : ndarray of shape (k,)
    by_margin : bool
        Of classes with as many votes, the one with the larger sum of margins is predicted
        (``break_ties``), and not the first.
    before : Affine or None
        What is done to an image first.
    scale : float
        Above 0. Margins of about 1 make a softmax that tells hardly any classes apart, so that
        whoever climbs its cross-entropy is drawn to all of them at once, and not to the nearest.
    """

    def __init__(
        self,
        vectors: Float64,
        dual: Float64,
        bias: Float64,
        gamma: float,
        classes: npt.NDArray[Any],
        by_margin: bool = False,
        before: Affine | None = None,
        scale: float = 1.0,
    ) -> None:
        k = len(classes)
        if dual.shape != (len(vectors), k * (k - 1) // 2) or bias.shape != dual.shape[1:]:
            raise InputError(
                f"vectors {vectors.shape}, factors {dual.shape} and {bias.shape} do not fit"
            )
        self._vectors, self._dual, self._bias = vectors, dual, bias
        self._gamma, self._by_margin, self._before = gamma, by_margin, before
        self._scale, self.classes_ = scale, classes
        self.n_features_in_ = int(vectors.shape[1] if before is None else before.factor.shape[0])
        self._duels = list(combinations(range(k), 2))

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        """Return the logits (n, k) and the pullback to X, in its float type."""
        given = checks.rows(X, self.n_features_in_)
        kind = np.float32 if given.dtype == np.float32 else np.float64
        rows = np.ascontiguousarray(given, dtype=np.float64)
        rows = rows if self._before is None else self._before(rows)
        K = kernel_matrix(rows, self._vectors, self._gamma)
        over = self._over(K @ self._dual + self._bias)
        winner, k = self._winner(over), len(self.classes_)
        rival = np.repeat(winner[:, np.newaxis], k, axis=1)
        scale = self._scale
        if k == 2:
            rival[:] = [1, 0]
        logits = scale * np.take_along_axis(over, rival[:, :, np.newaxis], axis=2)[:, :, 0]
        first = logits.argmax(axis=1)
        circle = np.flatnonzero(winner != first)
        logits[circle, winner[circle]] = logits[circle, first[circle]] + _ABOVE

        def pullback(dlogits: Floats) -> Floats:
            given = scale * np.asarray(dlogits, dtype=np.float64)
            given[circle, first[circle]] += given[circle, winner[circle]]
            given[circle, winner[circle]] = 0.0
            slope = np.zeros((len(rows), len(self._duels)))
            for p, (i, j) in enumerate(self._duels):
                slope[:, p] = given[:, i] * (rival[:, i] == j) - given[:, j] * (rival[:, j] == i)
            gradient = self._pull(rows, K, slope @ self._dual.T)
            gradient = gradient if self._before is None else self._before.pull(gradient)
            return gradient.astype(kind)

        return logits.astype(kind), pullback

    def _over(self, margins: Float64) -> Float64:
        """Return what each class is over each other, (n, k, k); 0 over itself."""
        k = len(self.classes_)
        over = np.zeros((len(margins), k, k))
        for p, (i, j) in enumerate(self._duels):
            over[:, i, j], over[:, j, i] = margins[:, p], -margins[:, p]
        return over

    def _winner(self, over: Float64) -> npt.NDArray[np.intp]:
        """Return the column of the class that is predicted, (n,)."""
        votes = (over > 0).sum(axis=2).astype(np.float64)
        for i, j in self._duels:
            votes[:, j] += over[:, i, j] == 0  # libsvm's rule
        if self._by_margin:
            total = over.sum(axis=2)
            votes += total / (3 * (np.abs(total) + 1))
        winner: npt.NDArray[np.intp] = votes.argmax(axis=1)
        return winner

    def _pull(self, X: Float64, K: Float64, slope: Float64) -> Float64:
        """Return d(loss)/dX (n, d) for d(loss)/d(kernel) (n, n_sv)."""
        if self._gamma == 0:
            return slope @ self._vectors
        weight = slope * K
        out: Float64 = 2 * self._gamma * (weight @ self._vectors - weight.sum(axis=1)[:, None] * X)
        return out

    def features(self, X: Floats, *, activated: bool = True) -> Floats:
        """Return X itself: there is no hidden layer."""
        return np.asarray(X)

    def state(self) -> Arrays:
        """Return all that the machines are, as plain arrays."""
        before = self._before or Affine(np.empty(0), np.empty(0))
        return {
            "vectors": self._vectors, "dual": self._dual, "bias": self._bias,
            "gamma": np.array(self._gamma), "classes": plain_classes(self.classes_),
            "by_margin": np.array(self._by_margin), "scale": np.array(self._scale),
            "factor": before.factor, "offset": before.offset,
        }  # fmt: skip

    @classmethod
    def from_state(cls, arrays: Arrays) -> Self:
        """Return the machines of which `state` gave these arrays."""
        before = Affine(arrays["factor"], arrays["offset"]) if arrays["factor"].size else None
        return cls(
            arrays["vectors"], arrays["dual"], arrays["bias"], float(arrays["gamma"]),
            arrays["classes"], bool(arrays["by_margin"]), before, float(arrays["scale"]),
        )  # fmt: skip
