"""Models of scikit-learn that are wrapped: the same logits, the right gradient, the same labels."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, off_differences
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from fastadv import InputError, capabilities, make_attack, wrap
from fastadv.models.adapters import trust
from fastadv.protocols import Classifier, Features, Layered, Model
from fastadv.task import Task

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = blobs(120)
NAMES = np.array(["dog", "cat", "ant"])[Y]  # sorted otherwise than numbered
TWO = np.where(Y == 2, 7, 3)
NEW, _ = blobs(40, seed=5)


def mlp(**given: Any) -> MLPClassifier:
    return MLPClassifier(
        **{"hidden_layer_sizes": (6, 5), "max_iter": 20, "random_state": 0, **given}
    )


ESTIMATORS = {
    "logistic": mlp(activation="logistic"), "tanh": mlp(activation="tanh"), "relu": mlp(),
    "identity": mlp(activation="identity"), "no hidden": mlp(hidden_layer_sizes=()),
    "regression": LogisticRegression(), "hyperplanes": LinearSVC(), "ridge": RidgeClassifier(),
    "no intercept": LinearSVC(fit_intercept=False),
    "svc linear": SVC(kernel="linear"), "svc rbf": SVC(), "ties": SVC(break_ties=True, gamma=2.0),
    "scaled": make_pipeline(StandardScaler(), mlp()),
    "scaled svc": make_pipeline(MinMaxScaler((-1, 1)), SVC()),
    "components": make_pipeline(StandardScaler(with_std=False), PCA(4, whiten=True), LogisticRegression()),
    "components svc": make_pipeline(PCA(4), StandardScaler(), SVC()),
    "components linear": make_pipeline(PCA(4), SVC(kernel="linear")),
    "nested": make_pipeline(make_pipeline(MaxAbsScaler(), "passthrough"), StandardScaler(), mlp()),
}  # fmt: skip


@pytest.mark.parametrize("labels", [Y, NAMES, TWO], ids=["numbers", "names", "two"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_taken_over_is_the_model(name: str, labels: np.ndarray) -> None:
    estimator = clone(ESTIMATORS[name]).fit(X, labels)
    model = wrap(estimator)
    assert model.given.how == "taken over"
    assert capabilities.able(model, Model)
    assert capabilities.able(model, Features)
    machines = name in ("svc rbf", "ties", "scaled svc", "components svc")
    several = name in ("svc linear", "components linear") and len(model.classes_) > 2
    assert capabilities.able(model, Layered) == (not machines and not several)
    assert model.classes_.tolist() == estimator.classes_.tolist()
    np.testing.assert_array_equal(model.predict(NEW), estimator.predict(NEW))
    logits = model.logits(NEW)
    np.testing.assert_array_equal(model.vjp(NEW)[0], logits)
    if hasattr(estimator, "predict_proba"):
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        expected = estimator.predict_proba(NEW)
        np.testing.assert_allclose(p / p.sum(axis=1, keepdims=True), expected, atol=1e-5)
    elif len(model.classes_) == 2:
        f = estimator.decision_function(NEW)
        np.testing.assert_allclose(logits, np.stack([-f, f], axis=1), rtol=1e-5, atol=1e-5)
    elif capabilities.able(model, Layered):
        expected = 10 * estimator.decision_function(NEW)
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    assert off_differences(model, NEW) < 3e-3


def test_logits_of_several_machines_are_the_margins_over_the_winner() -> None:
    estimator = SVC(decision_function_shape="ovo", gamma=1.0).fit(X, Y)
    logits, duels = wrap(estimator).logits(NEW), estimator.decision_function(NEW)
    zero = np.zeros(len(NEW))
    over = np.stack(
        [np.stack([zero, duels[:, 0], duels[:, 1]], 1), np.stack([-duels[:, 0], zero, duels[:, 2]], 1),
         np.stack([-duels[:, 1], -duels[:, 2], zero], 1)], axis=1,
    )  # fmt: skip
    winner = estimator.predict(NEW)
    margins = over[np.arange(len(NEW)), :, winner]
    scale = logits.min() / margins.min()
    assert scale > 1
    np.testing.assert_allclose(logits, scale * margins, atol=1e-4)
    np.testing.assert_array_equal(logits.max(axis=1), zero)


@pytest.mark.parametrize("ties", [False, True])
def test_a_circle_of_machines_is_told_as_predict_tells_it(ties: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((80, 3)), rng.integers(5, size=80)
    estimator = SVC(gamma=20.0, C=3.0, break_ties=ties).fit(x, y)
    new = rng.random((3000, 3)).astype(np.float32)
    votes = SVC(gamma=20.0, C=3.0, decision_function_shape="ovo").fit(x, y).decision_function(new)
    wins = np.zeros((len(new), 5))
    for p, (i, j) in enumerate(combinations(range(5), 2)):
        wins[:, i] += votes[:, p] > 0
        wins[:, j] += votes[:, p] <= 0
    circles = wins.max(axis=1) < 4
    assert circles.sum() > 20
    np.testing.assert_array_equal(wrap(estimator).predict(new), estimator.predict(new))


def test_taking_over_can_be_switched_off() -> None:
    model = wrap(mlp().fit(X, Y), take_over=False)
    assert model.given.how == "predict_proba"
    assert not capabilities.differentiable(model)
    np.testing.assert_allclose(model.logits(NEW), np.log(mlp().fit(X, Y).predict_proba(NEW)))


class Doubled(LogisticRegression):  # type: ignore[misc]
    """Derived from what is known, and other than that."""

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(2 * super().decision_function(x))


class Shifted(LogisticRegression):  # type: ignore[misc]
    """Predicts by something else than its scores."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.classes_[(super().decision_function(x).argmax(axis=1) + 1) % 3])


