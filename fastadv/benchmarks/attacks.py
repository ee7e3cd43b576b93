"""Every evasion attack on MNIST's digits, beside the matrix products of the passes it makes."""

from __future__ import annotations

import functools

import numpy as np

from fastadv.arrays import Float32, Labels
from fastadv.benchmarks import limits
from fastadv.benchmarks.race import Race, Runner, Work
from fastadv.datasets import load_dataset
from fastadv.grid.trust.cells import CONTROLS
from fastadv.models.mlp import MLPClassifier
from fastadv.registry import ATTACKS, make
from fastadv.results import EvasionResult
from fastadv.task import Task

SAMPLES = 1000


@functools.cache
def _problem() -> tuple[MLPClassifier, Float32, Labels, Task]:
    data = load_dataset("mnist")
    rows = np.random.default_rng(0).permutation(len(data.x_test))[:SAMPLES]
    model = MLPClassifier().fit(data.x_train, data.y_train)
    return model, data.x_test[rows], data.y_test[rows], data.task


def _attack(name: str) -> EvasionResult:
    model, X, y, task = _problem()
    result: EvasionResult = make("attack", name).perturb(model, X, y, task=task)
    return result


def _fastadv(name: str) -> Work:
    """Return the attack; its quality is the accuracy under it at any distance."""
    _problem()

    def work() -> dict[str, float]:
        result = _attack(name)
        broken = result.is_adv | result.misclassified
        return {"accuracy": float(1 - broken.mean()), **result.queries}

    return work


def _products(name: str) -> Work:
    model, X, _, _ = _problem()
    queries = _attack(name).queries
    weights = [np.ascontiguousarray(w, dtype=np.float32) for w in model.coefs_]
    return limits.attack_products(weights, X, queries["forward"], queries["backward"])


def races() -> list[Race]:
    """Return a race for each evasion attack that asks the model, with its default parameters."""
    names = [e.name for e in ATTACKS if e.kind == "evasion" and e.name not in CONTROLS]
    return [
        Race(
            "attacks",
            f"{name}, {SAMPLES:,} digits",
            (
                Runner("fastadv", functools.partial(_fastadv, name)),
                Runner(limits.NAME, functools.partial(_products, name)),
            ),
        )
        for name in names
    ]
