"""Validation loss that biggio's points add on a table, by where they are brought back.

through: each step starts from the point before it was brought to a row that can exist
during: it starts from that row

A linear SVM on 100 rows of breast cancer, rounded to so many steps a column; 5 points, 25
gradients; mean over 6 draws (standard deviation).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import datasets

from fastadv import Dataset, make_attack, make_model
from fastadv.attacks.poisoning.feasible import Feasible

THROUGH = Feasible.step


def during(self: Feasible, *given: Any) -> Any:
    """Return what a step leads to, brought back."""
    return self.existing(THROUGH(self, *given))


def gained(data: Dataset, step_size: float, seed: int) -> float:
    """Return the validation loss that the points add."""
    rows = np.random.default_rng(seed).permutation(len(data.x_train))[:100]
    attack: Any = make_attack(f"biggio[points=5,steps=25,step_size={step_size}]")
    history = attack.poison(
        make_model("svm"), data.x_train[rows], data.y_train[rows], data.x_val, data.y_val,
        task=data.task, seed=seed,
    ).history  # fmt: skip
    return float(history[-1] - history[0])


def main() -> None:
    """Print a line for each table and length of the first step."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    low, high = x.min(axis=0), x.max(axis=0)
    for steps in (4, 8, 20):
        data = Dataset.from_arrays(np.rint((x - low) / (high - low) * steps), y)
        for step_size in (0.1, 0.5, 1.0):
            said = []
            for name, way in (("through", THROUGH), ("during", during)):
                Feasible.step = way  # type: ignore[method-assign]
                found = [gained(data, step_size, seed) for seed in range(6)]
                said.append(f"{name} {np.mean(found):.3f} ({np.std(found):.3f})")
            print(f"{steps:2} steps, step_size={step_size}:", "  ".join(said), flush=True)


if __name__ == "__main__":
    main()
