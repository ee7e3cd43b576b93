"""The learning rate from step to step, and what training makes of it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from helpers import blobs, small_mlp

from fastadv.errors import InputError
from fastadv.kernels.network import loss
from fastadv.models.mlp import MLPClassifier
from fastadv.models.schedule import Schedule, step_rates

X, Y = blobs()


def test_rates_are_what_the_formulas_say() -> None:
    np.testing.assert_array_equal(step_rates("constant", 0.5, 4), [0.5] * 4)
    np.testing.assert_allclose(step_rates("linear", 0.5, 4), [0.5, 0.375, 0.25, 0.125])
    expected = [0.5] * 8 + [0.5 * 2 / 3, 0.5 / 3]  # of ten steps the last three fall
    np.testing.assert_allclose(step_rates("cooldown", 0.5, 10), expected)
    for schedule in get_args(Schedule):
        assert step_rates(schedule, 0.5, 1).tolist() == [0.5]


def trained_by_hand(model: MLPClassifier, rates: np.ndarray) -> np.ndarray:
    """The parameters after the steps of `fit`, in float64, one after the other."""
    rng = np.random.RandomState(model.random_state)
    sizes = np.array([X.shape[1], *model.hidden_layer_sizes, 3])
    w = model._initial_parameters(rng, sizes)
    v = np.zeros_like(w)
    made = MLPClassifier.from_weights(
        [np.zeros(shape) for shape in zip(sizes[:-1], sizes[1:], strict=True)],
        [np.zeros(n) for n in sizes[1:]],
    )
    steps = iter(rates)
    for _ in range(model.max_iter):
        order = rng.permutation(len(X))
        for start in range(0, len(X), model.batch_size):
            rows = order[start : start + model.batch_size]
            network = made.network()._replace(params=w.astype(np.float32))
            logits, hidden = network.forward(X[rows])
            losses, dlogits = np.empty(len(rows)), np.empty_like(logits)
            loss.cross_entropy(logits, Y[rows], losses, dlogits)
            gradient = network.backward(X[rows], hidden, dlogits) / len(rows)
            v = model.momentum * v - next(steps) * gradient
            w = w + v
    return w


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_way_to_train_takes_the_steps_of_the_schedule(schedule: Schedule) -> None:
    """60 rows in batches of 16: four steps an epoch, the last of fewer rows."""
    model = small_mlp(3, learning_rate=schedule, learning_rate_init=0.2)
    expected = trained_by_hand(model, step_rates(schedule, 0.2, 12))

    def cross_entropy(
        model: MLPClassifier, x: np.ndarray, _: np.ndarray, y: np.ndarray, out: np.ndarray
    ) -> float:
        logits, hidden = model.network().forward(x)
        losses, dlogits = np.empty(len(x)), np.empty_like(logits)
        loss.cross_entropy(logits, y, losses, dlogits)
        out[:] = model.network().backward(x, hidden, dlogits)
        return float(losses.sum())

    for fitted in (
        model.fit(X, Y)._params.copy(),
        model.fit_perturbed(X, Y, lambda _model, x, _rows, _columns: x)._params.copy(),
        model.fit_gradient(X, Y, cross_entropy)._params.copy(),
    ):
        np.testing.assert_allclose(fitted, expected, atol=1e-5)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(InputError, match="learning_rate has to be one of constant, linear, cool"):
        small_mlp(learning_rate="cosine").fit(X, Y)
