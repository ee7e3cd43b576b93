"""Robust accuracy in % on tables of whole numbers, by where attacked rows are brought back.

through: the gradient at the row that can exist, the step from the point before it was brought there
during: the step from the row that can exist
end: only the last point is brought back
free: nowhere; rows that cannot exist

Mean over 5 models (standard deviation), 100 test rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn import datasets

from fastadv import Dataset, capabilities, make_attack, make_model
from fastadv.attacks.evasion import ball
from fastadv.task import Task

KEPT = Task.brought_back, Task.movable, ball.project_onto, capabilities.brought_back
MODEL = "mlp[hidden_layer_sizes=32,max_iter=30,batch_size=64,random_state={seed}]"


def through() -> None:
    """See above."""
    Task.brought_back, Task.movable, ball.project_onto, capabilities.brought_back = KEPT


def during() -> None:
    """See above."""

    def onto(norm: Any, x: Any, eps: float, task: Task, x_adv: Any) -> None:
        KEPT[2](norm, x, eps, task, x_adv)
        x_adv[:] = KEPT[0](task, x, x_adv, norm, eps)

    ball.project_onto = onto


def end() -> None:
    """See above."""

    def last(attack: Any, x: Any, x_adv: Any, task: Task) -> Any:
        threat = attack.threat()
        return KEPT[0](task, x, x_adv, threat.kind, threat.budget)

    Task.brought_back = lambda *given: given[2]
    capabilities.brought_back = last


def free() -> None:
    """See above."""
    Task.brought_back = lambda *given: given[2]
    Task.movable = lambda *_: None
    capabilities.brought_back = lambda *given: given[2]


def tables() -> Iterator[tuple[str, Dataset]]:
    """Yield tables of whole numbers by their names."""
    x, y = datasets.load_digits(return_X_y=True)
    yield "digits, 16 steps", Dataset.from_arrays(x[:, x.std(axis=0) > 0.3], y)
    for name, levels in (("breast_cancer", 8), ("breast_cancer", 40), ("wine", 12)):
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        low, high = x.min(axis=0), x.max(axis=0)
        whole = np.rint((x - low) / (high - low) * levels)
        yield f"{name}, {levels} steps", Dataset.from_arrays(whole, y)


def main() -> None:
    """Print a line for each table, ball and attack."""
    for name, data in tables():
        models = [
            make_model(MODEL.format(seed=seed)).fit(data.x_train, data.y_train) for seed in range(5)
        ]
        for ball_of in (
            "eps=0.1,norm=linf",
            "eps=0.2,norm=linf",
            "eps=0.3,norm=l2",
            "eps=0.7,norm=l2",
        ):
            for attack in ("pgd[steps=40", "apgd[steps=40"):
                said = [_figure(way, f"{attack},{ball_of}]", models, data)
                        for way in (through, during, end, free)]  # fmt: skip
                print(f"{name:24} {ball_of:18} {attack[:-9]:5}", "  ".join(said), flush=True)


def _figure(way: Callable[[], None], attack: str, models: list[Any], data: Dataset) -> str:
    shares = []
    for seed, model in enumerate(models):
        way()
        result = make_attack(attack).perturb(
            model, data.x_test[:100], data.y_test[:100], task=data.task, seed=seed
        )
        through()
        shares.append(100 * float(result.robust.mean()))
    return f"{way.__name__} {np.mean(shares):5.1f} ({np.std(shares):.1f})"


if __name__ == "__main__":
    main()
