"""Many linear classifiers and their votes, with what the votes certify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastadv import checks
from fastadv.arrays import Arrays, Float32, Floats, Labels, Mask
from fastadv.errors import InputError
from fastadv.kernels.network import votes as kernels
from fastadv.models.base import columns_of
from fastadv.models.saved import Saved, plain_classes, taken, taken_classes
from fastadv.models.times import Times
from fastadv.threads import map_chunks

_STEPS, _RATE = 200, 30.0  # of the small classifiers' descent, on images of length 1
_CHUNK = 16  # classifiers that a thread trains at once
_ROWS = 64  # images that a thread counts votes on at once
_NEAR = 1 / 16  # of the pixels: where more of them differ, a product of all is as fast


class VotingModel(Saved):
    """The plurality of linear classifiers without bias; of equal counts the lower class wins.

    Parameters
    ----------
    weights : ndarray of shape (d, k * m), float32
        Class after class, and in each of them all m classifiers in their order.
    classes : ndarray of shape (k,)
        The labels, sorted.
    n_train : int
        Images that the classifiers were trained on, all together.
    """

    def __init__(self, weights: Float32, classes: npt.NDArray[Any], n_train: int) -> None:
        self.weights = np.ascontiguousarray(weights, dtype=np.float32)
        self.n_train = n_train
        self._times: Times | None = None
        self.classes_ = classes

    @property
    def n_models(self) -> int:
        """How many vote."""
        return int(self.weights.shape[1]) // len(self.classes_)

    def votes(self, X: Floats) -> Labels:
        """Return how many classifiers vote for each class, (n, k), int64."""
        X = self._checked(X)
        return np.concatenate(
            [self._no_votes(0), *map_chunks(lambda a, b: self._count(X[a:b]), len(X), _ROWS)]
        )

    def _checked(self, X: Floats) -> Float32:
        return np.ascontiguousarray(checks.rows(X, len(self.weights)), dtype=np.float32)

    def _no_votes(self, n: int) -> Labels:
        return np.zeros((n, len(self.classes_)), dtype=np.int64)

    def _count(self, X: Float32) -> Labels:
        """Return the votes on some rows, in the calling thread."""
        votes = self._no_votes(len(X))
        kernels.count_votes(self.products(X), votes)
        return votes

    def products(self, X: Float32) -> Float32:
        """Return the classifiers' logits on some rows, (n, k * m)."""
        if self._times is None:
            self._times = Times(self.weights)
        return self._times(X)

    def logits(self, X: Floats) -> Float32:
        """Return the share of the votes for each class, (n, k), in the calling thread.

        All that an attack can see: a count of votes has no gradient, so there is no ``vjp``.
        """
        X = self._checked(X)
        blocks = [self._count(X[start : start + _ROWS]) for start in range(0, len(X), _ROWS)]
        votes = np.concatenate([self._no_votes(0), *blocks])
        return self.shares(votes)

    def shares(self, votes: Labels) -> Float32:
        """Return the logits that these votes are, (n, k)."""
        return (votes / self.n_models).astype(np.float32)

    def nearby(self, X: Floats) -> NearbyVotes:
        """Return what follows images from ``X`` on while few of their pixels change at a time."""
        return NearbyVotes(self, self._checked(X))

    def predict(self, X: Floats) -> npt.NDArray[Any]:
        """Return the label with the most votes, (n,)."""
        labels: npt.NDArray[Any] = self.classes_[self.votes(X).argmax(axis=1)]
        return labels

    def state(self) -> Arrays:
        """Return all that the models are, as plain arrays; the weights (d, k, m)."""
        return {
            "classes": plain_classes(self.classes_), "n_train": np.array(self.n_train),
            "weights": self.weights.reshape(len(self.weights), len(self.classes_), -1),
        }  # fmt: skip

    @classmethod
    def from_state(cls, arrays: Arrays) -> Self:
        """Return the models of which `state` gave these arrays."""
        weights, n_train = taken(arrays, "weights", "f", 3), taken(arrays, "n_train", "iu", 0)
        classes = taken_classes(arrays, weights.shape[1])
        if len(classes) < 2 or not weights.size or weights.dtype != np.float32:
            raise InputError(f"weights {weights.shape} and classes {classes.shape} do not fit")
        return cls(weights.reshape(len(weights), -1), classes, int(n_train))


