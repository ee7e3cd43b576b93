"""A model under Gaussian noise: its vote over fixed draws, and the votes of fresh ones.

The noise is drawn on the image; for a model that is `Layered` behind its first product instead,
where fewer numbers say the same (see `fastadv.kernels.network.smooth`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, checks, seeds
from fastadv.arrays import Float32, Float64, Floats, Ids, Labels
from fastadv.batches import cuts_rows
from fastadv.capabilities import said
from fastadv.kernels import random
from fastadv.kernels.network import smooth as kernels
from fastadv.kernels.network.loss import softmax
from fastadv.models.base import DifferentiableModel, LogitsModel, forward_of
from fastadv.models.times import Times
from fastadv.protocols import Classifier, Layered, Pullback
from fastadv.task import Task

_BLOCK = 64  # images that a thread takes
_DRAWS = 512  # of an image that a model is asked at once
_LEAST = np.float32(1e-30)  # of a probability, before its logarithm

# (images (n, d), their ids, first draw, number of draws) -> votes for each class, (n, k)
Counter = Callable[[Float32, Ids, int, int], Labels]


def counter(model: Any, sigma: float, key: int, task: Task) -> Counter:
    """Return what counts the votes of a trained model under noise, in the calling thread."""
    if capabilities.able(model, Layered):
        return _counter_of_layers(model, sigma, key)
    given = capabilities.adapted(model, task)
    forward = forward_of(given)

    def counted(X: Float32, ids: Ids, start: int, n: int) -> Labels:
        counts = np.zeros((len(X), len(given.classes_)), dtype=np.int64)
        for x, sample, votes in zip(X, ids, counts, strict=True):
            own = seeds.derive(key, sample)
            for first in range(start, start + n, _DRAWS):
                noisy = _noise(own, first, min(_DRAWS, start + n - first), sigma, len(x))
                noisy += x
                columns = np.argmax(forward(noisy), axis=1)
                votes += np.bincount(columns, minlength=len(votes))
        return counts

    return counted


def _counter_of_layers(model: Any, sigma: float, key: int) -> Counter:
    first, factor = _first_layer(model, sigma)
    network = model.network()

    def counted(X: Float32, ids: Ids, start: int, n: int) -> Labels:
        counts = np.zeros((len(X), network.sizes[-1]), dtype=np.int64)
        for sums, sample, votes in zip(first(X), ids, counts, strict=True):
            kernels.votes(sums, factor, *network, np.uint64(key), sample, start, n, votes)
        return counts

    return counted


def smoothed(model: Any, sigma: float, draws: int, task: Task) -> Classifier:
    """Return the majority vote of a trained model over fixed draws of noise, the same for all.

    Its logits are the logarithms of the mean softmax; where the vote's winner is not the largest of
    them, those two change places, so that the label is that of the vote. It has their gradient if
    the model has one.
    """
    given, key = capabilities.adapted(model, task), seeds.derive(0, "smoothing", "vote")
    if capabilities.able(model, Layered):
        return SmoothedLayers(model, given.classes_, sigma, draws, key)
    kind = SmoothedModel if capabilities.differentiable(model) else SmoothedLogits
    return kind(given, _noise(key, 0, draws, sigma, task.n_features))


def _noise(key: int, first: int, n: int, sigma: float, width: int) -> Float32:
    """Return the draws ``first``, ... of N(0, sigma^2), (n, width)."""
    z = np.empty((n, width), dtype=np.float32)
    numbers = np.arange(first, first + n, dtype=np.uint64)
    random.gauss(np.uint64(key), numbers, np.uint64(0), z)
    z *= np.float32(sigma)
    return z


def _swapped(mean: Float32, winners: Labels) -> Float32:
    """Return the logarithms of the mean softmax (n, k), the largest of each row its winner's."""
    logits, rows, largest = np.log(mean), np.arange(len(mean)), mean.argmax(axis=1)
    most = logits[rows, largest]
    logits[rows, largest] = logits[rows, winners]
    logits[rows, winners] = most
    return logits


