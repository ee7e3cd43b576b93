"""A network that came trained, the grid it is asked for, and all that is measured in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers import blobs
from sklearn.neural_network import MLPClassifier as SklearnMLP

from fastadv import run_grid
from fastadv.grid.result import GridResult

EVASION = ["pgd[steps=4]", "fgsm", "stadv[steps=4]", "square[queries=20]", "deepfool", "spatial"]


def grid_of(model: Any, data: Any, **changes: Any) -> GridResult:
    asked = {"attacks": EVASION, "defenses": ["none", "median"], "samples": 20, "repeats": 1}
    return run_grid(model=model, dataset=data, **{**asked, **changes})


def figures(rows: GridResult) -> list[object]:
    """All that is measured of the cells."""
    return [
        (r.attack, r.defense, r.status, r.clean_accuracy, r.attacked_accuracy, r.success_rate,
         r.oblivious_accuracy, r.distances, r.queries, r.flags)
        for r in rows
    ]  # fmt: skip


def trained() -> SklearnMLP:
    X, Y = blobs(90)
    made = SklearnMLP((6,), activation="tanh", max_iter=60, random_state=0, learning_rate_init=0.02)
    made.fit(X, Y)
    made.coefs_ = [w.astype(np.float32) for w in made.coefs_]
    made.intercepts_ = [b.astype(np.float32) for b in made.intercepts_]
    return made
