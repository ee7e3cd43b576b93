"""Attacks against problems whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import InputError, MLPClassifier, load_dataset, make_attack
from fastadv.task import Task

X, Y = blobs()


def linear() -> MLPClassifier:
    """A linear model whose boundary runs through the middle of [0.3, 0.7]^20."""
    w = np.random.default_rng(0).normal(size=(20, 2))
    return MLPClassifier.from_weights([w], [-0.5 * w.sum(axis=0)])


TWO = Task(image_shape=(5, 4, 1), n_classes=2)


@pytest.mark.parametrize("text", ["fgsm[eps=0.03]", "pgd[eps=0.03,steps=20]"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_optimum_on_a_linear_model(text: str, norm: str) -> None:
    model, x = linear(), 0.3 + 0.4 * np.random.default_rng(1).random((40, 20)).astype(np.float32)
    y = model.predict(x)
    w = model.coefs_[0]
    difference = np.where(y[:, None] == 0, w[:, 1] - w[:, 0], w[:, 0] - w[:, 1])
    if norm == "linf":
        best = 0.03 * np.abs(difference).sum(axis=1)
    else:
        best = 0.03 * np.linalg.norm(difference, axis=1)
    logits = model.logits(x)
    margin = np.abs(logits[:, 0] - logits[:, 1])
    result = make_attack(text[:-1] + f",norm={norm}]").perturb(model, x, y, task=TWO)
    # inside the box everywhere, the ball decides: success exactly where the optimum crosses 0
    clear = np.abs(best - margin) > 1e-4
    np.testing.assert_array_equal(result.success[clear], (best > margin)[clear])
    assert result.success.any()
    assert not result.success.all()


def test_targets() -> None:
    model = small_mlp(6).fit(X, Y)
    target = (Y + 1) % 3
    for text in ("pgd[eps=0.4]", "stadv[steps=60]"):
        result = make_attack(text).perturb(model, X, Y, task=TASK, target=target)
        assert result.is_adv.any()
        np.testing.assert_array_equal(
            model.predict(result.x_adv[result.is_adv]), target[result.is_adv]
        )
    for rule in ("random", "runner_up", "1"):
        result = make_attack(f"stadv[steps=60,target={rule}]").perturb(model, X, Y, task=TASK)
        assert result.is_adv.any()
        labels = model.predict(result.x_adv[result.is_adv])
        assert np.all(labels != Y[result.is_adv])
        if rule == "1":
            assert np.all(labels[Y[result.is_adv] != 1] == 1)


@pytest.mark.slow
@pytest.mark.compiled
def test_strength_on_mnist() -> None:
    """Each attack as strong as its kind should be; the figures are for 300 images, seed 0."""
    ds = load_dataset("mnist")
    model = MLPClassifier().fit(ds.x_train, ds.y_train)
    x, y = ds.x_test[:300], ds.y_test[:300]

    def attacked(text: str) -> tuple[float, float]:
        attack = make_attack(text)
        result = attack.perturb(model, x, y, task=ds.task)
        needed = np.median(result.distances[attack.threat().distance][result.is_adv])
        return result.robust_accuracy(), float(needed)

    fgsm, pgd, apgd, square, strongest = (
        attacked(text)[0] for text in ("fgsm", "pgd", "apgd", "square", "apgd[loss=dlr,targets=9]")
    )
    assert strongest <= apgd <= pgd < fgsm < 0.5
    assert strongest <= square <= pgd + 0.05
    (cw, cw_needs), (deepfool, deepfool_needs), (l2, _) = (
        attacked(text) for text in ("cw", "deepfool", "apgd[norm=l2,eps=1]")
    )
    assert l2 <= cw + 0.02
    assert cw <= deepfool <= cw + 0.08
    assert cw_needs < deepfool_needs < 1.06 * cw_needs < 1.2


@pytest.mark.compiled
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_that_stops_at_success_breaks_the_same_images(norm: str, targeted: bool) -> None:
    model = small_mlp(12).fit(X, Y)
    spec = f"pgd[eps={0.12 if norm == 'linf' else 0.25},norm={norm},steps=10,restarts=2,keep=%s]"
    target = (Y + 1) % TASK.n_classes if targeted else None
    best, first = (
        make_attack(spec % keep).perturb(model, X, Y, task=TASK, target=target)
        for keep in ("best", "first")
    )
    assert 0 < best.success.mean() < 1
    np.testing.assert_array_equal(first.success, best.success)
    assert first.queries["backward"] < best.queries["backward"]
    alone = make_attack(spec % "first").perturb(
        model, X[3:4], Y[3:4], task=TASK, target=None if target is None else target[3:4]
    )
    np.testing.assert_array_equal(alone.x_adv[0], first.x_adv[3])


class OnlyLogitsAndPullback:
    """The least that a user's own model has to have: it does not even name its classes."""

    classes_: np.ndarray

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def vjp(self, x: np.ndarray):
        return (x - np.float32(0.5)) @ self.weights, lambda dlogits: dlogits @ self.weights.T