class SmoothedLogits(LogitsModel):
    """What `smoothed` makes of a model that tells its logits alone.

    Parameters
    ----------
    model : Classifier
    noise : ndarray of float32, shape (draws, d)
    """

    gradient = "exact"
    randomised = True  # the draws that attacks know are not those that its users will meet

    def __init__(self, model: Any, noise: Float32) -> None:
        self.model, self._noise = model, noise
        self.classes_: npt.NDArray[Any] = model.classes_

    @property
    def batch_rows(self) -> int | None:
        """How many images at once, if the model says how many rows: each is as many as draws."""
        rows = said(self.model, "batch_rows")
        return None if rows is None else max(1, int(rows) // len(self._noise))

    def logits(self, X: Floats) -> Float32:
        """Return the logits (n, k), image by image in the calling thread."""
        return self._voted(list(map(forward_of(self.model), self._noisy(X))))[0]

    def _noisy(self, X: Floats) -> Iterator[Float32]:
        X = checks.rows(X, self._noise.shape[1])
        return (x + self._noise for x in X.astype(np.float32, copy=False))

    def _voted(self, drawn: list[Floats]) -> tuple[Float32, Float32, Float32]:
        """Return the logits (n, k), each draw's softmax (n, draws, k) and their mean (n, k)."""
        n_classes = len(self.classes_)
        shares = np.empty((len(drawn), len(self._noise), n_classes), dtype=np.float32)
        winners = np.empty(len(drawn), dtype=np.int64)
        for i, logits in enumerate(drawn):
            softmax(np.ascontiguousarray(logits, dtype=np.float32), shares[i])
            counts = np.bincount(np.argmax(logits, axis=1), minlength=n_classes)
            # of a tie the class of the larger mean wins, then the first
            order = -np.arange(n_classes), shares[i].mean(axis=0), counts
            winners[i] = np.lexsort(order)[-1]
        mean = np.maximum(shares.mean(axis=1), _LEAST)
        return _swapped(mean, winners), shares, mean


class SmoothedModel(DifferentiableModel, SmoothedLogits):
    """What `smoothed` makes of a differentiable model."""

    CHUNK = _BLOCK

    def logits(self, X: Floats) -> Floats:
        """Return the logits (n, k); without what a gradient takes if the model cuts rows itself."""
        return SmoothedLogits.logits(self, X) if cuts_rows(self) else super().logits(X)

    def vjp(self, X: Floats) -> tuple[Float32, Pullback]:
        """Return the logits (n, k) and the pullback of the logarithm of the mean softmax."""
        passes = [self.model.vjp(noisy) for noisy in self._noisy(X)]
        logits, shares, mean = self._voted([logits for logits, _ in passes])

        def pullback(dlogits: Floats) -> Float32:
            dmean = (dlogits / mean).astype(np.float32)[:, np.newaxis]
            inner = (dmean * shares).sum(axis=2, keepdims=True)
            slopes = shares * (dmean - inner) / np.float32(len(self._noise))
            out = np.empty((len(passes), self._noise.shape[1]), dtype=np.float32)
            for i, (_, pull) in enumerate(passes):
                out[i] = np.sum(pull(slopes[i]), axis=0)
            return out

        return logits, pullback


class SmoothedLayers(DifferentiableModel):
    """What `smoothed` makes of a model of dense layers."""

    CHUNK = _BLOCK

    gradient = "exact"
    randomised = True

    def __init__(
        self, model: Any, classes: npt.NDArray[Any], sigma: float, draws: int, key: int
    ) -> None:
        self.model, self.draws, self.classes_ = model, draws, classes
        self._first, factor = _first_layer(model, sigma)
        self._back = Times(model.network().matrix(0).T)
        self._noise = _noise(key, 0, draws, 1.0, len(factor)) @ factor

    def vjp(self, X: Floats) -> tuple[Float32, Pullback]:
        """Return the logits (n, k) and the pullback of the logarithm of the mean softmax."""
        network = self.model.network()
        x = np.ascontiguousarray(checks.rows(X, int(network.sizes[0])), dtype=np.float32)
        n, m, n_classes = len(x), self.draws, len(self.classes_)
        sums = self._first(x)
        hidden, _ = network.buffers(n * m)
        shares = np.empty((n, m, n_classes), dtype=np.float32)
        mean, winners = np.empty((n, n_classes), np.float32), np.empty(n, np.int64)
        kernels.expected(sums, self._noise, *network, hidden, shares, mean, winners)
        mean = np.maximum(mean, _LEAST)

        def pullback(dlogits: Floats) -> Float32:
            dmean = np.ascontiguousarray(dlogits / mean, dtype=np.float32)
            dsums = np.empty_like(sums)
            kernels.expected_gradient(*network, hidden, shares, dmean, dsums)
            return self._back(dsums)

        return _swapped(mean, winners), pullback


def _first_layer(model: Any, sigma: float) -> tuple[Callable[[Float32], Float32], Float32]:
    """Return the function x -> x W + b of the first layer and the factor of the noise behind it.

    The factor is sigma R of W = Q R, for R'R = W'W: Cholesky's, but for any rank of W, and without
    squaring its condition.
    """
    network = model.network()
    w, b = network.matrix(0), network.bias(0)
    r: Float64 = np.asarray(np.linalg.qr(w.astype(np.float64), mode="r"))
    times = Times(w)

    def sums(x: Float32) -> Float32:
        out = times(x)
        out += b
        return out

    return sums, np.ascontiguousarray(sigma * r, dtype=np.float32)
