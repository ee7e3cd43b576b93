"""Models from outside: gradients that are zero or mislead are warned of, shapes are checked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import GradientWarning, InputError, MLPClassifier, make_attack, make_defense
from fastadv.attacks.evasion import probe

X, Y = blobs(90)


class Own:
    """A model of someone's own: logits and a gradient, of which ``change`` makes another."""

    def __init__(
        self, model: MLPClassifier, change: Callable[[np.ndarray], Any] = lambda g: g
    ) -> None:
        self._inside, self._change = model, change
        self.asked = 0

    def logits(self, x: np.ndarray) -> np.ndarray:
        self.asked += len(x)
        return self._inside.vjp(x)[0]

    def input_gradient(self, x: np.ndarray, dlogits: np.ndarray) -> Any:
        return self._change(self._inside.vjp(x)[1](dlogits))


@pytest.fixture(scope="module")
def model() -> MLPClassifier:
    return small_mlp(12).fit(X, Y)


GRADIENT = [
    "fgsm",
    "pgd[steps=5]",
    "apgd[steps=5]",
    "deepfool",
    "cw[steps=9,search_steps=2]",
    "stadv[steps=5]",
]


@pytest.mark.parametrize("text", GRADIENT)
def test_a_negated_gradient_is_warned_of_in_one_line(text: str, model: MLPClassifier) -> None:
    with pytest.warns(GradientWarning) as caught:
        make_attack(text).perturb(Own(model, lambda g: -g), X, Y, task=TASK)
    (said,) = [str(warning.message) for warning in caught]
    assert "PGD leaves Own 100 %, more than plain grey: its gradients mislead" in said
    assert "a black-box attack such as square" in said
    assert "\n" not in said
    assert caught[0].filename == __file__


@pytest.mark.parametrize("text", GRADIENT)
@pytest.mark.parametrize("factor", [0.0, np.nan])
def test_a_gradient_of_nothing_is_warned_of(text: str, factor: float, model: MLPClassifier) -> None:
    with pytest.warns(GradientWarning, match="the loss of Own has no gradient at 16 of 16 images"):
        make_attack(text).perturb(Own(model, lambda g: factor * g), X, Y, task=TASK)


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 5), slice(0, None, 3), slice(0, 90)])
def test_of_few_images_and_of_one_class_too(rows: slice, model: MLPClassifier) -> None:
    x, y = X[rows], Y[rows]
    with pytest.warns(GradientWarning, match="mislead"):
        make_attack("fgsm").perturb(Own(model, lambda g: -g), x, y, task=TASK)


def test_an_honest_model_is_not_and_the_look_is_not_counted(model: MLPClassifier) -> None:
    own = Own(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in GRADIENT:
            found = make_attack(text).perturb(own, X, Y, task=TASK)
            wanted = make_attack(text).perturb(model, X, Y, task=TASK)
            np.testing.assert_array_equal(found.x_adv, wanted.x_adv)
            assert found.queries == wanted.queries
        for scaled in (lambda g: 1e-6 * g, lambda g: 1e6 * g):
            make_attack("fgsm").perturb(Own(model, scaled), X, Y, task=TASK)
        make_attack("fgsm").perturb(Own(model), X[:0], Y[:0], task=TASK)


def test_attacks_without_gradients_do_not_look(model: MLPClassifier) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in ("noise", "square[queries=5]", "spatial[method=random]"):
            make_attack(text).perturb(Own(model, lambda g: -g), X, Y, task=TASK)


def test_the_look_takes_a_few_images_and_passes(model: MLPClassifier) -> None:
    own = Own(model)
    own.classes_ = np.arange(3)  # type: ignore[attr-defined]
    probe.warn_of(own, X, Y, TASK)
    assert own.asked <= 16 * 24


def test_models_of_fastadv_are_tested_and_not_looked_at(
    model: MLPClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    monkeypatch.setattr(probe, "probe", lambda model, *_: looked.append(model) or probe.Probe(1))
    smooth = make_defense("smoothing[draws=8]").wrap(model, task=TASK)
    for ours in (model, make_defense("median").wrap(model, task=TASK), smooth):
        make_attack("fgsm").perturb(ours, X, Y, task=TASK)
    assert looked == []
    patched = small_mlp(12).fit(X, Y)
    patched.vjp = model.vjp  # type: ignore[method-assign]

    class Derived(MLPClassifier):
        pass

    derived = Derived((6,), max_iter=2).fit(X, Y)
    for theirs in (
        Own(model), make_defense("median").wrap(derived, task=TASK), derived, patched,
    ):  # fmt: skip
        make_attack("fgsm").perturb(theirs, X, Y, task=TASK)
    assert len(looked) == 4


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (lambda g: g.sum(axis=0), r"\(20,\)"), (lambda g: g.reshape(-1, 5, 4), r"\(16, 5, 4\)"),
        (lambda g: g[:1], r"\(1, 20\)"), (lambda g: g.tolist()[0], r"\(20,\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", GRADIENT)
def test_a_gradient_of_another_shape_is_refused(
    text: str, change: Callable[[np.ndarray], Any], shape: str, model: MLPClassifier
) -> None:
    with pytest.raises(InputError, match=f"input gradient has shape {shape}, its images"):
        make_attack(text).perturb(Own(model, change), X, Y, task=TASK)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, list])
def test_logits_of_another_kind(kind: Any, model: MLPClassifier) -> None:
    def turned(logits: np.ndarray) -> Any:
        if kind is list:
            return logits.tolist()
        return np.rint(logits * 100).astype(kind) if kind is np.int64 else logits.astype(kind)

    class Turned(Own):
        def logits(self, x: np.ndarray) -> Any:
            return turned(super().logits(x))

    for text in ("pgd[steps=9]", "apgd[loss=dlr,steps=9]", "square[queries=30]"):
        usual = make_attack(text).perturb(model, X, Y, task=TASK).success.mean()
        assert (
            abs(make_attack(text).perturb(Turned(model), X, Y, task=TASK).success.mean() - usual)
            < 0.05
        )


def test_logits_that_are_no_numbers(model: MLPClassifier) -> None:
    class Lost(Own):
        def logits(self, x: np.ndarray) -> np.ndarray:
            return super().logits(x) * np.nan

    for text in ("fgsm", "square"):
        with pytest.raises(InputError, match="the model's logits are NaN"):
            make_attack(text).perturb(Lost(model), X, Y, task=TASK)
