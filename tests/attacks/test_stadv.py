"""stAdv: its options, its shapes, and what it reaches."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import attack_in_any_batch
from scipy import ndimage

from fastadv import MLPClassifier, load_dataset, make_attack
from fastadv.attacks.evasion.flow_problem import FlowProblem
from fastadv.errors import InputError
from fastadv.kernels.images import flow as kernels
from fastadv.task import Task

TASK = Task(image_shape=(6, 8, 1), n_classes=3)


def dots(n: int = 60, task: Task = TASK) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that differ in where a soft dot sits: near, midway, or far along the rows."""
    height, width, channels = task.image_shape
    rng, y = np.random.default_rng(0), np.arange(n) % 3
    long = max(height, width)
    centre = (long - 1) * (0.25 + 0.25 * y) + rng.normal(0, 0.03 * long, n)
    i, j = np.mgrid[:height, :width]
    along, across = (j, i) if width >= height else (i, j)
    square = (along - centre[:, None, None]) ** 2 + (across - (min(height, width) - 1) / 2) ** 2
    images = np.where(square < 5, np.exp(-square / 3), 0)
    return np.repeat(images.reshape(n, -1), channels, axis=1).astype(np.float32), y


X, Y = dots()


@pytest.fixture(scope="module")
def model() -> MLPClassifier:
    return MLPClassifier((8,), batch_size=16, max_iter=12).fit(X, Y)


EVERY_KIND = [
    "stadv", "stadv[steps=12]", "stadv[translation=true]", "stadv[kappa=0.3]", "stadv[tau=0.02,search=true]",
    "stadv[tau=0.02]", "stadv[tau=0.02,neighbors=diagonal]", "stadv[max_shift=0.7]",
    "stadv[target=easiest,steps=15]", "stadv[tau=0.02,kappa=0,search=false,keep=last]",
]  # fmt: skip


@pytest.mark.parametrize("text", EVERY_KIND)
def test_every_kind_returns_what_its_flow_says(text: str, model: MLPClassifier) -> None:
    result = make_attack(text).perturb(model, X, Y, task=TASK)
    won = result.is_adv
    assert won.any()
    flow = np.ascontiguousarray(result.details["flow"][won])
    out, losses = np.empty_like(X[won]), np.empty(won.sum())
    kernels.warp(X[won], flow, 1, out)
    kernels.flow_loss(flow, losses)
    np.testing.assert_array_equal(out, result.x_adv[won])
    np.testing.assert_array_equal(losses, result.distances["flow_loss"][won])
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize("rule", ["random", "easiest", "3"])
def test_targets_are_among_the_classes_that_the_model_knows(rule: str) -> None:
    task, y = Task(image_shape=TASK.image_shape, n_classes=4), np.array([0, 2, 3])[Y]
    model = MLPClassifier((8,), batch_size=16, max_iter=12).fit(X, y)
    result = make_attack(f"stadv[target={rule}]").perturb(model, X, y, task=task)
    assert result.is_adv.mean() > 0.8
    if rule == "3":
        aimed = result.is_adv & (y != 3)
        assert np.all(model.predict(result.x_adv[aimed]) == 3)
        with pytest.raises(InputError, match="the label 1 is not among"):
            make_attack("stadv[target=1]").perturb(model, X, y, task=task)