BLACK = {
    "forest": (RandomForestClassifier(8, n_jobs=2, random_state=0), "predict_proba"),
    "boosting": (GradientBoostingClassifier(n_estimators=3, random_state=0), "decision_function"),
    "histogram": (HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5), "decision_function"),
    "neighbours": (KNeighborsClassifier(3), "predict_proba"),
    "derived": (Doubled(), "decision_function"),
    "bayes": (GaussianNB(), "predict_proba"),
    "votes": (VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())]), "predict"),
    "polynomial": (SVC(kernel="poly"), "decision_function"),
    "duels": (SVC(kernel="poly", decision_function_shape="ovo"), "predict"),
    "clipped": (make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), "decision_function"),
    "not affine": (make_pipeline(Normalizer(), LogisticRegression()), "decision_function"),
}  # fmt: skip


@pytest.mark.parametrize("name", BLACK)
def test_any_other_is_a_black_box(name: str) -> None:
    estimator, by = BLACK[name]
    estimator.fit(X, NAMES)
    model = wrap(estimator)
    assert model.given.how == by
    assert capabilities.able(model, Classifier)
    assert not capabilities.differentiable(model)
    assert model.logits(NEW).shape == (40, 3)
    np.testing.assert_array_equal(model.predict(NEW), estimator.predict(NEW))
    result = make_attack("square[queries=3]").perturb(model, X[:4], NAMES[:4], task=TASK)
    assert result.x_adv.shape == (4, 20)


def test_scores_that_are_not_what_predict_goes_by_are_refused(monkeypatch: Any) -> None:
    with pytest.raises(InputError, match="Shifted predicts other labels than its scores say"):
        wrap(Shifted().fit(X, Y), images=X)
    estimator = SVC().fit(X, Y)
    estimator._gamma = 50.0  # as another version of scikit-learn might keep it
    monkeypatch.setattr(SVC, "predict", SVC(gamma=0.5).fit(X, Y).predict)
    with pytest.raises(InputError, match="SVC predicts other labels than its scores say"):
        wrap(estimator, images=X)


def test_steep_models_are_not_taken_for_wrong_ones() -> None:
    x = X.copy()
    x[:, 3] = 0.5 + 1e-3 * (np.arange(len(X)) % 7 == 0)  # a pixel that hardly moves is scaled a lot
    estimator = make_pipeline(StandardScaler(), mlp(hidden_layer_sizes=(64,), max_iter=40)).fit(
        x, Y
    )
    model = wrap(estimator, images=x)
    wrap(logits=model.logits, vjp=model.vjp, images=x)
    for factor in (0.0, 0.9, 1.1, -1.0):
        with pytest.raises(InputError, match="is not that of its logits"):
            wrap(
                logits=model.logits, images=x,
                input_gradient=lambda z, d, factor=factor: factor * model.vjp(z)[1](d),
            )  # fmt: skip


def test_a_model_is_taken_as_it_stands() -> None:
    for estimator in (mlp().fit(X, Y), RandomForestClassifier(3, random_state=0).fit(X, Y)):
        model = wrap(estimator)
        before = model.logits(NEW)
        estimator.fit(X, 2 - Y)
        np.testing.assert_array_equal(model.logits(NEW), before)
        assert wrap(estimator).given.identity != model.given.identity


def test_the_same_weights_are_the_same_model_under_any_name() -> None:
    for estimator in (mlp(), SVC(), RandomForestClassifier(3, random_state=0)):
        first, again = wrap(estimator.fit(X, Y)), wrap(estimator.fit(X, Y), name="another")
        assert first.given.identity == again.given.identity
        assert again.given.name == "another"
        others = [wrap(estimator, mean=0.1), wrap(estimator, take_over=False)]
        assert len({first.given.identity, *(one.given.identity for one in others)}) == 3


def test_what_is_declared_is_inside_the_gradient() -> None:
    low, high, mean, std = -1.0, 3.0, np.linspace(0, 1, 20), np.linspace(1, 2, 20)
    prepared = (low + (high - low) * X - mean) / std
    new = (low + (high - low) * NEW - mean) / std
    for estimator in (
        mlp(),
        SVC(),
        make_pipeline(StandardScaler(), SVC(kernel="linear")),
        GaussianNB(),
    ):
        estimator.fit(prepared, Y)
        model = wrap(estimator, mean=mean, std=std, input_range=(low, high))
        np.testing.assert_array_equal(model.predict(NEW), estimator.predict(new))
        if capabilities.differentiable(model):
            assert off_differences(model, NEW) < 3e-3
    by_channel = wrap(mlp().fit(prepared, Y), mean=[0.5], std=[2.0], image_shape=(5, 4))
    np.testing.assert_array_equal(
        by_channel.logits(NEW), wrap(mlp().fit(prepared, Y), mean=0.5, std=2.0).logits(NEW)
    )


