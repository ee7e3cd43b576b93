"""One attack on one model: what ``fastadv attack`` runs, and what grids and races share with it.

What counts as robust is decided in two places alone: an evasion attack's `EvasionResult` says it of
what the attack returned, and `judged` of images from anywhere, by the same rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastadv import capabilities, registry, seeds
from fastadv.arrays import Floats, Labels
from fastadv.attacks.evasion import without_gradient
from fastadv.datasets import Dataset
from fastadv.errors import InputError
from fastadv.grid.defaults import SAMPLES
from fastadv.grid.given import given_for, untrained
from fastadv.kernels.images import project
from fastadv.models.loading import load
from fastadv.protocols import EvasionAttack, Model, PoisoningAttack
from fastadv.results import EvasionResult, PoisonEvaluation, PoisonResult
from fastadv.sources import is_source
from fastadv.task import Task
from fastadv.threat import Threat

Wait = Callable[[str], AbstractContextManager[None]]


def new_model(spec: str, seed: int, data: Dataset) -> Any:
    """Return an untrained model; what it would take from its data it has from the clean set.

    Raises
    ------
    InputError
        If it says that it cannot learn the data.
    """
    model = registry.make("model", spec, random_state=seed)
    reason = capabilities.learns(model, data.task)
    if reason is not None:
        raise InputError(f"{spec} cannot be trained on {data.name}: {reason}")
    return capabilities.bound(model, data.task, data.x_train)


def test_rows(data: Dataset, n: int) -> npt.NDArray[np.intp]:
    """Return which ``n`` test images evasion attacks get: a prefix of any larger number of them.

    Raises
    ------
    InputError
        If there are not so many.
    """
    if n > len(data.x_test):
        raise InputError(f"samples is {n}, but {data.name} has {len(data.x_test)} test images")
    return seeds.generator(0, "test samples").permutation(len(data.x_test))[:n]


def judged(
    model: Model, X: Floats, y: Labels, x_adv: Floats, *, threat: Threat, task: Task
) -> EvasionResult:
    """Judge images that any attack has made of X, as our own attacks are judged.

    Parameters
    ----------
    X, x_adv : ndarray of shape (n, d)
    y : ndarray of shape (n,)
        The true labels.
    threat : Threat
        ``linf`` or ``l2``.

    Returns
    -------
    EvasionResult
        An image outside the pixel range is no success.
    """
    low, high = task.bounds
    x_adv = np.ascontiguousarray(x_adv, dtype=np.float32)
    right = model.predict(X) == y
    inside = (x_adv.min(axis=1) >= low) & (x_adv.max(axis=1) <= high)
    is_adv = right & inside & (model.predict(x_adv) != y)
    distances = {"linf": np.empty(len(X)), "l2": np.empty(len(X))}
    project.distances(X, x_adv, distances["linf"], distances["l2"])
    success = is_adv & threat.within(distances, len(X))
    return EvasionResult(x_adv, is_adv, success, ~right, distances)


# -- fastadv attack -------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What was asked for, as it was written."""

    attack: str
    dataset: str
    model: str
    samples: int | None
    seed: int


@dataclass(frozen=True)
class Evasion:
    """Test images (their ``rows``) before and after an attack, which alone took ``seconds``."""

    asked: Asked
    attack: EvasionAttack
    model: Model
    data: Dataset
    rows: npt.NDArray[np.intp]
    X: Floats
    y: Labels
    result: EvasionResult
    seconds: float


@dataclass(frozen=True)
class Poisoning:
    """A poisoned training set, which test images are right without it, and what it does to them."""

    asked: Asked
    attack: PoisoningAttack
    data: Dataset
    y: Labels
    result: PoisonResult
    right_before: npt.NDArray[np.bool_]
    evaluation: PoisonEvaluation
    seconds: float


def run(
    asked: Asked, data: Dataset, wait: Wait, begin: Callable[[], None] = lambda: None
) -> Evasion | Poisoning:
    """Train a model, if it is not given trained, and run one attack against it, undefended.

    Parameters
    ----------
    wait : callable
        Given what is going on, a context manager that shows it.
    begin : callable
        Called when what was asked for has been checked, before any work.

    Raises
    ------
    InputError
        If something that was asked for is wrong, or the attack does not support the model.
    """
    attack = registry.make("attack", asked.attack)
    poisons = capabilities.kind_of(attack) == "poisoning"
    given = None
    if is_source(asked.model):
        with wait(f"loading {asked.model}"):
            given = given_for(load(asked.model, data.task), data, asked.model)

    def new() -> Any:
        if given is None:
            return new_model(asked.model, asked.seed, data)
        return capabilities.bound(untrained(given, asked.seed), data.task, data.x_train)

    model = new() if given is None or poisons else given
    reason = capabilities.supports(attack, model, data.task)
    if reason:
        raise InputError(f"{asked.attack} cannot attack {asked.model} on {asked.dataset}: {reason}")
    n = asked.samples or (len(data.x_test) if poisons else min(SAMPLES, len(data.x_test)))
    rows = test_rows(data, n)
    begin()
    if model is not given:
        with wait(f"training {asked.model} on {len(data.x_train):,} images"):
            model.fit(data.x_train, data.y_train)
    if not poisons:
        return _evade(asked, attack, model, data, rows, wait)
    return _poison(asked, attack, model, new, data, rows, wait)


def _evade(
    asked: Asked, attack: EvasionAttack, model: Any, data: Dataset, rows: Any, wait: Wait
) -> Evasion:
    X, y = data.x_test[rows], data.y_test[rows]
    # Machine code is loaded from disk at the first call; that is not the attack's time.
    attack.perturb(model, X[:1], y[:1], task=data.task, seed=asked.seed)
    with wait(f"attacking {len(X):,} test images with {asked.attack}"):
        start = time.perf_counter()
        result = without_gradient.perturb(attack, model, X, y, task=data.task, seed=asked.seed)
        seconds = time.perf_counter() - start
    return Evasion(asked, attack, model, data, rows, X, y, result, seconds)


def _poison(
    asked: Asked,
    attack: PoisoningAttack,
    model: Any,
    new: Callable[[], Any],
    data: Dataset,
    rows: Any,
    wait: Wait,
) -> Poisoning:
    X, y = data.x_test[rows], data.y_test[rows]
    with wait(f"poisoning with {asked.attack}"):
        start = time.perf_counter()
        result = attack.poison(
            new(), data.x_train, data.y_train, data.x_val, data.y_val, task=data.task,
            seed=asked.seed,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    with wait(f"training {asked.model} on the poisoned set"):
        poisoned = new().fit(result.X, result.y)
    found = attack.evaluate(
        poisoned, X, y, trigger=result.trigger, target=result.details.get("target")
    )
    return Poisoning(asked, attack, data, y, result, model.predict(X) == y, found, seconds)