@pytest.mark.compiled
@pytest.mark.parametrize("text", EVERY_KIND)
def test_every_kind_has_the_same_bytes_in_any_batch(
    text: str, model: MLPClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack_in_any_batch(make_attack(text), model, X, Y, TASK, monkeypatch)


@pytest.mark.parametrize("shape", [(6, 8, 1), (7, 5, 3), (1, 9, 1), (9, 1, 2)])
def test_any_image_shape(shape: tuple[int, int, int]) -> None:
    task = Task(image_shape=shape, n_classes=3)
    x, y = dots(30, task)
    model = MLPClassifier((8,), batch_size=16, max_iter=20).fit(x, y)
    for text in ("stadv", "stadv[tau=0.01]", "stadv[max_shift=1]"):
        result = make_attack(text).perturb(model, x, y, task=task)
        assert result.is_adv.any(), text
        assert result.details["flow"].shape == (30, 2, *shape[:2])


def test_two_numbers_are_an_image_of_one_channel() -> None:
    flat = Task(image_shape=(6, 8), n_classes=3)  # type: ignore[arg-type]
    assert flat == TASK
    with pytest.raises(InputError, match="image_shape"):
        Task(image_shape=(5,), n_classes=3)  # type: ignore[arg-type]


class WithoutVJP:
    """A model of logits and an input gradient, in float64, that inherits from nothing."""

    def __init__(self, inner: MLPClassifier) -> None:
        self.inner, self.classes_ = inner, inner.classes_

    def logits(self, x: np.ndarray) -> np.ndarray:
        return self.inner.vjp(x)[0].astype(np.float64)

    def input_gradient(self, x: np.ndarray, dlogits: np.ndarray) -> np.ndarray:
        return self.inner.vjp(x)[1](dlogits).astype(np.float64)


def test_logits_and_input_gradient_are_enough(model: MLPClassifier) -> None:
    for text in ("stadv", "stadv[target=runner_up]", "stadv[tau=0.02]", "stadv[max_shift=0.5]"):
        expected = make_attack(text).perturb(model, X[:12], Y[:12], task=TASK)
        found = make_attack(text).perturb(WithoutVJP(model), X[:12], Y[:12], task=TASK)
        np.testing.assert_array_equal(found.is_adv, expected.is_adv)
        np.testing.assert_array_equal(found.success, expected.success)
        assert found.queries == expected.queries


def test_the_bound_holds_and_more_room_does_more(model: MLPClassifier) -> None:
    won = []
    for bound in (0.0, 0.2, 0.6, 2.0):
        attack = make_attack(f"stadv[max_shift={bound},steps=8]")
        result = attack.perturb(model, X, Y, task=TASK)
        assert np.abs(result.details["flow"]).max() <= np.float32(bound)
        assert str(attack.threat()) == f"shift({bound:g})"
        won.append(result.is_adv.sum())
    assert won == sorted(won)
    assert won[0] == 0 < won[-1]


def test_a_translation_is_held_where_it_is_not_wanted(model: MLPClassifier) -> None:
    free = make_attack("stadv[translation=true]").perturb(model, X, Y, task=TASK)
    held = make_attack("stadv").perturb(model, X, Y, task=TASK)
    assert held.distances["translation"].max() <= 1e-4
    both = free.is_adv & held.is_adv
    assert np.median(free.distances["flow_loss"][both]) < np.median(
        held.distances["flow_loss"][both]
    )
    assert np.median(free.distances["translation"][both]) > 0.1


def test_confidence_is_kept(model: MLPClassifier) -> None:
    x = make_attack("stadv[kappa=0.5]").perturb(model, X, Y, task=TASK)
    plain = make_attack("stadv").perturb(model, X, Y, task=TASK)
    logits = model.logits(x.x_adv).astype(float)
    own = logits[np.arange(len(Y)), Y]
    logits[np.arange(len(Y)), Y] = -np.inf
    lead = (logits.max(axis=1) - own)[x.is_adv]
    assert np.mean(lead >= 0.5 - 1e-6) > 0.8
    assert np.median(x.distances["flow_loss"]) > np.median(plain.distances["flow_loss"])


@pytest.mark.compiled
def test_the_easiest_class_needs_no_more_flow_than_another(model: MLPClassifier) -> None:
    easiest = make_attack("stadv[target=easiest]").perturb(model, X, Y, task=TASK)
    for rule in ("random", "runner_up", "2"):
        other = make_attack(f"stadv[target={rule}]").perturb(model, X, Y, task=TASK)
        both = easiest.is_adv & other.is_adv
        a, b = (r.distances["flow_loss"][both] for r in (easiest, other))
        assert np.all(a <= b * (1 + 1e-6) + 1e-6)


def test_what_is_wrong_already_costs_one_evaluation(model: MLPClassifier) -> None:
    wrong = (model.predict(X) + 1) % 3
    result = make_attack("stadv").perturb(model, X, wrong, task=TASK)
    assert result.queries == {"forward": 1.0, "backward": 0.0}
    np.testing.assert_array_equal(result.x_adv, X)


def test_the_whole_objective_against_central_differences() -> None:
    """max(margin, -kappa) + tau L_flow through warp and model, in float64, away from kinks."""
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(48, 5)), rng.normal(size=(5, 3))
    x = rng.random((1, 48))

    class Exact:
        classes_ = np.arange(3)

        def vjp(self, x: np.ndarray) -> tuple[np.ndarray, object]:
            hidden = np.tanh(x @ w1)
            return hidden @ w2, lambda d: ((d @ w2.T) * (1 - hidden**2)) @ w1.T

    f = rng.uniform(0.05, 0.45, (1, 2, 6, 8))
    f[0, 0, :, -1] *= -1  # inside the image
    f[0, 1, -1] *= -1
    y = Exact().vjp(x)[0].argmax(axis=1)

    def objective(f: np.ndarray, diagonal: bool) -> tuple[float, np.ndarray]:
        out, losses, dflow = np.empty_like(x), np.empty(1), np.empty_like(f)
        kernels.warp(x, f, 1, out)
        logits, pullback = Exact().vjp(out)
        rival = np.delete(np.arange(3), y)[np.delete(logits[0], y).argmax()]
        dlogits = np.zeros((1, 3))
        dlogits[0, y], dlogits[0, rival] = 1, -1
        kernels.warp_gradient(x, f, 1, pullback(dlogits), dflow)  # type: ignore[operator]
        kernels.add_pair_loss(f, np.array([0.05]), diagonal, losses, dflow)
        return float((logits * dlogits).sum() + 0.05 * losses[0]), dflow

    for diagonal in (False, True):
        _, dflow = objective(f, diagonal)
        numeric = np.empty_like(f)
        for k in np.ndindex(f.shape):
            up, down = f.copy(), f.copy()
            up[k] += 1e-6
            down[k] -= 1e-6
            numeric[k] = (objective(up, diagonal)[0] - objective(down, diagonal)[0]) / 2e-6
        assert np.abs(dflow - numeric).max() <= 1e-6 * np.abs(numeric).max()


