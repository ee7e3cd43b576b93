"""Functions, and models that keep the protocols themselves: wrapped, declared, looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import InputError, MLPClassifier, capabilities, make_attack, wrap
from fastadv.models.adapters.identity import identity
from fastadv.protocols import Classifier, Layered, Model

X, Y = blobs(60)
W = np.random.default_rng(7).normal(size=(20, 3))
PERCEPTRON = small_mlp(8).fit(X, Y)
SHAPE = (5, 4)

Vjp = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]


def linear(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.tanh(x) @ W)


def linear_vjp(x: np.ndarray) -> Vjp:
    return linear(x), lambda d: (d @ W.T) * (1 - np.tanh(x) ** 2)


def linear_gradient(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    return linear_vjp(x)[1](d)


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def softmax_vjp(x: np.ndarray) -> Vjp:
    logits, pull = linear_vjp(x)
    p = softmax(logits)
    return p, lambda d: pull(p * (d - (p * d).sum(axis=1, keepdims=True)))


def test_a_function_keeps_the_protocols_that_it_comes_with() -> None:
    alone = wrap(logits=linear, name="linear", image_shape=SHAPE)
    assert capabilities.able(alone, Classifier)
    assert not capabilities.differentiable(alone)
    by_vjp = wrap(logits=linear, vjp=linear_vjp, name="linear", image_shape=SHAPE)
    by_gradient = wrap(logits=linear, input_gradient=linear_gradient, image_shape=SHAPE)
    attacked = []
    for model in (by_vjp, by_gradient):
        assert capabilities.able(model, Model)
        assert model.classes_.tolist() == [0, 1, 2]
        attacked.append(
            make_attack("pgd[eps=0.5,steps=3,step_size=0.3]").perturb(
                model, X, model.predict(X), task=TASK
            )
        )
    np.testing.assert_array_equal(attacked[0].x_adv, attacked[1].x_adv)
    assert attacked[0].success.any()


def test_a_function_is_known_by_its_name() -> None:
    def made(**told: Any) -> Any:
        return wrap(logits=linear, image_shape=SHAPE, **told).given

    assert made(name="a").identity == made(name="a").identity
    assert made(name="a").identity != made(name="b").identity
    assert made(name="a").identity != made(name="a", mean=0.5).identity
    assert made(name="a").kept
    assert not made().kept
    assert made().identity != made().identity


def test_probabilities_become_logits_inside_the_gradient() -> None:
    model = wrap(logits=lambda x: softmax_vjp(x)[0], vjp=softmax_vjp, probabilities=True, image_shape=SHAPE)  # fmt: skip
    logits, pullback = model.vjp(X)
    plain = linear(X)
    np.testing.assert_allclose(logits, plain - np.log(np.exp(plain).sum(axis=1, keepdims=True)))
    slopes = np.random.default_rng(0).normal(size=logits.shape)
    expected = linear_gradient(X, slopes - softmax(plain) * slopes.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(pullback(slopes), expected, atol=1e-6)
    with pytest.raises(InputError, match="no probabilities"):
        wrap(logits=linear, probabilities=True, image_shape=SHAPE)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_output_is_that_of_the_second_class(shape: tuple[int, ...]) -> None:
    def margin(x: np.ndarray) -> np.ndarray:
        return linear(x)[:, 0].reshape(shape)

    def margin_vjp(x: np.ndarray) -> Vjp:
        return margin(x), lambda d: linear_gradient(x, np.pad(d.reshape(-1, 1), ((0, 0), (0, 2))))

    model = wrap(logits=margin, vjp=margin_vjp, classes=["no", "yes"], image_shape=SHAPE)
    z = linear(X)[:, 0]
    np.testing.assert_array_equal(model.logits(X), np.stack([np.zeros_like(z), z], axis=1))
    assert model.predict(X).tolist() == np.where(z > 0, "yes", "no").tolist()

    def chance(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-margin(x)))

    def chance_vjp(x: np.ndarray) -> Vjp:
        p = chance(x)
        return p, lambda d: margin_vjp(x)[1](d * p * (1 - p))

    sure = wrap(logits=chance, vjp=chance_vjp, probabilities=True, image_shape=SHAPE)
    np.testing.assert_allclose(sure.logits(X) @ [-1, 1], z, rtol=1e-6)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last", "rows"])
def test_images_come_in_the_declared_form(layout: Any) -> None:
    shape = (5, 2, 2)
    seen = []

    def logits(images: np.ndarray) -> np.ndarray:
        seen.append(images.shape[1:])
        if images.ndim == 4 and layout == "channels_first":
            images = images.transpose(0, 2, 3, 1)
        return linear(images.reshape(len(images), -1))

    def gradient(images: np.ndarray, d: np.ndarray) -> np.ndarray:
        first = images.ndim == 4 and layout == "channels_first"
        x = (images.transpose(0, 2, 3, 1) if first else images).reshape(len(images), -1)
        out = linear_gradient(x, d)
        return out.reshape(-1, *shape).transpose(0, 3, 1, 2) if first else out.reshape(images.shape)

    model = wrap(
        logits=logits, input_gradient=gradient, image_shape=shape, layout=layout, std=[2.0, 4.0]
    )
    x = X / np.tile([2.0, 4.0], 10).astype(np.float32)
    np.testing.assert_allclose(model.logits(X), linear(x), rtol=1e-5)
    assert set(seen) == {
        {"channels_first": (2, 5, 2), "channels_last": shape, "rows": (20,)}[layout]
    }


# -- trust ----------------------------------------------------------------------------------


def noisy(x: np.ndarray) -> np.ndarray:
    return linear(x) + np.random.default_rng().normal(size=(len(x), 3))


def beside(x: np.ndarray) -> np.ndarray:
    return linear(x - x.mean(axis=0))


def wrong(x: np.ndarray) -> Vjp:
    return linear(x), lambda d: 1.2 * (d @ W.T) * (1 - np.tanh(x) ** 2)


def turned(x: np.ndarray) -> Vjp:
    return linear(x), lambda d: linear_gradient(x, d)[:, ::-1]


def failing(_: np.ndarray) -> np.ndarray:
    raise RuntimeError("mat1 and mat2\nshapes cannot be multiplied")


@pytest.mark.parametrize(
    ("logits", "vjp", "line"),
    [
        (noisy, None, "answers differently for the same image: is dropout on"),
        (beside, None, "hangs on the images beside it: is a batch normalisation"),
        (linear, wrong, "the gradient of f is not that of its logits"),
        (linear, turned, "the gradient of f is not that of its logits"),
        (linear, lambda x: (linear(x), lambda _: 0 * x), "is not that of its logits"),
        (linear, lambda x: (linear(x), lambda d: d), "the gradient of f has shape"),
        (linear, lambda x: (linear(x), lambda d: failing(d)), "the gradient of f fails"),
        (lambda x: linear(x) * np.nan, None, "returns NaN or infinity"),
        (lambda x: linear(x)[:-1], None, "the model returns shape"),
        (lambda _: "yes", None, "not an array of logits|the model returns"),
        (lambda x: linear(x)[:, :1] > 0, None, None),
        (failing, None, r"does not take images as rows of 20 numbers, .*RuntimeError: mat1"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(logits: Any, vjp: Any, line: str | None) -> None:
    for images in (None, X):
        if line is None:
            wrap(logits=logits, vjp=vjp, name="f", image_shape=SHAPE, images=images)
            continue
        with pytest.raises(InputError, match=line) as caught:
            wrap(logits=logits, vjp=vjp, name="f", image_shape=SHAPE, images=images)
        assert "\n" not in str(caught.value)


def test_a_saturated_model_is_not_taken_for_a_wrong_one() -> None:
    def steep(x: np.ndarray) -> np.ndarray:
        return np.asarray(30 * np.tanh(40 * (x @ W))).astype(np.float32)

    def steep_vjp(x: np.ndarray) -> Vjp:
        return steep(x), lambda d: (d * 1200 * (1 - np.tanh(40 * (x @ W)) ** 2)) @ W.T

    wrap(logits=steep, vjp=steep_vjp, image_shape=SHAPE)


def test_without_a_size_nothing_is_looked_at() -> None:
    model = wrap(logits=noisy)
    assert model.given.n_features is None


# -- models of our own kind ----------------------------------------------------------------


def test_our_own_model_stays_what_it_is() -> None:
    model = wrap(PERCEPTRON)
    assert isinstance(model, MLPClassifier)
    assert model is not PERCEPTRON
    assert model.given.how == "taken over"
    np.testing.assert_array_equal(model.logits(X), PERCEPTRON.logits(X))
    assert wrap(PERCEPTRON).given.identity == model.given.identity
    model.vjp(X)  # what is packed for speed is no part of it
    assert wrap(model) is model
    assert wrap(small_mlp(7).fit(X, Y)).given.identity != model.given.identity
    with pytest.raises(InputError, match="it is wrapped already"):
        wrap(model, mean=0.5)
    with pytest.raises(InputError, match="MLPClassifier is not trained"):
        wrap(small_mlp())


def test_our_own_model_behind_what_is_declared() -> None:
    model = wrap(PERCEPTRON, mean=0.25, std=0.5)
    assert not capabilities.able(model, Layered)
    np.testing.assert_allclose(model.logits(X), PERCEPTRON.logits((X - 0.25) / 0.5), rtol=1e-5)
    assert model.given.why_not


class ByGradient:
    """What an attack takes, and no more."""

    def logits(self, x: np.ndarray) -> np.ndarray:
        return linear(x)

    def input_gradient(self, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        return linear_gradient(x, d)


def test_what_has_logits_is_taken_by_them() -> None:
    model = wrap(ByGradient(), image_shape=SHAPE, name="mine")
    assert capabilities.able(model, Model)
    assert model.given.how == "its own gradient"
    np.testing.assert_array_equal(model.logits(X), linear(X))


def test_a_hash_is_of_what_there_is() -> None:
    nested = {"b": [1, 2.0, None], "a": np.arange(3), "f": linear, "s": {"x", "y"}}
    assert identity(nested) == identity(dict(reversed(list(nested.items()))))
    others = [
        1,
        1.0,
        True,
        "1",
        b"1",
        [1],
        (1, 2),
        {"a": 1},
        {"a": 2},
        np.arange(3),
        np.arange(3.0),
    ]
    assert len({identity(other) for other in others}) == len(others)
    circle: list[Any] = [1]
    circle.append(circle)
    assert identity(circle) == identity(circle)
