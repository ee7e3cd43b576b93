"""The derivative of a perceptron's training, in both forms of its first layer."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from helpers import blobs, small_mlp

from fastadv import MLPClassifier
from fastadv.arrays import Float64
from fastadv.errors import DivergenceError, InputError
from fastadv.models import unrolled
from fastadv.models.schedule import Schedule
from fastadv.protocols import PoisonObjective
from fastadv.threads import map_chunks, set_threads

X, Y = blobs()
X_VAL, Y_VAL = blobs(12, seed=5)


def small(**changes: object) -> MLPClassifier:
    """A perceptron of which no two steps have the same rate."""
    return small_mlp(**{"learning_rate": "linear", "learning_rate_init": 0.2, **changes})


FORMS: tuple[unrolled.Form, ...] = ("gram", "dense", "sparse")
MEDIAN = np.median(X)
SOME_ZEROS = np.where(X < MEDIAN, 0, X)


def in_form(
    model: MLPClassifier, form: unrolled.Form, index: np.ndarray, X: np.ndarray = X
) -> unrolled.Objective:
    made = model.poison_objective(X, Y, index, X_VAL, Y_VAL)
    assert isinstance(made, unrolled.Objective)
    return unrolled.Objective(made.training, X, Y, index, X_VAL, Y_VAL, form)


def central_differences(objective: PoisonObjective, points: Float64, step: float) -> Float64:
    out = np.empty_like(points)
    for at in np.ndindex(*points.shape):
        losses = []
        for sign in (step, -step):
            moved = points.copy()
            moved[at] += sign
            losses.append(objective(moved)[0])
        out[at] = (losses[0] - losses[1]) / (2 * step)
    return out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("hidden", [(), (6,), (5, 4)])
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu"])
def test_the_gradient_is_that_of_central_differences(
    hidden: tuple[int, ...], activation: str, form: unrolled.Form
) -> None:
    model = small(hidden_layer_sizes=hidden, activation=activation, alpha=0.1, max_iter=2)
    index = np.array([4, 20])
    objective = in_form(model, form, index, SOME_ZEROS)
    points = SOME_ZEROS[index].astype(np.float64)
    _, gradient = objective(points)
    numeric = central_differences(objective, points, 1e-5)
    assert np.abs(gradient - numeric).max() <= 1e-6 * np.abs(numeric).max()


FAMILIES = {
    "softmax regression": {"hidden_layer_sizes": ()},
    "one layer": {"hidden_layer_sizes": (5,)},
    "two layers": {"hidden_layer_sizes": (5, 4)},
    "mini-batches, momentum, penalty": {
        "hidden_layer_sizes": (5,), "batch_size": 5, "momentum": 0.9, "alpha": 0.3, "max_iter": 4,
    },
}  # fmt: skip


@pytest.mark.compiled
@pytest.mark.parametrize("family", FAMILIES)
def test_fifty_random_problems(family: str) -> None:
    """Smooth activations: a difference quotient across a corner of relu is not a derivative."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        n, d, k, p = (
            rng.integers(12, 20),
            rng.integers(3, 9),
            rng.integers(2, 5),
            rng.integers(1, 4),
        )
        x, x_val, y, y_val = (
            rng.random((n, d)),
            rng.random((8, d)),
            np.arange(n) % k,
            np.arange(8) % k,
        )
        model = MLPClassifier(
            activation=("logistic", "tanh")[seed % 2], random_state=seed,
            **{"batch_size": 50, "momentum": 0.0, "max_iter": 20, "learning_rate_init": 0.3, **FAMILIES[family]},
        )  # type: ignore[arg-type]  # fmt: skip
        index = rng.permutation(n)[:p]
        made = model.poison_objective(x, y, index, x_val, y_val)
        assert isinstance(made, unrolled.Objective)
        objective = unrolled.Objective(made.training, x, y, index, x_val, y_val, FORMS[seed % 3])
        _, gradient = objective(x[index])
        numeric = central_differences(objective, x[index], 1e-5)
        cosine = (gradient * numeric).sum() / np.linalg.norm(gradient) / np.linalg.norm(numeric)
        assert cosine >= 0.9999
        assert np.linalg.norm(gradient - numeric) <= 1e-4 * np.linalg.norm(numeric)


@pytest.mark.uncompiled
@pytest.mark.parametrize("batch_size", [16, 100])
@pytest.mark.parametrize("hidden", [(), (6,), (40, 4)])
def test_all_forms_agree_and_a_call_forgets_the_one_before(
    hidden: tuple[int, ...], batch_size: int
) -> None:
    model = small(batch_size=batch_size, alpha=0.2, hidden_layer_sizes=hidden)
    index = np.array([3, 40, 7])
    points = SOME_ZEROS[index].astype(np.float64)
    found = []
    for form in FORMS:
        objective = in_form(model, form, index, SOME_ZEROS)
        objective(1 - points)
        loss, gradient = objective(points)
        again = objective(points)
        assert again[0] == loss == objective.loss(points)
        np.testing.assert_array_equal(again[1], gradient)
        found.append((loss, gradient))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-12)
        np.testing.assert_allclose(gradient, found[0][1], rtol=1e-9, atol=1e-13)


