from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import blobs, small_mlp

from fastadv import MLPClassifier, load_dataset
from fastadv.errors import DivergenceError, InputError
from fastadv.kernels.network import loss
from fastadv.threads import set_threads

X, Y = blobs()


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:training has not settled")
@pytest.mark.filterwarnings("default")
def test_scikit_learn_contract() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(MLPClassifier())


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(5))
def test_accuracy_on_mnist(seed: int) -> None:
    ds = load_dataset("mnist")
    model = MLPClassifier(random_state=seed).fit(ds.x_train, ds.y_train)
    assert model.score(ds.x_test, ds.y_test) >= 0.978
    assert model.unsettled_ is None


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu"])
def test_input_gradient_is_that_of_the_logits(hidden: tuple[int, ...], activation: str) -> None:
    model = small_mlp(hidden_layer_sizes=hidden, activation=activation, learning_rate_init=0.1).fit(
        X, Y
    )
    x, direction = X[:3].astype(np.float64), np.random.default_rng(0).normal(size=(3, 3))
    coefs = [c.astype(np.float64) for c in model.coefs_]
    biases = [b.astype(np.float64) for b in model.intercepts_]
    phi = {
        "logistic": lambda a: 1 / (1 + np.exp(-a)),
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
    }

    def loss(x: np.ndarray) -> np.ndarray:
        for c, b in zip(coefs[:-1], biases[:-1], strict=True):
            x = phi[activation](x @ c + b)
        return ((x @ coefs[-1] + biases[-1]) * direction).sum(axis=1)

    gradient = model.input_gradient(X[:3], direction.astype(np.float32))
    for j in range(x.shape[1]):
        step = np.zeros_like(x)
        step[:, j] = 1e-5
        numeric = (loss(x + step) - loss(x - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, j], numeric, rtol=2e-4, atol=2e-5)


def test_same_bits_for_any_threads_and_any_batch() -> None:
    weights = []
    for n in (1, 2):
        set_threads(n)
        weights.append(small_mlp().fit(X, Y)._params.tobytes())
    assert weights[0] == weights[1]
    model = small_mlp().fit(X, Y)
    together = model.logits(X)
    for i in (0, 17, 59):
        np.testing.assert_array_equal(model.logits(X[i : i + 1])[0], together[i])


@pytest.mark.compiled
@pytest.mark.parametrize("hidden", [(), (10,), (16,), (25,), (128,), (130, 70)])
def test_same_bits_in_any_batch_of_any_width(hidden: tuple[int, ...]) -> None:
    """On both sides of OpenBLAS's limit of a small product, and where only whole batches pass it."""
    rng = np.random.default_rng(0)
    sizes = (784, *hidden, 10)
    model = MLPClassifier.from_weights(
        [rng.normal(size=shape, scale=0.1) for shape in pairwise(sizes)],
        [rng.normal(size=n) for n in sizes[1:]],
    )
    x, direction = (rng.random((400, d)).astype(np.float32) for d in (784, 10))
    together, pullback = model.vjp(x)
    gradient = pullback(direction)
    for start, stop in ((0, 1), (3, 66), (64, 128), (10, 138), (77, 300)):
        logits, pullback = model.vjp(x[start:stop])
        np.testing.assert_array_equal(logits, together[start:stop])
        np.testing.assert_array_equal(pullback(direction[start:stop]), gradient[start:stop])


