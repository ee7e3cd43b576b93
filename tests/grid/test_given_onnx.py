"""The same weights as scikit-learn's, as ONNX and as fastadv's own: one table, cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_models import figures, grid_of, trained
from helpers import blobs
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier as SklearnMLP

from fastadv import Dataset, MLPClassifier, to_onnx, wrap

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_graphs import as_torch_exports, convolutional

X, Y = blobs(90)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def files(estimator: SklearnMLP, folder: Path) -> dict[str, Any]:
    """The same network as torch, skl2onnx and fastadv write it."""
    skl2onnx = pytest.importorskip("skl2onnx")
    own = MLPClassifier.from_weights(estimator.coefs_, estimator.intercepts_, activation="tanh")
    to_onnx(own, folder / "own.onnx")
    return {
        "torch": as_torch_exports(estimator.coefs_, estimator.intercepts_, shape=(1, 1, 5, 4)),
        "skl2onnx": skl2onnx.to_onnx(estimator, X[:1]),
        "fastadv": folder / "own.onnx",
        "itself": own,
    }


@pytest.mark.compiled
def test_the_same_weights_make_the_same_table(data: Dataset, tmp_path: Path) -> None:
    estimator = trained()
    expected = figures(grid_of(estimator, data, output=tmp_path / "sklearn"))
    assert {row[2] for row in expected} == {"ok"}
    assert any(row[3] != row[4] for row in expected)  # something is attacked
    for name, model in files(estimator, tmp_path).items():
        other = model if name == "itself" else wrap(model, image_shape=(5, 4))
        found = grid_of(other, data, output=tmp_path / name)
        np.testing.assert_allclose(other.logits(X), wrap(estimator).logits(X), atol=1e-5)
        assert figures(found) == expected, name


@pytest.mark.compiled
def test_through_onnxruntime_the_figures_are_the_same(data: Dataset, tmp_path: Path) -> None:
    model = files(trained(), tmp_path)["skl2onnx"]
    taken = grid_of(wrap(model, image_shape=(5, 4)), data)
    through = grid_of(wrap(model, image_shape=(5, 4), take_over=False), data)
    assert [r.status for r in through] == ["ok"] * len(taken)
    for a, b in zip(taken, through, strict=True):  # one of twenty images is 0.05
        assert abs(float(a.attacked_accuracy) - float(b.attacked_accuracy)) <= 0.05


@pytest.mark.compiled
def test_every_kind_of_attack_meets_a_convolutional_net(data: Dataset) -> None:
    rows = grid_of(
        convolutional(), data, samples=6, defenses=["none", "median"],
        attacks=["fgsm", "pgd[steps=3]", "apgd[steps=3,restarts=1]", "square[queries=10]", "deepfool", "cw[steps=10,search_steps=1]",
                 "stadv[steps=3]", "spatial"],
    )  # fmt: skip
    assert [(r.attack, r.reason) for r in rows if r.status != "ok"] == []
    assert {note.name for r in rows for note in r.notes} == set()
    skipped = grid_of(convolutional(), data, samples=6, attacks=["label_flip[points=3]"])
    assert "an ONNX model comes trained" in str(skipped[2].reason)


def test_a_black_box_says_which_operator(data: Dataset) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    forest = skl2onnx.to_onnx(RandomForestClassifier(4, random_state=0).fit(X, Y), X[:1])
    rows = grid_of(forest, data, attacks=["square[queries=5]", "pgd"], defenses=["none"])
    found = {r.attack: r for r in rows}
    (note,) = found["square[queries=5]"].notes
    assert note.name == "black_box"
    assert "no derivative of TreeEnsembleClassifier is known here" in note.message
    assert found["pgd"].status == "skipped"
