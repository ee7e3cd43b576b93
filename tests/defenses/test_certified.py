"""Certificates against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import TASK, blobs
from scipy import stats

from fastadv.capabilities import adapted
from fastadv.defenses.certified.interval import Interval
from fastadv.defenses.certified.smoothed import SmoothedLogits, _noise, counter, smoothed
from fastadv.defenses.certified.smoothing import Smoothing, _radii
from fastadv.errors import InputError
from fastadv.models.mlp import MLPClassifier
from fastadv.seeds import derive

X, Y = blobs(40)


def linear_model(n_classes: int = 2) -> tuple[MLPClassifier, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    w, b = rng.normal(size=(20, n_classes)), rng.normal(size=n_classes)
    b -= X.mean(axis=0) @ w  # so that both sides of the boundary are met
    return MLPClassifier.from_weights([w], [b]), w, b


def test_interval_radius_of_a_linear_model_is_exact() -> None:
    model, w, b = linear_model()
    found = Interval(eps=0.02).certify(model, X, task=TASK, seed=0)
    normal = w[:, 1] - w[:, 0]
    margin = X @ normal + b[1] - b[0]
    np.testing.assert_array_equal(found.label, (margin > 0).astype(int))
    toward = -np.sign(margin)[:, None] * np.sign(normal)

    def after(eps: np.ndarray) -> np.ndarray:  # the margin at the worst corner of the box
        corner = np.clip(X.astype(float) + eps[:, None] * toward, 0, 1)
        return np.sign(margin) * (corner @ normal + b[1] - b[0])

    inside = found.radius > 0
    assert inside.mean() > 0.9
    assert np.all(after(found.radius)[inside] > 0)
    assert np.all(after(found.radius + 1e-4) < 1e-4)


def test_interval_certifies_nothing_that_float32_may_round_away() -> None:
    # Two logits near 10,000 that differ by some 0.005: more than 0 to float64, nothing to float32.
    large = np.random.default_rng(4).uniform(500, 1000, 20)
    w, b = np.stack([large, large + 1e-3], axis=1), np.zeros(2)
    model = MLPClassifier.from_weights([w], [b])
    exact = X @ np.diff(model.coefs_[0].astype(float), axis=1)
    assert np.all(exact > 1e-3)
    np.testing.assert_array_equal(Interval().certify(model, X, task=TASK, seed=0).radius, 0.0)
    # a margin that rounding cannot touch, of logits as large
    model = MLPClassifier.from_weights([w * [1, 1.1]], [b])
    assert np.all(Interval().certify(model, X, task=TASK, seed=0).radius > 0)


def test_smoothing_radius_of_a_linear_model_within_its_confidence() -> None:
    # The vote of a linear model under noise is the model itself: p is the normal distribution
    # function of margin / (sigma |w|), and the radius its distance to the boundary (the paper's
    # proposition 3). Clopper and Pearson's two bounds hold it, each but for a chance of alpha.
    model, w, b = linear_model()
    defense = Smoothing(sigma=0.3, n=1000, alpha=0.001)
    found = defense.certify(model, X, task=TASK, seed=0)
    normal = w[:, 1] - w[:, 0]
    distance = np.abs(X @ normal + b[1] - b[0]) / np.linalg.norm(normal)
    p = stats.norm.cdf(distance / 0.3)
    label = (X @ normal + b[1] - b[0] > 0).astype(int)
    sure = found.label >= 0
    np.testing.assert_array_equal(found.label[sure], label[sure])
    assert np.all(found.radius <= distance)
    # As many votes as p says less 4 standard deviations would have certified at least this.
    few = np.floor(1000 * p - 4 * np.sqrt(1000 * p * (1 - p)) - 1).clip(1)
    least = 0.3 * stats.norm.ppf(np.maximum(stats.beta.ppf(0.001, few, 1001 - few), 0.5))
    assert np.all(found.radius >= least)
    assert sure.mean() > 0.5
    assert not sure.all()  # near the boundary it abstains
    assert np.all((found.radius > 0) == sure)


def test_a_radius_of_smoothing_in_closed_form() -> None:
    votes = np.array([0, 1, 500, 501, 600, 1000])
    tests = [stats.binomtest(int(v), 1000, alternative="greater") for v in votes]
    p = [test.proportion_ci(0.999).low for test in tests]  # Clopper and Pearson's, by their tail
    expected = 0.3 * stats.norm.ppf(np.maximum(p, 0.5))
    np.testing.assert_allclose(_radii(votes, 1000, 0.001, 0.3), expected, atol=1e-9)
    np.testing.assert_array_equal(expected > 0, [False, False, False, False, True, True])


def test_the_vote_is_that_of_noise_on_the_pixels() -> None:
    model = MLPClassifier((7, 5), batch_size=10, max_iter=5).fit(X, Y)
    voted = Smoothing(sigma=0.3, draws=4000).wrap(model, task=TASK).vjp(X[:5])[0]
    noise = np.random.default_rng(0).normal(0, 0.3, (4000, 20)).astype(np.float32)
    for x, logits in zip(X[:5], voted, strict=True):
        shares = model.predict_proba(x + noise)
        error = shares.std(axis=0) * np.sqrt(2 / 4000)
        assert np.all(np.abs(np.exp(logits) - shares.mean(axis=0)) < 5 * error + 1e-6)


class Opaque:
    """The logits of a perceptron and their gradient, and no way into its layers."""

    def __init__(self, model: MLPClassifier) -> None:
        self.vjp = model.vjp


def test_votes_are_the_same_by_layers_and_by_images() -> None:
    model = MLPClassifier((7,), batch_size=10, max_iter=3).fit(X, Y)
    n, ids, opaque = 20_000, np.arange(4, dtype=np.uint64), Opaque(model)
    by_layers, by_images = (
        counter(any_model, 0.8, 3, TASK)(X[:4], ids, 5, n) / n for any_model in (model, opaque)
    )
    spread = np.sqrt(2 * by_layers * (1 - by_layers) / n) + 1e-9
    assert by_layers.max() < 0.99
    np.testing.assert_allclose(by_images.sum(axis=1), 1)
    assert np.all(np.abs(by_layers - by_images) < 4.5 * spread)
    count = counter(opaque, 0.8, 3, TASK)
    parts = count(X[:2], ids[:2], 0, 700) + count(X[:2], ids[:2], 700, 900)
    np.testing.assert_array_equal(parts, count(X[:2], ids[:2], 0, 1600))


def test_the_vote_is_the_same_by_layers_and_by_images() -> None:
    model = MLPClassifier((7,), batch_size=10, max_iter=3).fit(X, Y)
    by_layers, by_images = (
        smoothed(any_model, 0.3, 6000, TASK) for any_model in (model, Opaque(model))
    )
    some, slopes = X[:6], np.eye(3, dtype=np.float32)[Y[:6]]
    (a, pull_a), (b, pull_b) = by_layers.vjp(some), by_images.vjp(some)  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.exp(a), np.exp(b), atol=0.02)
    np.testing.assert_array_equal(by_layers.predict(some), by_images.predict(some))
    np.testing.assert_array_equal(by_images.logits(some), b)
    gradients = pull_a(slopes), pull_b(slopes)
    np.testing.assert_allclose(*gradients, atol=0.08 * np.abs(gradients[0]).max())


def test_the_gradient_of_a_vote_by_images_is_central_differences() -> None:
    model = MLPClassifier((7,), batch_size=10, max_iter=3).fit(X, Y)
    vote = smoothed(Opaque(model), 0.3, 50, TASK)
    logits, pullback = vote.vjp(X[:3])  # type: ignore[attr-defined]
    slopes = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    gradient = pullback(slopes)
    for pixel in range(0, 20, 3):
        moved = np.zeros(20, np.float32)
        moved[pixel] = 0.02
        numeric = (mean_log(model, X[:3] + moved, 0.3) - mean_log(model, X[:3] - moved, 0.3)) / 0.04
        np.testing.assert_allclose(gradient[:, pixel], (slopes * numeric).sum(axis=1), atol=2e-3)


def mean_log(model: MLPClassifier, x: np.ndarray, sigma: float) -> np.ndarray:
    """The logarithm of the mean softmax over the draws of the vote."""
    noise = _noise(derive(0, "smoothing", "vote"), 0, 50, sigma, 20)
    return np.log([model.predict_proba(image + noise).mean(axis=0) for image in x])


def test_of_equal_votes_the_larger_mean_wins() -> None:
    class Two:
        """One class by much where a pixel is above 0, the other by little."""

        def logits(self, x: np.ndarray) -> np.ndarray:
            return np.where(x[:, :1] > 0, [[9.0, 0.0]], [[0.0, 0.1]]).astype(np.float32)

    noise = np.array([[1.0] * 20, [-1.0] * 20], np.float32)
    vote = SmoothedLogits(adapted(Two(), replace(TASK, n_classes=2)), noise)
    assert vote.predict(np.zeros((1, 20), np.float32))[0] == 0
    noise = np.array([[1.0] * 20, [-1.0] * 20, [-2.0] * 20], np.float32)
    vote = SmoothedLogits(adapted(Two(), replace(TASK, n_classes=2)), noise)
    assert vote.predict(np.zeros((1, 20), np.float32))[0] == 1  # by its votes
    assert vote.logits(np.zeros((0, 20), np.float32)).shape == (0, 2)


def test_smoothing_of_more_units_than_pixels_and_of_none() -> None:
    for width in ((40,), ()):
        model = MLPClassifier(width, batch_size=10, max_iter=3).fit(X, Y)
        defense = Smoothing(n=200, draws=16)
        assert defense.certify(model, X, task=TASK, seed=0).radius.max() > 0
        logits, pullback = defense.wrap(model, task=TASK).vjp(X)
        assert np.all(np.isfinite(pullback(np.ones_like(logits))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval(eps=-0.1), "eps has to be from 0 to 1"),
        (lambda: Interval(kappa=2), "kappa has to be from 0 to 1"),
        (lambda: Interval(epochs=0), "epochs has to be at least 1"),
        (lambda: Smoothing(sigma=0), "sigma has to be above 0"),
        (lambda: Smoothing(alpha=1), "alpha has to be above 0 and below 1"),
        (lambda: Smoothing(draws=0), "draws has to be at least 1"),
    ],
)
def test_bad_parameters_are_one_line(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