def test_rows_in_the_order_of_channels_first() -> None:
    task = Task((2, 5, 2), 3)
    images = X.reshape(-1, 2, 5, 2).transpose(0, 3, 1, 2).reshape(len(X), -1)
    for estimator in (mlp(), SVC(), GaussianNB()):
        model = wrap(
            estimator.fit(images, Y), image_shape=task.image_shape, layout="channels_first"
        )
        np.testing.assert_array_equal(model.predict(X), estimator.predict(images))
        if capabilities.differentiable(model):
            assert off_differences(model, NEW) < 3e-3


def test_training_a_clone_is_training_the_estimator() -> None:
    estimators = (
        mlp(), SVC(), make_pipeline(StandardScaler(), SVC(kernel="linear")),
        RandomForestClassifier(3, random_state=0), make_pipeline(PCA(3), GaussianNB()),
    )  # fmt: skip
    for estimator in estimators:
        untrained = clone(wrap(estimator.fit(X, Y)).given.untrained)
        assert not hasattr(untrained, "classes_")
        trained = untrained.fit(X[:60], 2 - Y[:60])
        estimator.fit(X[:60], 2 - Y[:60])
        np.testing.assert_array_equal(trained.predict(NEW), estimator.predict(NEW))
        if capabilities.differentiable(trained):
            again = untrained.from_state(trained.state())
            np.testing.assert_array_equal(again.logits(NEW), trained.logits(NEW))
            assert type(again) is type(trained)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (LogisticRegression(), "LogisticRegression is not trained .*: call its fit"),
        (make_pipeline(StandardScaler(), SVC()), "Pipeline is not trained"),
        (LogisticRegression, "LogisticRegression is a class; give a trained object of it"),
        (LinearRegression().fit(X, Y), "LinearRegression is no classifier but a regressor"),
        (KMeans(2, n_init=1).fit(X), "KMeans is no classifier but a clusterer"),
        (KNeighborsClassifier().fit(X, np.stack([Y, Y], 1)), "tells several labels of an image"),
        (mlp(solver="lbfgs", max_iter=200, tol=1.0).fit(X, np.stack([Y == 0, Y == 1], 1)), "tells several labels of an image"),
        (StandardScaler().fit(X), "StandardScaler is no model that fastadv knows"),
        (np.zeros(3), "ndarray is no model that fastadv knows"),
        ("model.pkl", "model.pkl is no model file; it has to end in .npz, .onnx"),
    ],
)  # fmt: skip
def test_what_is_no_trained_classifier_is_refused(given: Any, line: str) -> None:
    with pytest.raises(InputError, match=line):
        wrap(given)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"std": 0}, "std has to be above 0"),
        ({"mean": [0.1, 0.2, 0.3]}, "give image_shape"),
        ({"mean": np.zeros(7), "image_shape": (5, 4)}, "mean has shape"),
        ({"mean": "grey"}, "mean has to be numbers"),
        ({"input_range": (1, 0)}, "input_range has to be"),
        ({"input_range": (1, 2, 3)}, "input_range has to be"),
        ({"layout": "nchw"}, "layout has to be one of"),
        ({"layout": "channels_first"}, "give image_shape"),
        ({"classes": ["a", "b"]}, "leave out classes"),
        ({"probabilities": True}, "leave out classes and probabilities"),
        ({"image_shape": (8, 8)}, "MLPClassifier takes 20 numbers an image"),
        ({"vjp": abs}, "belong to logits"),
        ({"logits": abs}, "give a model, or logits"),
    ],
)  # fmt: skip
def test_what_is_declared_has_to_fit(told: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        wrap(mlp().fit(X, Y), **told)


def test_images_are_drawn_in_the_range_of_a_pixel() -> None:
    images = trust.drawn(30)
    assert images.shape == (6, 30)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize(
    "estimator", [SVC(), SVC(kernel="linear"), LinearSVC(C=0.05), RidgeClassifier(10.0)]
)
def test_climbing_their_cross_entropy_is_as_good_as_their_margins(estimator: Any) -> None:
    task = Task((5, 4), 6)
    x, y = blobs(240, task=task)
    model = wrap(estimator.fit(x[:120], y[:120]))
    left = {}
    for loss in ("ce", "dlr"):
        attack = make_attack(f"apgd[eps=0.1,steps=20,loss={loss}]")
        x_adv = attack.perturb(model, x[120:], y[120:], task=task).x_adv
        left[loss] = float((estimator.predict(x_adv) == y[120:]).mean())
    assert 0.05 < min(left.values()) < 0.9
    assert left["ce"] <= left["dlr"] + 0.04
