"""Interval bounds: against their twin, central differences, brute force and float32 itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from twins import interval as twin

from fastadv.kernels.network import dense, interval

SHAPES = [(6, 3), (6, 5, 3), (6, 5, 4, 3)]
ACTIVATIONS = [dense.LOGISTIC, dense.TANH, dense.RELU]


def problem(
    shape: tuple[int, ...], dtype: type
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = np.array(shape)
    params = rng.normal(size=((sizes[:-1] + 1) * sizes[1:]).sum()).astype(dtype)
    x = rng.random((7, shape[0])).astype(dtype)
    return x, rng.integers(0, 3, 7), params, sizes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_equal_their_twins(shape: tuple[int, ...], activation: int, dtype: type) -> None:
    x, y, params, sizes = problem(shape, dtype)
    tolerance = 2e-5 if dtype is np.float32 else 1e-12
    eps = np.full(7, 0.1)
    gradient, losses, expected = np.zeros_like(params), np.empty(7), np.zeros(params.size)
    interval.worst_case(
        x, y, eps, 0.0, 1.0, params, np.abs(params), sizes, activation, 0.7, gradient, losses
    )
    x64, params64 = x.astype(float), params.astype(float)
    total = twin.worst_case(x64, y, 0.1, 0.0, 1.0, params64, sizes, activation, 0.7, expected)
    np.testing.assert_allclose(losses.sum(), total, rtol=tolerance)
    np.testing.assert_allclose(gradient, expected, atol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("unit", [0.0, 2.0**-24])
def test_margins_equal_their_twin(shape: tuple[int, ...], activation: int, unit: float) -> None:
    x, y, params, sizes = problem(shape, np.float64)
    eps = np.linspace(0, 0.4, 7)
    found, expected = np.empty(7), np.empty(7)
    arguments = (0.0, 1.0, params, np.abs(params), sizes, activation, unit)
    interval.worst_margins(x.astype(np.float32), eps, y, *arguments, found)
    twin.worst_margins(x.astype(np.float32).astype(float), eps, y, *arguments, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_is_central_differences(shape: tuple[int, ...], activation: int) -> None:
    x, y, params, sizes = problem(shape, np.float64)
    losses = np.empty(7)

    def loss(params: np.ndarray, gradient: np.ndarray) -> float:
        eps = np.full(7, 0.1)
        interval.worst_case(
            x, y, eps, 0.0, 1.0, params, np.abs(params), sizes, activation, 1.0, gradient, losses
        )
        return float(losses.sum())

    gradient, numeric = np.zeros_like(params), np.empty_like(params)
    loss(params, gradient)
    for k in range(params.size):
        up, down = params.copy(), params.copy()
        up[k] += 1e-6
        down[k] -= 1e-6
        numeric[k] = (loss(up, np.zeros_like(params)) - loss(down, np.zeros_like(params))) / 2e-6
    assert np.abs(gradient - numeric).max() <= 1e-6 * np.abs(numeric).max()


def test_bounds_of_a_linear_model_are_the_worst_corner() -> None:
    x, y, params, sizes = problem((6, 3), np.float64)
    found, worst = np.empty(7), np.full(7, np.inf)
    interval.worst_margins(
        x, np.full(7, 0.1), y, 0.0, 1.0, params, np.abs(params), sizes, dense.RELU, 0.0, found
    )
    w, b = params[:18].reshape(6, 3), params[18:]
    for signs in itertools.product((-1, 1), repeat=6):
        corner = np.clip(x + 0.1 * np.array(signs), 0, 1)
        logits = corner @ w + b
        own = logits[np.arange(7), y].copy()
        logits[np.arange(7), y] = -np.inf
        worst = np.minimum(worst, own - logits.max(axis=1))
    np.testing.assert_allclose(found, worst, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bounds_of_one_hidden_unit_are_exact_and_others_hold(activation: int) -> None:
    rng = np.random.default_rng(1)
    # One unit is monotone in each input: the worst case is at a corner, and intervals reach it.
    for width, slack in ((1, 1e-12), (4, np.inf)):
        sizes = np.array([3, width, 3])
        params = rng.normal(size=((sizes[:-1] + 1) * sizes[1:]).sum())
        x, y = rng.random((5, 3)), np.array([0, 1, 2, 0, 1])
        found, brute = np.empty(5), np.full(5, np.inf)
        arguments = (0.0, 1.0, params, np.abs(params), sizes, activation, 0.0)
        interval.worst_margins(x, np.full(5, 0.2), y, *arguments, found)
        steps = np.linspace(-0.2, 0.2, 9)
        for change in itertools.product(steps, repeat=3):
            near, here = np.clip(x + np.array(change), 0, 1), np.empty(5)
            interval.worst_margins(near, np.zeros(5), y, *arguments, here)
            brute = np.minimum(brute, here)
        assert np.all(found <= brute + 1e-12)
        assert np.all(found >= brute - slack)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rounding_of_float32_is_inside_the_bounds(activation: int) -> None:
    # Sums that cancel: in float32 the logits are off by far more than float64 would see.
    rng = np.random.default_rng(2)
    sizes = np.array([400, 30, 3])
    params = rng.normal(0, 3, ((sizes[:-1] + 1) * sizes[1:]).sum()).astype(np.float32)
    x = rng.random((64, 400)).astype(np.float32)
    hidden, logits = np.empty(64 * 30, np.float32), np.empty((64, 3), np.float32)
    dense.forward(x, params, sizes, activation, hidden, logits)
    y, params64 = logits.argmax(axis=1), params.astype(float)
    top = np.sort(logits.astype(float), axis=1)
    for unit, below in ((2.0**-24, True), (0.0, False)):
        found = np.empty(64)
        arguments = (0.0, 1.0, params64, np.abs(params64), sizes, activation, unit)
        interval.worst_margins(x, np.zeros(64), y, *arguments, found)
        assert np.all(found <= top[:, 2] - top[:, 1]) == below