@pytest.mark.parametrize(
    "text",
    ["pgd[eps=0.5]", "apgd[eps=0.5]", "square[eps=0.5,queries=50]", "deepfool", "cw", "stadv"],
)
def test_a_model_of_ones_own_needs_only_vjp(text: str) -> None:
    own = OnlyLogitsAndPullback(np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32))
    y = own.vjp(X)[0].argmax(axis=1)
    unnamed = make_attack(text).perturb(own, X, y, task=TWO)  # type: ignore[arg-type]
    own.classes_ = np.arange(2)
    named = make_attack(text).perturb(own, X, y, task=TWO)  # type: ignore[arg-type]
    np.testing.assert_array_equal(unnamed.x_adv, named.x_adv)
    assert unnamed.is_adv.any()


def test_what_a_model_lacks_is_said() -> None:
    with pytest.raises(InputError, match="MLPClassifier is not trained: call its fit first"):
        make_attack("pgd").perturb(MLPClassifier(), X, Y, task=TASK)
    with pytest.raises(InputError, match=r"square needs the model's logits \(vjp or logits\)"):
        make_attack("square").perturb(object(), X, Y, task=TASK)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="n_classes has to be at least 2, got 1"):
        Task(image_shape=(5, 4, 1), n_classes=1)


@pytest.mark.parametrize(
    "text", ["deepfool[budget=0.85]", "cw[budget=0.85,steps=30]", "stadv[budget=15]"]
)
def test_success_is_within_the_attacks_own_budget(text: str) -> None:
    """An image that takes more is adversarial and no success; one that was wrong is neither."""
    model = small_mlp(6).fit(X, Y)
    y = Y.copy()
    y[:9] = (model.predict(X[:9]) + 1) % 3  # wrong before any attack
    attack = make_attack(text)
    result, threat = attack.perturb(model, X, y, task=TASK), attack.threat()
    distance = result.distances[threat.distance]
    beyond = result.is_adv & (distance > threat.reach)
    assert beyond.any()
    np.testing.assert_array_equal(result.success, result.is_adv & ~beyond)
    assert result.success.any()
    assert np.all(model.predict(result.x_adv[beyond]) != y[beyond])  # x_adv, at any distance
    assert result.misclassified[:9].all()
    assert not result.is_adv[:9].any()
    right = ~result.misclassified
    assert result.success_rate() == result.success[right].mean() < result.is_adv[right].mean()
    assert result.robust_accuracy() == np.mean(right & ~result.success)


def test_what_a_user_names_is_typed_and_importable() -> None:
    import typing

    import fastadv
    from fastadv.grid.row import Row
    from fastadv.protocols import EvasionAttack, PoisoningAttack
    from fastadv.results import EvasionResult, PoisonResult

    assert fastadv.Row is Row
    assert (fastadv.EvasionResult, fastadv.PoisonResult) == (EvasionResult, PoisonResult)
    assert (fastadv.EvasionAttack, fastadv.PoisoningAttack) == (EvasionAttack, PoisoningAttack)
    names = {"EvasionAttack": EvasionAttack, "PoisoningAttack": PoisoningAttack}
    made = typing.get_type_hints(fastadv.make_attack, localns=names)["return"]
    assert made == EvasionAttack | PoisoningAttack
    assert isinstance(make_attack("pgd"), EvasionAttack)
    assert isinstance(make_attack("biggio"), PoisoningAttack)
    with pytest.raises(InputError, match="not an attack"):
        make_attack("none")


@pytest.mark.compiled
def test_the_guides_example_prints_the_attacks_rate_within_its_budget(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guide = (Path(__file__).parents[2] / "docs/guide/python.md").read_text()
    code = guide.partition("```python\n")[2].partition("```")[0].partition("rows = ")[0]
    told: dict[str, Any] = {}
    exec(code.replace('"mnist"', '"mnist[train=2000,val=100]"'), told)
    rate, accuracy, median = map(float, capsys.readouterr().out.split())
    result, right = told["result"], ~told["result"].misclassified
    loss = result.distances["flow_loss"]
    assert 0.3 < rate == np.mean((result.is_adv & (loss <= 20 * (1 + 1e-5)))[right])
    assert accuracy == pytest.approx(right.mean() * (1 - rate))
    assert median == np.median(loss[result.success]) < 20
