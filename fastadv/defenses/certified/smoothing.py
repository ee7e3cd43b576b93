"""Randomized smoothing: a vote under Gaussian noise, certified in L2 (Cohen et al., ICML 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from fastadv import capabilities, checks, seeds, threat
from fastadv.arrays import Float32, Float64, Floats, Labels
from fastadv.batches import map_rows
from fastadv.defenses.certified import smoothed
from fastadv.errors import at_least, require
from fastadv.kernels import random
from fastadv.models.base import certified_labels
from fastadv.protocols import BatchTrainable, Classifier, Logits, Model, Trainable
from fastadv.results import Certificate
from fastadv.specs import Checked
from fastadv.task import Task
from fastadv.threads import map_chunks
from fastadv.threat import Threat

_BLOCK = 64  # rows of a batch that a thread takes


@dataclass(frozen=True)
class Smoothing(Checked):
    """Training under Gaussian noise, the majority vote under it, and the vote's certificate.

    Attacks meet a vote of ``draws`` fixed draws that they know, through the gradient of the mean
    softmax over them (Salman et al., NeurIPS 2019, arXiv 1906.04584, section 2.2).

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, in pixel values, of training, vote and certificate.
    radius : float
        The L2 radius that the certified accuracy is stated for.
    n0, n : int
        Draws that choose the class and draws that bound its probability; the paper's are 100 and
        100,000.
    alpha : float
        The chance that a certificate is wrong; an image whose bound is not above 1/2 is abstained
        on.
    draws : int
        Of the vote that predicts and is attacked.
    """

    sigma: float = 0.25
    radius: float = 0.25
    n0: int = 100
    n: int = 10000
    alpha: float = 0.001
    draws: int = 128

    name: ClassVar[str] = "smoothing"
    reference: ClassVar[str] = "Cohen, Rosenfeld and Kolter, ICML 2019, arXiv 1902.02918, section 3"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.sigma > 0, "sigma has to be above 0", self.sigma)
        at_least(0, radius=self.radius)
        at_least(1, n0=self.n0, n=self.n, draws=self.draws)
        require(0 < self.alpha < 1, "alpha has to be above 0 and below 1", self.alpha)

    def supports(self, model: Any, task: Task) -> str | None:
        """Return None, or why the defense cannot train and smooth the model."""
        lacking = capabilities.missing(model, Trainable, Logits)
        return f"smoothing needs {lacking}" if lacking else None

    def threat(self) -> Threat:
        """Return the ball that the certified accuracy is stated for."""
        return threat.l2(self.radius)

    def fit(self, model: Any, X: Floats, y: Labels, *, task: Task, seed: int) -> Model:
        """Return a clone of ``model``, trained on images with noise.

        Fresh in each epoch where the model learns in batches; else each image gets one draw.
        """
        X, y = checks.training_set(X, y, task)
        step, sigma = 0, np.float32(self.sigma)

        def perturb(_model: Any, x: Float32, rows: Labels, _columns: Labels) -> Float32:
            nonlocal step
            step += 1
            key, ids = seeds.derive(seed, "smoothing", step), rows.astype(np.uint64)
            noisy = np.empty_like(x)

            def add(start: int, stop: int) -> None:
                part = noisy[start:stop]
                random.gauss(np.uint64(key), ids[start:stop], np.uint64(0), part)
                part *= sigma
                part += x[start:stop]

            map_chunks(add, len(x), _BLOCK)
            return noisy

        copy = clone(model)
        if capabilities.able(model, BatchTrainable):
            trained: Model = copy.fit_perturbed(X, y, perturb)
        else:
            x = X.astype(np.float32, copy=False)
            trained = copy.fit(perturb(copy, x, np.arange(len(x)), y), y)
        return trained

    def wrap(self, model: Any, *, task: Task) -> Classifier:
        """Return the vote of ``model``; its gradient is that of the mean softmax."""
        return smoothed.smoothed(model, self.sigma, self.draws, task)

    def certify(self, model: Any, X: Floats, *, task: Task, seed: int) -> Certificate:
        """Certify every row of X (n, d) in L2: the paper's CERTIFY, `n0` and `n` draws an image.

        Each label and radius is right with probability 1 - alpha. Of a model that is `Layered` the
        noise is drawn behind its first product.
        """
        X = checks.images(X, task)
        x, ids = X.astype(np.float32, copy=False), seeds.sample_ids(X)
        key = seeds.derive(seed, "smoothing", "certify")
        count = smoothed.counter(model, self.sigma, key, task)
        chosen, votes = np.zeros(len(x), dtype=np.int64), np.zeros(len(x), dtype=np.int64)

        def certify(start: int, stop: int) -> None:
            part, some = slice(start, stop), ids[start:stop]
            chosen[part] = count(x[part], some, 0, self.n0).argmax(axis=1)
            counts = count(x[part], some, self.n0, self.n)
            votes[part] = counts[np.arange(len(some)), chosen[part]]

        map_rows(model, certify, len(x), 8)
        radius = _radii(votes, self.n, self.alpha, self.sigma)
        classes = capabilities.adapted(model, task).classes_
        label = certified_labels(classes, chosen)
        return Certificate(np.where(radius > 0, label, -1), radius, "l2")


def _radii(votes: Labels, n: int, alpha: float, sigma: float) -> Float64:
    """Return sigma times the normal quantile of the Clopper-Pearson bound (1934); 0 below 1/2."""
    from scipy.special import betaincinv, ndtri

    least = np.where(votes > 0, betaincinv(np.maximum(votes, 1), n - votes + 1, alpha), 0.0)
    radii: Float64 = sigma * ndtri(np.maximum(least, 0.5))
    return radii
