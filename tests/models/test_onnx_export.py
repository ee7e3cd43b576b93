"""fastadv's own models as ONNX files: valid, the same logits, and read back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, off_differences, small_mlp
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier as SklearnMLP

from fastadv import SVC, InputError, MLPClassifier, capabilities, make_defense, to_onnx, wrap
from fastadv.models.voting import VotingModel

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

X, Y = blobs(60)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def in_onnxruntime(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    assert [one.name for one in (*session.get_inputs(), *session.get_outputs())] == [
        "images",
        "logits",
    ]
    made: np.ndarray = session.run(["logits"], {"images": x})[0]
    return made


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (6,), (7, 5)])
def test_a_perceptron_comes_back(activation: Any, hidden: tuple[int, ...], tmp_path: Path) -> None:
    sizes, rng = [20, *hidden, 3], np.random.default_rng(0)
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    model = MLPClassifier.from_weights(
        [rng.normal(size=pair) for pair in pairs], [rng.normal(size=n) for _, n in pairs],
        activation=activation, classes=["ant", "bee", "cow"],
    )  # fmt: skip
    to_onnx(model, tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    logits = model.logits(X)
    np.testing.assert_allclose(in_onnxruntime(tmp_path / "m.onnx", X), logits, atol=1e-5)
    again = wrap(tmp_path / "m.onnx")
    assert again.given.how == "taken over"
    np.testing.assert_array_equal(again.logits(X), logits)  # to the last bit
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    through = wrap(str(tmp_path / "m.onnx"), take_over=False)
    np.testing.assert_allclose(through.logits(X), logits, atol=1e-5)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_support_vector_machine_comes_back(kernel: Any, tmp_path: Path) -> None:
    model = SVC(kernel=kernel).fit(X, Y > 0)
    to_onnx(model, tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    logits = model.logits(X)
    np.testing.assert_allclose(in_onnxruntime(tmp_path / "m.onnx", X), logits, atol=1e-6)
    again = wrap(tmp_path / "m.onnx")
    assert again.given.how == (
        "taken over" if kernel == "linear" else "onnxruntime, with the gradient of its graph"
    )
    np.testing.assert_allclose(again.logits(X), logits, atol=1e-6 * np.abs(logits).max())
    slopes = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    np.testing.assert_allclose(again.vjp(X)[1](slopes), model.vjp(X)[1](slopes), atol=1e-5)
    assert off_differences(again, X) < 3e-3


def test_votes_come_back_as_a_black_box(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(20, 3 * 8)).astype(np.float32)
    weights[:, [0, 8, 16]] = 0.0  # equal logits: the first class has this vote
    model = VotingModel(weights, np.array([2, 5, 7]), 60)
    to_onnx(model, tmp_path / "m.onnx")
    again = wrap(tmp_path / "m.onnx")
    assert not capabilities.differentiable(again)
    np.testing.assert_allclose(
        again.logits(X), np.log(np.maximum(model.logits(X), 1e-37)), atol=1e-5
    )
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.classes_.tolist() == [2, 5, 7]


def test_a_wrapped_network_takes_images_of_the_data(tmp_path: Path) -> None:
    estimator = SklearnMLP((6,), max_iter=20, random_state=0).fit(X, Y)
    model = wrap(estimator, mean=0.3, std=0.5)
    to_onnx(model, tmp_path / "m.onnx")
    again = wrap(tmp_path / "m.onnx")
    np.testing.assert_array_equal(again.logits(X), model.logits(X))


def test_what_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    trained = small_mlp().fit(X, Y)
    defended = make_defense("median").wrap(trained, task=TASK)
    forest = wrap(RandomForestClassifier(2).fit(X, Y))
    for model in (defended, forest):
        with pytest.raises(InputError, match="cannot be written as ONNX; an MLPClassifier"):
            to_onnx(model, path)
    with pytest.raises(InputError, match="MLPClassifier is not trained"):
        to_onnx(small_mlp(), path)
    with pytest.raises(InputError, match=r"cannot write .*No such file"):
        to_onnx(trained, tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(InputError, match=r"fastadv.to_onnx\(model, path\) writes ONNX"):
        trained.save(path)
    assert not path.exists()
