"""Biggio's attack: its search on objectives whose answer is known, and its promises on models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers import TASK, blobs

from fastadv import MLPClassifier, load_dataset, make_attack
from fastadv.arrays import Float64, Floats, Labels, Mask
from fastadv.attacks.poisoning.ascent import ascend
from fastadv.attacks.poisoning.feasible import Feasible
from fastadv.errors import InputError
from fastadv.results import PoisonResult
from fastadv.task import Task

X, Y = blobs()
X_VAL, Y_VAL = blobs(30, seed=2)
TWO = Task(image_shape=(5, 4, 1), n_classes=2)


def perceptron() -> MLPClassifier:
    return MLPClassifier((4,), "tanh", batch_size=100, learning_rate_init=0.3, max_iter=15)


def attack(text: str, seed: int = 0) -> PoisonResult:
    return make_attack(text).poison(perceptron(), X, Y, X_VAL, Y_VAL, task=TASK, seed=seed)


class Known:
    """An objective whose gradient is known; it counts what it is asked for."""

    def __init__(self, both: Callable[[Float64], tuple[float, Float64]]) -> None:
        self.both = both
        self.gradients = self.losses = 0

    def __call__(self, points: Float64) -> tuple[float, Float64]:
        self.gradients += 1
        return self.both(points)

    def loss(self, points: Float64) -> float:
        self.losses += 1
        return self.both(points)[0]


def box(start: Float64, **changes: object) -> Feasible:
    task = Task((1, start.shape[1]), 2)
    given = {"task": task, "labels": np.zeros(len(start), np.int64), **changes}
    return Feasible(start=start, away=np.full_like(start, 0.9), **given)  # type: ignore[arg-type]


def test_ascent_finds_the_maximum_of_a_concave_loss_on_the_box() -> None:
    peak = np.array([[0.3, 1.7, -0.4, 0.6]])  # beyond the box in two components
    start = np.array([[0.9, 0.1, 0.5, 0.2]])
    points, history = ascend(
        Known(lambda x: (-float(((x - peak) ** 2).sum()), -2 * (x - peak))),
        start,
        box(start),
        1.0,
        60,
        0.1,
    )
    np.testing.assert_allclose(points, [[0.3, 1.0, 0.0, 0.6]], atol=2e-3)
    assert len(history) == 61
    assert np.all(np.diff(history) >= 0)


def test_descent_where_the_attacker_lowers_the_loss() -> None:
    start = np.array([[0.9, 0.1]])
    points, history = ascend(
        Known(lambda x: (float((x**2).sum()), 2 * x)), start, box(start), -1.0, 60, 0.1
    )
    np.testing.assert_allclose(points, 0, atol=2e-3)
    assert np.all(np.diff(history) <= 0)


def test_a_point_without_gradient_gets_away() -> None:
    """A plateau, as outside the support of an SVM, between the start and the slope."""

    def objective(x: Float64) -> tuple[float, Float64]:
        beyond = float(x.sum()) - 1.0
        return max(beyond, 0.0), np.full_like(x, float(beyond > 0))

    start = np.zeros((1, 4))
    points, history = ascend(Known(objective), start, box(start), 1.0, 40, 0.2)
    assert history[0] == history[1] == 0
    assert np.all(np.diff(history) >= 0)
    np.testing.assert_allclose(points, 1)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", np.inf)])
def test_a_distance_from_the_start_is_kept(norm: str, order: float) -> None:
    start = np.full((2, 6), 0.5)
    feasible = box(start, norm=norm, eps=0.2)
    objective = Known(lambda x: (float(x.sum()), np.ones_like(x)))
    points, _ = ascend(objective, start, feasible, 1.0, 30, 0.1)
    assert (objective.gradients, objective.losses) == (30, 1)  # the last point needs no gradient
    lengths = np.linalg.norm(points - start, ord=order, axis=1)
    np.testing.assert_allclose(lengths, 0.2, rtol=1e-5)


def test_components_against_the_box_do_not_shorten_the_step() -> None:
    points = np.array([[0.0, 0.5, 1.0]])
    heading, gradient = np.zeros_like(points), np.array([[-30.0, 0.1, 5.0]])
    moved = box(points).step(points, gradient, 0.5, np.array([0.25]), heading)
    np.testing.assert_allclose(heading, [[0.0, 1.0, 0.0]], rtol=1e-15)
    np.testing.assert_array_equal(moved, [[0.0, 0.75, 1.0]])


@pytest.mark.parametrize(
    "text", ["points=3,steps=8", "points=3,steps=4,passes=2", "points=2,steps=6,norm=linf,eps=0.1"]
)
def test_the_history_is_that_of_the_rows_that_are_returned(text: str) -> None:
    result = attack(f"biggio[{text}]")
    assert np.all(np.diff(result.history) >= 0)
    assert result.history[-1] > result.history[0]
    loss, _ = perceptron().poison_gradient(result.X, result.y, result.index, X_VAL, Y_VAL)
    assert loss == pytest.approx(result.history[-1], rel=1e-12)


def test_an_error_specific_attack_lowers_the_loss_towards_its_labels() -> None:
    result = attack("biggio[points=6,steps=8,objective=2-0]")
    assert set(result.y[result.index]) == {0}
    assert np.all(np.diff(result.history) <= 0)
    assert result.history[-1] < result.history[0]
    wanted = np.where(Y_VAL == 2, 0, Y_VAL)
    loss, _ = perceptron().poison_gradient(result.X, result.y, result.index, X_VAL, wanted)
    assert loss == pytest.approx(result.history[-1], rel=1e-12)


def test_labels_are_those_asked_for() -> None:
    assert set(attack("biggio[points=4,steps=1,labels=1]").y[60:]) == {1}
    wrong = attack("biggio[points=9,steps=1,labels=random,restarts=1,step_size=0.0001]")
    nearest = np.abs(wrong.X[60:, None] - X[None]).sum(axis=2).argmin(axis=1)
    assert np.all(wrong.y[60:] != Y[nearest])
    assert len(set(wrong.y[60:])) > 1


def test_the_worst_labels_do_at_least_as_much_harm_as_each_class() -> None:
    harm = {
        labels: attack(f"biggio[points=3,steps=3,labels={labels},restarts={restarts}]").history[-1]
        for labels, restarts in (("worst", 4), ("0", 1), ("1", 1), ("2", 1))
    }
    assert harm["worst"] >= max(harm.values())


def test_a_known_sanitizer_is_obeyed() -> None:
    class Dim:
        """A sanitizer that takes no pixel above 0.6, and is its own region."""

        trusted = False

        def sanitize(self, X: Floats, y: Labels, *, task: Task, seed: int) -> tuple[Mask, Labels]:
            return self.accepts(X, y), y

        def region(self, X: Floats, y: Labels, *, task: Task) -> Dim:
            return self

        def accepts(self, X: Floats, y: Labels) -> Mask:
            dim: Mask = X.max(axis=1) <= np.float32(0.6)
            return dim

        def project(self, X: Floats, y: Labels) -> Floats:
            return np.minimum(X, 0.6)

    result = make_attack("biggio[points=3,steps=4]").poison(
        perceptron(), X, Y, X_VAL, Y_VAL, task=TASK, defense=Dim()
    )
    assert result.X[result.index].max() <= np.float32(0.6)


def test_a_large_training_set_is_attacked_on_subsets() -> None:
    before = X.copy()
    result = attack("biggio[points=5,subset_size=20,steps=3,regions=2]")
    np.testing.assert_array_equal(X, before)
    assert result.details["kept"] in ("moved", "start")
    assert " as " in result.details["region"]
    assert len(result.history) == 4
    specific = attack("biggio[points=5,subset_size=20,steps=1,objective=2-1]")
    assert specific.details["region"].startswith("2 as 1")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("labels=most", "labels has to be a whole number or one of worst, random"),
        ("objective=8", "two classes such as 8-3"),
        ("objective=3-3", "two classes such as 8-3"),
        ("eps=0", "eps has to be above 0"),
        ("steps=0", "steps has to be at least 1"),
        ("norm=l1", "norm has to be one of l2, linf"),
    ],
)
def test_bad_parameters(parameters: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_attack(f"biggio[{parameters}]")


@pytest.mark.parametrize("parameters", ["labels=7", "objective=7-1", "objective=1-7"])
def test_classes_that_are_not_there(parameters: str) -> None:
    with pytest.raises(InputError, match="no"):
        attack(f"biggio[points=1,{parameters}]")


def test_a_model_without_a_derivative_of_training_is_refused() -> None:
    class Counts:
        """Nothing that training could be differentiated through."""

    with pytest.raises(InputError, match="biggio needs a model with poison_objective"):
        make_attack("biggio[points=1]").poison(Counts(), X, Y, X_VAL, Y_VAL, task=TASK)


@pytest.mark.compiled
def test_six_points_raise_a_small_perceptrons_error_far_beyond_flips() -> None:
    """1 against 7, 10 tanh units, 100 training and 400 validation images, 200 full-batch steps."""
    ds = load_dataset("mnist[classes=1-7,train=100,val=400]")
    model = MLPClassifier(
        (10,), "tanh", batch_size=100_000, learning_rate_init=0.1, momentum=0.0, max_iter=200
    )
    errors = {}
    for text in ("label_flip[points=6]", "biggio[points=6,steps=20,step_size=0.5]"):
        result = make_attack(text).poison(
            model, ds.x_train, ds.y_train, ds.x_val, ds.y_val, task=ds.task
        )
        errors[text[:6]] = 1 - model.fit(result.X, result.y).score(ds.x_test, ds.y_test)
    assert errors["biggio"] >= 2 * errors["label_"]