@pytest.mark.parametrize("hidden", [(), (6, 5)])
def test_any_loss_trains_as_the_cross_entropy_does(hidden: tuple[int, ...]) -> None:
    def cross_entropy(
        model: MLPClassifier, x: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray
    ) -> float:
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(columns, Y[rows])
        logits, stored = model.network().forward(x)
        losses, dlogits = np.empty(len(x)), np.empty_like(logits)
        loss.cross_entropy(logits, columns, losses, dlogits)
        out[:] = model.network().backward(x, stored, dlogits)
        return float(losses.sum())

    settings = {"hidden_layer_sizes": hidden, "learning_rate_init": 0.1, "alpha": 0.02}
    usual, by_gradient = small_mlp(**settings).fit(X, Y), small_mlp(**settings)
    by_gradient.fit_gradient(X, Y, cross_entropy)
    for a, b in zip(by_gradient.coefs_, usual.coefs_, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    np.testing.assert_allclose(by_gradient.loss_curve_, usual.loss_curve_, rtol=1e-5)


def test_l2_penalty_shrinks_the_weights() -> None:
    norms = [np.abs(small_mlp(alpha=a).fit(X, Y).coefs_[0]).sum() for a in (0.0, 2.0)]
    assert norms[1] < 0.9 * norms[0]


def test_divergence_names_the_learning_rate() -> None:
    model = small_mlp(activation="relu", learning_rate_init=1e17, hidden_layer_sizes=(6, 6))
    with (
        pytest.raises(DivergenceError, match="lower learning_rate_init"),
        np.errstate(all="ignore"),
    ):
        model.fit(X * 100, Y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "sine"}, "one of logistic, tanh, relu"),
        ({"batch_size": 0}, "batch_size has to be at least 1"),
        ({"batch_size": 10.0}, "batch_size has to be a whole number, got 10.0"),
        ({"batch_size": "auto"}, "batch_size has to be a whole number, got 'auto'"),
        ({"max_iter": 2.0}, "max_iter has to be a whole number, got 2.0"),
        ({"max_iter": True}, "max_iter has to be a whole number, got True"),
        ({"hidden_layer_sizes": (16.5,)}, "whole, positive widths, got"),
        ({"hidden_layer_sizes": "16"}, "whole, positive widths, got 16"),
        ({"learning_rate_init": "constant"}, "learning_rate_init has to be a number"),
        ({"learning_rate_init": float("nan")}, "learning_rate_init has to be a finite number"),
        ({"activation": "identity"}, "one of logistic, tanh, relu, got 'identity'"),
        ({"activation": None}, "one of logistic, tanh, relu, got None"),
        ({"alpha": None}, "alpha has to be a number, got None"),
        ({"momentum": 1.0}, r"momentum has to be in \[0, 1\)"),
        ({"learning_rate_init": -1.0}, "learning_rate_init has to be above 0"),
        ({"n_iter_no_change": 0}, "n_iter_no_change has to be at least 1, got 0"),
        ({"tol": -1.0}, "tol has to be at least 0, got -1"),
        ({"validation_fraction": 1.0}, "validation_fraction has to be above 0 and below 1"),
        (
            {"early_stopping": True, "validation_fraction": 0.01},
            "early_stopping cannot hold out 0.01: ",
        ),
        ({"hidden_layer_sizes": (0,)}, "whole, positive widths"),
        ({"hidden_layer_sizes": 5}, "whole, positive widths, got 5"),
    ],
)
def test_bad_parameters(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_mlp(**changes).fit(X, Y)


def test_from_weights_computes_what_the_weights_say() -> None:
    w = [np.array([[1.0, -1.0], [0.5, 2.0]])]
    model = MLPClassifier.from_weights(w, [np.array([0.1, 0.2])])
    np.testing.assert_allclose(model.logits(np.array([[1.0, 1.0]]))[0], [1.6, 1.2], rtol=1e-6)
    with pytest.raises(InputError, match="do not fit"):
        MLPClassifier.from_weights(w, [np.array([0.1])])


@pytest.mark.parametrize("hidden", [(6,), (5, 4)])
def test_a_binary_network_of_scikit_learn_says_the_same(hidden: tuple[int, ...]) -> None:
    from sklearn.neural_network import MLPClassifier as Theirs

    names = np.array(["no", "yes"])
    rng = np.random.default_rng(0)
    x = rng.random((200, 9))
    y = names[(x[:, 0] > x[:, 1]).astype(int)]
    theirs = Theirs(hidden, activation="tanh", solver="lbfgs", random_state=0).fit(x, y)
    assert theirs.coefs_[-1].shape[1] == 1
    ours = MLPClassifier.from_weights(
        theirs.coefs_, theirs.intercepts_, activation="tanh", classes=theirs.classes_
    )
    x_test = rng.random((100, 9))
    np.testing.assert_allclose(ours.predict_proba(x_test), theirs.predict_proba(x_test), atol=1e-4)
    np.testing.assert_array_equal(ours.predict(x_test), theirs.predict(x_test))
    assert len(np.unique(ours.predict(x_test))) == 2


@pytest.mark.parametrize(
    ("coefs", "intercepts", "also", "message"),
    [
        ([], [], {}, "0 coefs and 0 intercepts"),
        ([3.0], [[1.0]], {}, r"coefs \(\) and intercepts \(1,\) do not fit"),
        ([np.eye(2) * np.nan], [np.zeros(2)], {}, "layer 0: a weight is NaN"),
        ([np.eye(2) * 1e300], [np.zeros(2)], {}, "layer 0: a weight is NaN or infinite in float32"),
        ([np.eye(2)], [np.zeros(2)], {"classes": [1, 1]}, "classes .* expected one each"),
        ([np.ones((2, 1))], [np.zeros(1)], {"classes": [1]}, "classes .* for 2 columns"),
    ],
)
def test_weights_that_make_no_model(
    coefs: list[Any], intercepts: list[Any], also: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        MLPClassifier.from_weights(coefs, intercepts, **also)


def test_save_and_load(tmp_path: Path) -> None:
    model = small_mlp(early_stopping=True, tol=1e-4).fit(X, Y)
    model.save(tmp_path / "m.npz")
    again = MLPClassifier.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.logits(X), model.logits(X))
    assert again.get_params() == model.get_params()
    for name in ("n_iter_", "loss_curve_", "validation_scores_", "unsettled_"):
        assert getattr(again, name) == getattr(model, name) is not None
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    for name, message in (("bad.npz", "not a saved"), ("none.npz", "there is no file")):
        with pytest.raises(InputError, match=message):
            MLPClassifier.load(tmp_path / name)


def test_numbers_of_numpy_are_saved_as_they_are(tmp_path: Path) -> None:
    given = {
        "hidden_layer_sizes": np.array([5, 4]), "batch_size": np.int64(16), "max_iter": np.int32(2),
        "learning_rate_init": np.float32(0.25), "alpha": np.float64(0.5), "random_state": np.int64(3),
    }  # fmt: skip
    model = MLPClassifier(**given).fit(X, Y)
    model.save(tmp_path / "m.npz")
    again = MLPClassifier.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.logits(X), model.logits(X))
    plain = {"hidden_layer_sizes": (5, 4), "learning_rate_init": 0.25, "random_state": 3}
    assert {key: again.get_params()[key] for key in plain} == plain


def test_features_are_the_activation_of_what_the_last_layer_sums_up() -> None:
    rng = np.random.default_rng(0)
    shapes = [(5, 4), (4, 3), (3, 2)]
    coefs = [rng.normal(size=shape) for shape in shapes]
    biases = [rng.normal(size=shape[1]) for shape in shapes]
    model = MLPClassifier.from_weights(coefs, biases, activation="tanh")
    x = rng.random((7, 5)).astype(np.float32)
    sums = np.tanh(x @ coefs[0] + biases[0]) @ coefs[1] + biases[1]
    np.testing.assert_allclose(model.features(x, activated=False), sums, atol=1e-5)
    np.testing.assert_allclose(model.features(x), np.tanh(sums), atol=1e-5)
    linear = MLPClassifier.from_weights([np.eye(5)], [np.zeros(5)])
    np.testing.assert_array_equal(linear.features(x), x)