def test_the_margin_and_its_gradient(model: MLPClassifier) -> None:
    target = (Y + 1) % 3
    for wanted in (None, target):
        problem = FlowProblem(model, X, Y, wanted, TASK, 0.0)
        rows = np.array([3, 5, 8])
        margins, gradient = problem.evaluate(X[rows], rows)
        logits = model.logits(X[rows]).astype(float)
        sign, anchor = (1, Y[rows]) if wanted is None else (-1, wanted[rows])
        own = logits[np.arange(3), anchor]
        logits[np.arange(3), anchor] = -np.inf
        np.testing.assert_allclose(margins, sign * (own - logits.max(axis=1)), rtol=1e-6)
        assert gradient(np.array([True, False, True])).shape == (2, TASK.n_features)


def test_the_warp_is_what_scipy_reads() -> None:
    x, flow = X[:3].copy(), np.random.default_rng(0).normal(0, 2, (3, 2, 6, 8)).astype(np.float32)
    x[:, ::2] = 0
    out = np.empty_like(x)
    kernels.warp(x, flow, 1, out)
    rows, columns = np.mgrid[:6, :8]
    for s in range(3):
        points = [rows + flow[s, 1].astype(float), columns + flow[s, 0].astype(float)]
        expected = ndimage.map_coordinates(x[s].reshape(6, 8), points, order=1, mode="nearest")
        np.testing.assert_allclose(out[s].reshape(6, 8), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stadv[search=false]", "search=false needs a tau"),
        ("stadv[tau=-1]", "tau has to be at least 0"),
        ("stadv[max_shift=-1]", "max_shift has to be at least 0"),
        ("stadv[max_shift=1,tau=0.1]", "max_shift bounds the flow itself"),
        ("stadv[neighbors=diagonal]", "neighbors=diagonal is for a fixed tau"),
        ("stadv[translation=true,tau=0.1]", "translation=true has no part"),
        ("stadv[translation=true,max_shift=1]", "translation=true has no part"),
        ("stadv[target=nearest]", "target"),
        ("stadv[keep=first]", "keep"),
    ],
)
def test_wrong_parameters_are_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make_attack(text)
    assert "\n" not in str(error.value)


def test_a_target_that_is_no_class_and_a_model_without_gradients(model: MLPClassifier) -> None:
    with pytest.raises(InputError, match="label 7 is not among the model's classes: 0 to 2"):
        make_attack("stadv[target=7]").perturb(model, X, Y, task=TASK)

    class Labels:
        classes_ = np.arange(3)

        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.zeros(len(x), dtype=int)

    with pytest.raises(InputError, match="needs the model's input gradient"):
        make_attack("stadv").perturb(Labels(), X, Y, task=TASK)


@pytest.mark.compiled
def test_on_mnist() -> None:
    """Success, and far less flow than Adam's 27 to 33 after 300 steps at a fixed tau."""
    ds = load_dataset("mnist")
    model = MLPClassifier().fit(ds.x_train, ds.y_train)
    for text, most in (
        ("stadv", 30.0), ("stadv[translation=true]", 6.0), ("stadv[target=random]", 55.0),
    ):  # fmt: skip
        result = make_attack(text).perturb(model, ds.x_test[:500], ds.y_test[:500], task=ds.task)
        assert result.is_adv.sum() >= 0.995 * (~result.misclassified).sum()
        assert np.median(result.distances["flow_loss"][result.is_adv]) <= most