class NearbyVotes:
    """The votes on images near points whose logits are kept: only what differs is computed.

    Parameters
    ----------
    model : VotingModel
    X : ndarray of shape (n, d), float32
        The points to begin with.
    """

    def __init__(self, model: VotingModel, X: Float32) -> None:
        self._model, self._points = model, X.copy()
        self._logits = np.empty((len(X), model.weights.shape[1]), dtype=np.float32)
        self._anew(np.arange(len(X)), X)

    def logits(self, rows: npt.NDArray[np.intp], X: Floats) -> Float32:
        """Return the logits of X (n, d), where image i is near point ``rows[i]``, (n, k)."""
        X = np.ascontiguousarray(X, dtype=np.float32)
        near, n_classes = self._near(rows, X), len(self._model.classes_)
        votes = np.zeros((near.sum(), n_classes), dtype=np.int64)
        kernels.votes_nearby(
            X[near], rows[near], self._points, self._logits, self._model.weights, votes
        )
        shares = np.empty((len(X), n_classes), dtype=np.float32)
        shares[near], shares[~near] = self._model.shares(votes), self._model.logits(X[~near])
        return shares

    def move(self, rows: npt.NDArray[np.intp], X: Floats) -> None:
        """Make X (n, d) the points ``rows``."""
        X = np.ascontiguousarray(X, dtype=np.float32)
        near = self._near(rows, X)
        kernels.move(X[near], rows[near], self._points, self._logits, self._model.weights)
        self._anew(rows[~near], X[~near])

    def _near(self, rows: npt.NDArray[np.intp], X: Float32) -> Mask:
        near: Mask = (self._points[rows] != X).sum(axis=1) <= _NEAR * X.shape[1]
        return near

    def _anew(self, rows: npt.NDArray[np.intp], X: Float32) -> None:
        self._points[rows] = X
        for start in range(0, len(X), _ROWS):
            part = slice(start, start + _ROWS)
            self._logits[rows[part]] = self._model.products(X[part])


def fit_voters(
    X: Floats,
    y: npt.NDArray[Any],
    parts: Sequence[npt.NDArray[np.int64]],
    classes: npt.NDArray[Any],
    prepare: Callable[[Float32], Float32],
) -> VotingModel:
    """Train a classifier on the rows of each part, each of them on nothing but its rows.

    Softmax regression without bias, by 200 steps of full-batch descent at rate 30, on images that
    are prepared and brought to length 1. No two classifiers share a random number, an order or a
    rounding: the bits of each depend on its own rows in their order alone. One without rows votes
    for the first class.

    Parameters
    ----------
    parts : sequence of ndarray of int
        Numbers of rows; a row may be in several parts, and more than once in one.
    classes : ndarray of shape (k,)
        The labels that there may be, sorted. The bits of every classifier hang on them.
    prepare : callable
        A symmetric linear map of images, (n, d) to (n, d): it is applied to the weights in place of
        the images that are to be classified.
    """
    columns, n_classes = columns_of(classes, y), len(classes)
    weights = np.zeros((X.shape[1], n_classes, len(parts)), dtype=np.float32)

    def train(first: int, last: int) -> None:
        for number in range(first, last):
            rows = parts[number]
            if len(rows) == 0:
                continue
            images = prepare(np.asarray(X[rows], dtype=np.float32)).astype(np.float64)
            lengths = np.linalg.norm(images, axis=1, keepdims=True)
            images /= np.where(lengths > 0, lengths, 1.0)
            G = images @ images.T / len(rows)
            A, Z, P = (np.empty((len(rows), n_classes)) for _ in range(3))
            kernels.fit_softmax(G, columns[rows], _STEPS, _RATE, A, Z, P)
            slopes = np.ascontiguousarray((images.T @ A / len(rows)).T, dtype=np.float32)
            weights[:, :, number] = prepare(slopes).T

    map_chunks(train, len(parts), _CHUNK)
    return VotingModel(weights.reshape(len(weights), -1), classes, len(y))
