"""Models of scikit-learn as skl2onnx writes them: labels, probabilities, operators of ONNX-ML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, off_differences
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier as SklearnMLP
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from fastadv import capabilities, make_attack, wrap

skl2onnx = pytest.importorskip("skl2onnx")
pytest.importorskip("onnxruntime")

X, Y = blobs(60)
SHAPE = (5, 4)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Attribute `prob:FutureWarning"),  # of skl2onnx
]

NAMES = np.array(["ant", "bee", "cow"])
ESTIMATORS = {
    "mlp": (SklearnMLP((6,), max_iter=30), Y),
    "mlp of two": (SklearnMLP((6,), activation="logistic", max_iter=30), (Y > 0).astype(int)),
    "pipeline": (make_pipeline(StandardScaler(), SklearnMLP((6,), max_iter=30)), Y),
    "texts": (make_pipeline(MinMaxScaler(), PCA(8), SklearnMLP((6,), activation="tanh", max_iter=30)), NAMES[Y]),
    "logistic": (LogisticRegression(), Y), "logistic of two": (LogisticRegression(), (Y > 0).astype(int)),
    "linear svc": (LinearSVC(), Y), "linear svc of two": (LinearSVC(), (Y > 0).astype(int)),
}  # fmt: skip


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_models_of_scikit_learn_are_what_they_were(name: str, zipmap: bool) -> None:
    estimator, y = ESTIMATORS[name]
    estimator.fit(X, y)
    options = {} if zipmap or "svc" in name else {"zipmap": False}
    options = {id(estimator): options} if options else None
    file = skl2onnx.to_onnx(estimator, X[:1], options=options)
    direct = wrap(estimator)
    for take_over in (True, False):
        met = wrap(file, image_shape=SHAPE, take_over=take_over)
        assert (met.given.how == "taken over") == take_over
        np.testing.assert_allclose(met.logits(X), direct.logits(X), atol=2e-5)
        np.testing.assert_array_equal(met.predict(X), estimator.predict(X))
        assert off_differences(met, X) < 3e-3


@pytest.mark.parametrize(
    ("estimator", "operator"),
    [
        (RandomForestClassifier(5, random_state=0), "TreeEnsembleClassifier"),
        (SVC(), "ArrayFeatureExtractor, SVMClassifier"),
    ],
)
def test_what_has_no_gradient_is_a_black_box_and_says_why(estimator: Any, operator: str) -> None:
    file = skl2onnx.to_onnx(estimator.fit(X, Y), X[:1])
    model = wrap(file, image_shape=SHAPE)
    assert not capabilities.differentiable(model)
    said = f"what onnxruntime returns: no derivative of {operator} is known here"
    assert model.given.how == said
    assert np.mean(model.predict(X) == estimator.predict(X)) > 0.95
    if operator.startswith("Tree"):
        logits = np.log(np.maximum(estimator.predict_proba(X), np.finfo(np.float32).tiny))
        np.testing.assert_allclose(model.logits(X), logits, atol=1e-5)
    found = make_attack("square[queries=20,eps=0.4]").perturb(model, X, Y, task=TASK)
    assert found.success.any()
