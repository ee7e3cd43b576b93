"""How near the flows of a search are to the least ones that a patient optimiser finds."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from fastadv import MLPClassifier, load_dataset, make_attack
from fastadv.benchmarks import flows
from fastadv.benchmarks.peers.stadv import Problem
from fastadv.task import Task

SHAPE = (12, 12, 1)


@functools.cache
def digits() -> Problem:
    """Images of MNIST that a small network gets right."""
    data = load_dataset("mnist[train=3000,test=1000]")
    model = MLPClassifier((32,), max_iter=6).fit(data.x_train, data.y_train)
    right = np.flatnonzero(model.predict(data.x_test) == data.y_test)[:40]
    return Problem(model, data.x_test[right], data.y_test[right], data.task)


@functools.cache
def textures() -> Problem:
    """Gratings of three directions that reach all borders, where a linear model soon ends."""
    rng, y = np.random.default_rng(0), np.arange(240) % 3
    i, j = np.mgrid[:12, :12]
    angle = (y * np.pi / 3 + rng.normal(0, 0.12, len(y)))[:, None, None]
    phase = rng.uniform(0, 2 * np.pi, len(y))[:, None, None]
    waves = np.sin(1.9 * (i * np.cos(angle) + j * np.sin(angle)) + phase)
    noisy = 0.5 + 0.35 * waves + rng.normal(0, 0.08, waves.shape)
    x = np.clip(noisy, 0, 1).reshape(len(y), -1).astype(np.float32)
    model = MLPClassifier(
        (24,), activation="relu", learning_rate_init=0.05, batch_size=20, max_iter=30
    )
    model.fit(x[40:], y[40:])
    right = np.flatnonzero(model.predict(x[:40]) == y[:40])
    return Problem(model, x[right], y[right], Task(image_shape=SHAPE, n_classes=3))


@pytest.mark.compiled
@pytest.mark.parametrize("posed", [digits, textures])
def test_a_search_comes_near_the_best_of_adam(posed: object) -> None:
    problem: Problem = posed()  # type: ignore[operator]
    best = flows.best_known(problem, steps=400, starts=2)
    result = make_attack("stadv").perturb(problem.model, problem.X, problem.y, task=problem.task)
    losses = np.where(result.is_adv, result.distances["flow_loss"], np.inf)
    assert np.isfinite(best).all()
    assert result.is_adv.all()
    median, ninety = flows.nearness(losses, best)
    assert median <= 1.03
    assert ninety <= 1.1