def test_the_form_follows_from_the_data() -> None:
    """Images that are mostly zero are walked, where that is less work; points may be dense."""
    rng, model = np.random.default_rng(0), MLPClassifier((128,), max_iter=1)

    def form(n: int, d: int, share: float, points: int, **changes: object) -> str:
        x = rng.random((n, d)) * (rng.random((n, d)) < share)
        y, index = np.arange(n) % 2, np.arange(points)
        model.set_params(**{"hidden_layer_sizes": (128,), "batch_size": 100, **changes})
        made = model.poison_objective(x, y, index, x[:2], y[:2])
        assert isinstance(made, unrolled.Objective)
        return made.form

    assert form(1000, 784, 0.19, 1) == "sparse"
    assert form(1000, 784, 0.19, 300) == "gram"
    assert form(200, 784, 0.19, 1) == "gram"
    assert form(1000, 784, 0.9, 1) == "gram"
    assert form(2000, 784, 0.9, 1) == "dense"
    assert form(2000, 784, 0.19, 1) == "sparse"
    assert form(1000, 784, 0.19, 1, hidden_layer_sizes=(4,)) == "gram"
    assert form(1000, 784, 0.19, 1, batch_size=1000) == "gram"  # whose steps threads share


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bits_from_checkpoints(
    form: unrolled.Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = np.array([3])
    points = X[index].astype(np.float64)
    whole = in_form(small(), form, index)(points)
    monkeypatch.setattr(unrolled, "_MEMORY", 0)
    pieces = in_form(small(), form, index)(points)
    assert whole[0] == pieces[0]
    np.testing.assert_array_equal(whole[1], pieces[1])


@pytest.mark.parametrize("share_of_non_zeros", [0, np.inf], ids=["dense", "sparse"])
@pytest.mark.parametrize("hidden", [(), (6,), (5, 4)])
def test_threads_that_share_a_step_change_nothing(
    hidden: tuple[int, ...], share_of_non_zeros: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = np.array([3, 59, 7])
    points = X[index].astype(np.float64)
    model = small(batch_size=100, alpha=0.2, hidden_layer_sizes=hidden)
    loss, gradient = in_form(model, "gram", index)(points)
    monkeypatch.setattr(unrolled, "_LARGE", 0)
    monkeypatch.setattr(unrolled, "_BLOCK", 16)
    monkeypatch.setattr(unrolled, "_SPARSE", share_of_non_zeros)
    monkeypatch.setattr(unrolled, "_PANEL", 2)
    found = set()
    for threads in (1, 2):
        set_threads(threads)
        shared_loss, shared = in_form(model, "gram", index)(points)
        assert shared_loss == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(shared, gradient, rtol=1e-9, atol=1e-13)
        found.add((shared_loss, shared.tobytes()))
    for again in map_chunks(lambda *_: in_form(model, "gram", index)(points), 2, 1):
        found.add((again[0], again[1].tobytes()))
    monkeypatch.setattr(unrolled, "_MEMORY", 0)
    from_checkpoints = in_form(model, "gram", index)(points)
    found.add((from_checkpoints[0], from_checkpoints[1].tobytes()))
    assert len(found) == 1


def test_the_same_bits_for_any_threads_and_inside_a_pool() -> None:
    index = np.array([3, 9])
    found = []
    for threads in (1, 2):
        set_threads(threads)
        loss, gradient = small(batch_size=100).poison_gradient(X, Y, index, X_VAL, Y_VAL)
        found.append((loss, gradient.tobytes()))
    for loss, gradient in map_chunks(
        lambda *_: small(batch_size=100).poison_gradient(X, Y, index, X_VAL, Y_VAL), 2, 1
    ):
        found.append((loss, gradient.tobytes()))
    assert len(set(found)) == 1


def test_nothing_that_comes_in_is_changed() -> None:
    x, x_val, index = X.astype(np.float64), X_VAL.astype(np.float64), np.array([1])
    objective = small().poison_objective(x, Y, index, x_val, Y_VAL)
    points = np.full((1, x.shape[1]), 0.5)
    objective(points)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(x_val, X_VAL)
    np.testing.assert_array_equal(points, 0.5)


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_the_loss_follows_the_steps_of_fit(schedule: str) -> None:
    model = small(learning_rate=schedule)
    loss, _ = model.poison_gradient(X, Y, np.array([0]), X[:12], Y[:12])
    p = model.fit(X, Y).predict_proba(X[:12])
    assert loss == pytest.approx(-np.log(p[np.arange(12), Y[:12]]).mean(), rel=1e-4)


def test_bad_training() -> None:
    index = np.array([0])
    with pytest.raises(InputError, match="one class"):
        small().poison_gradient(X, Y * 0, index, X_VAL, Y_VAL)
    with pytest.raises(InputError, match="the label 3 is not among"):
        small().poison_gradient(X, Y, index, X_VAL, Y_VAL + 1)
    wild = MLPClassifier((6,), "relu", learning_rate_init=1e17, alpha=1e17, max_iter=30)
    with (
        pytest.raises(DivergenceError, match="lower learning_rate_init"),
        np.errstate(all="ignore"),
    ):
        wild.poison_gradient(X, Y, index, X_VAL, Y_VAL)
