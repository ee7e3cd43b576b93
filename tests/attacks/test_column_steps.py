"""Steps on columns that are not free to change: what they are spent on, and that small ones add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from fastadv import ColumnRules, Dataset, make_attack, make_model
from fastadv.attacks.evasion import ball
from fastadv.attacks.poisoning.feasible import Feasible
from fastadv.columns import Columns
from fastadv.seeds import Stream
from fastadv.task import Task

ENDS: Any = (0, 0, 0), (1, 1, 1)
FIXED = Task((1, 3, 1), 2, columns=Columns(("a", "b", "c"), *ENDS, fixed=(1,)))
TENTHS = Task((1, 3, 1), 2, columns=Columns(("a", "b", "c"), (0, 0, 0), (10, 1, 1), whole=(0,)))
HALF = np.full((1, 3), 0.5, np.float32)


class Linear:
    """Logits of two classes, which differ by w x + b; and all rows that it was asked about."""

    def __init__(self, w: list[float], b: float = 0.0) -> None:
        self.w, self.b = np.array(w, np.float32), np.float32(b)
        self.asked: list[Any] = []

    def logits(self, X: Any) -> Any:
        self.asked.append(X.copy())
        half = (X @ self.w + self.b) / 2
        return np.stack([half, -half], axis=1)

    def vjp(self, X: Any) -> Any:
        return self.logits(X), lambda d: (d[:, :1] - d[:, 1:]) / 2 * self.w


def crafted(attack: str, model: Linear, task: Task) -> Any:
    """Attack the row of halves, which is of class 0, from itself."""
    made: Any = make_attack(attack)
    y, stream = np.zeros(1, np.intp), Stream(0, np.zeros(1, np.uint64))
    craft = made.craft
    if hasattr(made, "craft_from"):
        craft = lambda *given, **named: made.craft_from(HALF.copy(), *given, **named)  # noqa: E731
    return craft(model, HALF, y, None, task=task, stream=stream)[0][0]


@pytest.mark.parametrize(
    "attack",
    ["fgsm[eps=0.1,norm=l2]", "pgd[eps=0.1,norm=l2,steps=3]", "apgd[eps=0.1,norm=l2,steps=40]"],
)
def test_all_of_an_l2_budget_is_spent_on_columns_that_can_change(attack: str) -> None:
    x_adv = crafted(attack, Linear([1, 9, 2]), FIXED)
    np.testing.assert_allclose(x_adv - HALF[0], -0.1 / 5**0.5 * np.array([1, 0, 2]), atol=1e-4)


def test_deepfool_steps_to_the_boundary_along_columns_that_can_change() -> None:
    x_adv = crafted("deepfool[steps=1,overshoot=0.02]", Linear([1, 9, 2], -5.5), FIXED)
    np.testing.assert_allclose(x_adv - HALF[0], -1.02 * 0.5 / 5 * np.array([1, 0, 2]), atol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_points_are_uniform_over_columns_that_can_change(norm: ball.Norm) -> None:
    x, stream = np.repeat(HALF, 3000, axis=0), Stream(7, np.arange(3000, dtype=np.uint64))
    move = ball.random_point(norm, x, 0.4, FIXED, stream, 0) - x
    assert not move[:, 1].any()
    shares = np.abs(move[:, [0, 2]]) / 0.4
    if norm == "l2":  # the area within a radius goes with its square
        shares = (shares**2).sum(axis=1)
    assert stats.kstest(shares.ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("keep", ["best", "first", "last"])
def test_steps_of_pgd_that_are_less_than_a_whole_number_add_up(keep: str) -> None:
    attack = f"pgd[eps=0.3,steps=12,step_size=0.04,keep={keep}]"
    x_adv = crafted(attack, Linear([1, 0, 0], -0.25), TENTHS)
    assert x_adv.tolist() == [np.float32(0.2), 0.5, 0.5]


@pytest.mark.parametrize(
    "attack",
    [
        "pgd[eps=0.3,steps=5,step_size=0.04]", "pgd[eps=0.3,steps=5,step_size=0.04,keep=first]",
        "apgd[eps=0.3,steps=9]", "square[eps=0.3,queries=20]", "noise[eps=0.3,draws=4]",
        "deepfool", "cw[steps=15,search_steps=2]",
    ],
)  # fmt: skip
def test_a_model_is_asked_about_rows_that_can_exist(attack: str) -> None:
    model = Linear([1, 0.3, -0.2], -0.3)
    x_adv = crafted(attack, model, TENTHS)
    rows = np.concatenate([x_adv[None], *model.asked])
    assert TENTHS.n_impossible(np.repeat(HALF, len(rows), axis=0), rows) == 0
    assert len(rows) > 2


def test_cw_keeps_the_nearest_of_the_rows_that_can_exist() -> None:
    model = Linear([2, 1, 0], -0.9)
    x_adv = crafted("cw[steps=40,search_steps=4]", model, TENTHS)
    rows = np.concatenate(model.asked)
    turned = rows[rows @ model.w + model.b < 0]
    least = np.linalg.norm(turned - HALF, axis=1).min()
    np.testing.assert_allclose(np.linalg.norm(x_adv - HALF[0]), least, rtol=1e-6)


def test_a_step_of_poison_is_spent_on_columns_that_can_change() -> None:
    start = HALF.astype(np.float64)
    feasible = Feasible(FIXED, start, np.zeros(1, np.intp), np.ones((1, 3)))
    gradient, heading = np.array([[3.0, 90.0, 4.0]]), np.zeros((1, 3))
    moved = feasible.step(start, gradient, 0.0, np.array([0.1]), heading)
    np.testing.assert_allclose(moved - start, [[0.06, 0, 0.08]], atol=1e-6)


def test_steps_of_biggio_that_are_less_than_a_whole_number_add_up() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (90, 6))
    y = (x[:, :3].sum(axis=1) + rng.normal(size=90) > 4.5).astype(int)
    data = Dataset.from_arrays(x, y, columns=ColumnRules())
    attack: Any = make_attack("biggio[points=3,steps=20,step_size=0.1]")
    history = attack.poison(
        make_model("svm"), data.x_train, data.y_train, data.x_val, data.y_val, task=data.task, seed=0
    ).history  # fmt: skip
    assert history[-1] > history[0]
