"""Attacks on columns return rows that can exist, within their budget: random rules, every attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastadv import ColumnRules, Dataset, MLPClassifier, capabilities, make_attack, registry
from fastadv.attacks.evasion import ball, square_columns, without_gradient
from fastadv.columns import Columns
from fastadv.constraints import Ball, bring_back, movable
from fastadv.task import Task

N = 60
EVASION = [entry.name for entry in registry.ATTACKS if entry.kind == "evasion"]
POISONING = [entry.name for entry in registry.ATTACKS if entry.kind == "poisoning"]
IN_BALL = {"noise", "fgsm", "pgd", "apgd", "square"}
QUICK = {
    "pgd": ",steps=4", "apgd": ",steps=5", "square": ",queries=15", "cw": "steps=12,search_steps=2",
    "biggio": ",steps=3", "noise": ",draws=2",
}  # fmt: skip
FREE, WHOLE, FIXED, FIXED_WHOLE, GROUP = range(5)


@st.composite
def tables(draw: Any) -> Dataset:
    """Return a small table whose first column decides, of columns of random kinds and ranges."""
    kinds = draw(st.lists(st.sampled_from(range(5)), min_size=2, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names, parts, fixed, groups = ["free"], [rng.normal(size=(N, 1))], [], []
    for i, kind in enumerate(kinds):
        name = f"c{i}"
        if kind == GROUP:
            size = int(rng.integers(2, 4))
            members = [f"{name}_{k}" for k in range(size)]
            names += members
            groups.append(members)
            parts.append(np.eye(size)[np.resize(rng.permutation(size), N)])
            continue
        names.append(name)
        fixed += [name] * (kind in (FIXED, FIXED_WHOLE))
        if kind in (WHOLE, FIXED_WHOLE):
            low, span = int(rng.integers(-50, 50)), int(rng.choice([1, 2, 7, 30, 5000]))
            parts.append(rng.integers(low, low + span + 1, (N, 1)).astype(float))
            parts[-1][:2, 0] = low, low + span
        else:
            parts.append(rng.normal(size=(N, 1)) * 10.0 ** rng.integers(-2, 4))
    if groups and draw(st.booleans()):
        fixed.append(groups[0][0])
    x = np.concatenate(parts, axis=1)
    y = (x[:, 0] + 0.3 * rng.normal(size=N) > 0).astype(int)
    rules = ColumnRules(names, fixed=fixed, one_hot=groups)
    return Dataset.from_arrays(x, y, x_test=x[:20], y_test=y[:20], columns=rules)


def trained(data: Dataset) -> MLPClassifier:
    model = MLPClassifier(hidden_layer_sizes=(6,), max_iter=15, batch_size=16, random_state=0)
    return model.fit(data.x_train, data.y_train)


def wrong_rows(columns: Columns, x: Any, x_adv: Any) -> list[str]:
    """Return what of the rows cannot exist, by each rule; written without the projection."""
    wrong = []
    if not (x_adv.min(initial=0) >= 0 and x_adv.max(initial=1) <= 1):
        wrong.append("bounds")
    fixed = list(columns.fixed)
    if not np.array_equal(x_adv[:, fixed], x[:, fixed]):
        wrong.append("fixed")
    for place in columns.whole:
        low, high = columns.low[place], columns.high[place]
        numbers = np.arange(low, high + 1)
        there = ((numbers - low) / (high - low)).astype(np.float32)
        if not np.isin(x_adv[:, place], there).all():
            wrong.append("whole")
    for group in columns.one_hot:
        part = x_adv[:, list(group)]
        if not (np.isin(part, [0, 1]).all() and (part.sum(axis=1) == 1).all()):
            wrong.append("one-hot")
    return wrong


def check(task: Task, x: Any, x_adv: Any) -> None:
    assert task.columns is not None
    assert wrong_rows(task.columns, x, x_adv) == []
    np.testing.assert_array_equal(task.brought_back(x, x_adv), x_adv)


@pytest.mark.parametrize("name", EVASION)
@settings(max_examples=6, deadline=None)
@given(tables(), st.sampled_from(["linf", "l2"]), st.floats(0, 2.5))
def test_evasion(name: str, data: Dataset, norm: str, eps: float) -> None:
    said = f"eps={eps},norm={norm}" if name in IN_BALL else f"norm={norm}" * (name == "deepfool")
    attack: Any = make_attack(f"{name}[{said}{QUICK.get(name, '')}]".replace("[]", ""))
    model = trained(data)
    if capabilities.supports(attack, model, data.task):
        assert name in ("stadv", "spatial")
        return
    result = attack.perturb(model, data.x_test, data.y_test, task=data.task)
    check(data.task, data.x_test, result.x_adv)
    if name in IN_BALL:
        assert (result.success == result.is_adv).all()


@pytest.mark.parametrize("name", POISONING)
@settings(max_examples=10, deadline=None)
@given(tables(), st.data())
def test_poisoning(name: str, data: Dataset, more: Any) -> None:
    said = "points=4" + QUICK.get(name, "")
    if name == "biggio" and more.draw(st.booleans()):
        eps, norm = more.draw(st.floats(0.01, 2)), more.draw(st.sampled_from(["l2", "linf"]))
        said += f",eps={eps},norm={norm}"
    if name in ("label_flip", "train_noise"):
        said += f",replace={str(more.draw(st.booleans())).lower()}"
    defense = more.draw(st.sampled_from([None, "sphere_slab", "knn_relabel[neighbors=3]"]))
    attack: Any = make_attack(f"{name}[{said}]")
    model = MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, batch_size=16, random_state=0)
    if capabilities.supports(attack, model, data.task):
        assert name == "backdoor"
        return
    known = None if defense is None else registry.make_defense(defense)
    result = attack.poison(
        model, data.x_train, data.y_train, data.x_val, data.y_val, task=data.task, defense=known
    )
    assert result.origin is not None
    check(data.task, data.x_train[result.origin], result.X[result.index])


def example() -> Dataset:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.normal(size=(N, 2)), rng.integers(0, 9, (N, 1)), np.eye(2)[np.arange(N) % 2]], axis=1
    )
    rules = ColumnRules(["a", "b", "n", "g_0", "g_1"], fixed=["b"], one_hot=["g"])
    return Dataset.from_arrays(x, (x[:, :3].sum(axis=1) > 4).astype(int), columns=rules)


@pytest.mark.parametrize(
    "name",
    [
        "pgd",
        "noise[eps=0.6,draws=20]",
        "square[queries=99]",
        "deepfool",
        "cw[steps=20,search_steps=2]",
        "biggio[points=4]",
    ],
)
def test_without_the_projection_rows_cannot_exist(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = example()
    monkeypatch.setattr(Task, "brought_back", lambda *given: given[2])
    monkeypatch.setattr(Task, "movable", lambda *_: None)
    attack: Any = make_attack(name)
    if hasattr(attack, "poison"):
        result = attack.poison(
            MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, random_state=0), data.x_train,
            data.y_train, data.x_val, data.y_val, task=data.task,
        )  # fmt: skip
        x, x_adv = data.x_train[result.origin], result.X[result.index]
    else:
        x = data.x_test
        x_adv = attack.perturb(trained(data), x, data.y_test, task=data.task).x_adv
    assert data.task.columns is not None
    assert wrong_rows(data.task.columns, x, x_adv)


@dataclass(frozen=True)
class Raised(ball.InBall):
    """Every column goes up by the budget, whatever it may be."""

    eps: float = 0.6
    norm: ball.Norm = "linf"

    name: ClassVar[str] = "raised"
    reference: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset()

    def craft(self, model: Any, x: Any, y: Any, target: Any, **_: Any) -> Any:
        return np.clip(x + np.float32(self.eps), 0, 1), {}


def test_what_any_attack_crafts_is_brought_back() -> None:
    data = example()
    result = Raised().perturb(trained(data), data.x_test, data.y_test, task=data.task)
    assert result.success.any()
    check(data.task, data.x_test, result.x_adv)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_all_ways_around_a_preprocessor_lead_to_rows_that_can_exist(norm: str) -> None:
    data = example()
    defended = registry.make_defense("bit_depth[bits=3]").wrap(trained(data), task=data.task)
    attack: Any = make_attack(f"pgd[eps=0.6,steps=5,norm={norm}]")
    ways = without_gradient.Ways(
        attack, defended, data.x_test, data.y_test, data.task, seed=0, undefended=defended.model
    )
    assert len(ways.names) >= 3
    for way in ways.names:
        check(data.task, data.x_test, ways.found_by(way).x_adv)


@pytest.mark.parametrize("attack", ["pgd[eps=0.3,steps=2,keep=last]", "fgsm[eps=0.3]"])
def test_adversarial_training_trains_on_rows_that_can_exist(
    attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = example(), []
    fit = MLPClassifier.fit_perturbed

    def watched(self: Any, X: Any, y: Any, perturb: Any) -> Any:
        def looked_at(model: Any, x: Any, rows: Any, columns: Any) -> Any:
            x_adv = perturb(model, x, rows, columns)
            check(data.task, x, x_adv)
            seen.append(np.abs(x_adv - x).max())
            return x_adv

        return fit(self, X, y, looked_at)

    monkeypatch.setattr(MLPClassifier, "fit_perturbed", watched)
    defense: Any = registry.make_defense(f"adv_training[attack={attack},epochs=2,batch_size=16]")
    model = MLPClassifier(hidden_layer_sizes=(4,), random_state=0)
    defense.fit(model, data.x_train, data.y_train, task=data.task, seed=0)
    assert 0 < max(seen) <= 0.3 + 1e-6


# -- the projection ---------------------------------------------------------------------------

COLUMNS = Columns(
    ("a", "n", "g0", "g1"), (0, 0, 0, 0), (1, 10, 1, 1), whole=(1,), one_hot=((2, 3),)
)


def brought(x_adv: list[float], ball: Ball, x: tuple[float, ...] = (0.5, 0.5, 1, 0)) -> Any:
    rows = np.array([x_adv], dtype=np.float32), np.array([x], dtype=np.float32)
    return bring_back(COLUMNS, rows[1], rows[0], ball)[0].astype(float).round(6).tolist()


def test_whole_numbers_go_to_the_nearest_or_towards_the_clean_row() -> None:
    assert brought([0.5, 0.57, 1, 0], Ball("linf", 0.07)) == [0.5, 0.5, 1, 0], "a step is 0.1"
    assert brought([0.5, 0.57, 1, 0], Ball("linf", 0.1)) == [0.5, 0.6, 1, 0]
    assert brought([0.5, 0.76, 1, 0], Ball("linf", 0.26)) == [0.5, 0.7, 1, 0]
    assert brought([0.5, 0.76, 1, 0], Ball()) == [0.5, 0.8, 1, 0]
    assert brought([0.7, 0.66, 1, 0], Ball("l2", 0.2565)) == [0.7, 0.6, 1, 0]
    assert brought([0.7, 0.66, 1, 0], Ball("l2", 0.29)) == [0.7, 0.7, 1, 0]


def test_a_one_hot_group_changes_where_the_ball_reaches_the_other_vertex() -> None:
    other = [0.5, 0.5, 0.2, 0.8]
    assert brought(other, Ball("linf", 0.9)) == [0.5, 0.5, 1, 0]
    assert brought(other, Ball("linf", 1.0)) == [0.5, 0.5, 0, 1]
    assert brought(other, Ball("l2", 1.4)) == [0.5, 0.5, 1, 0]
    assert brought(other, Ball("l2", 2**0.5)) == [0.5, 0.5, 0, 1]
    assert brought(other, Ball()) == [0.5, 0.5, 0, 1]
    assert brought([0.5, 0.5, 0.5, 0.5], Ball(), (0.5, 0.5, 0, 1)) == [0.5, 0.5, 0, 1], "no more"
    spent = brought([1.0, 1.0, 0.2, 0.8], Ball("l2", 1.5))
    assert spent == [pytest.approx(0.854, abs=1e-3), 0.8, 0, 1], "what is left is 0.5"


@pytest.mark.parametrize(
    ("ball", "free"),
    [
        (Ball("linf", 0.09), "a"), (Ball("linf", 0.1), "a n"), (Ball("l2", 0.1), "a n"),
        (Ball("linf", 0.99), "a n"), (Ball("linf", 1.0), "a n g0 g1"),
        (Ball("l2", 1.41), "a n"), (Ball("l2", 1.42), "a n g0 g1"), (Ball(), "a n g0 g1"),
    ],
)  # fmt: skip
def test_columns_can_change_where_a_step_of_theirs_is_within_the_ball(
    ball: Ball, free: str
) -> None:
    can = movable(COLUMNS, ball)
    assert [name for name, moves in zip(COLUMNS.names, can, strict=True) if moves] == free.split()


def test_square_changes_as_many_columns_as_it_should() -> None:
    rng, free = np.random.default_rng(0), np.ones(10, dtype=bool)
    free[[2, 5]] = False
    x = rng.random((50, 10)).astype(np.float32)
    task, draws = Task((1, 10, 1), 2), rng.random((50, 20)).astype(np.float32)
    moved = square_columns.linf_subset(x, x, 0.1, 0.5, free, task, draws)
    assert set((moved != x).sum(axis=1)) == {4}
    np.testing.assert_allclose(np.abs(moved - x)[moved != x].max(), 0.1, atol=1e-6)
    again = square_columns.linf_subset(x, moved, 0.1, 0.05, free, task, draws)
    assert set((again != moved).sum(axis=1)) == {1}, "a proposal that changes nothing turns"
    moved = square_columns.l2_subset(x, x, 1.0, 0.25, free, draws)
    assert set((moved != x).sum(axis=1)) == {2}
    np.testing.assert_allclose(np.linalg.norm(moved - x, axis=1), 1.0, rtol=1e-5)
    further = square_columns.l2_subset(x, moved, 1.0, 0.25, free, rng.random((50, 20)))
    np.testing.assert_allclose(np.linalg.norm(further - x, axis=1), 1.0, rtol=1e-5)
    assert not (further != x)[:, [2, 5]].any()
