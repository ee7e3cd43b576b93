"""Trained models as plain arrays: of these alone they are themselves again; old files still load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import SVC, InputError, MLPClassifier, capabilities
from fastadv.defenses.training.dpa import DPA
from fastadv.models.voting import VotingModel
from fastadv.protocols import Persistent

X, Y = blobs(30)
LETTERS = np.where(Y[:8] > 1, "b", "a")
OLD = Path(__file__).parent / "saved"  # written before models had a state


def mlp() -> MLPClassifier:
    stops = {"early_stopping": True, "validation_fraction": 0.2}
    return small_mlp(hidden_layer_sizes=(3,), **stops).fit(X, Y)


def svc() -> SVC:
    return SVC(kernel="rbf", C=2.0).fit(X[:8], LETTERS)


def voting() -> VotingModel:
    return DPA(partitions=3).fit(None, X, Y, task=TASK, seed=0)


@pytest.mark.parametrize("make", [mlp, svc, voting])
def test_a_state_is_the_model_and_plain(make: Any, tmp_path: Path) -> None:
    model = make()
    assert capabilities.able(model, Persistent)
    state = model.state()
    assert all(type(v) is np.ndarray and not v.dtype.hasobject for v in state.values())
    again = type(model).from_state({name: values.copy() for name, values in state.items()})
    np.testing.assert_array_equal(again.logits(X), model.logits(X))
    for name, values in again.state().items():
        np.testing.assert_array_equal(values, state[name])
    model.save(tmp_path / "m.npz")
    loaded = type(model).load(tmp_path / "m.npz")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("make", [mlp, svc, voting])
def test_files_of_before_load(make: Any) -> None:
    model = make()
    again = type(model).load(OLD / f"{make.__name__}.npz")
    np.testing.assert_allclose(again.logits(X), model.logits(X), atol=1e-5)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.state().keys() == model.state().keys()


def test_a_file_of_another_model_or_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mlp.npz: it holds a model of class MLPClassifier, exp"):
        SVC.load(OLD / "mlp.npz")
    for make, changed in (
        (mlp, {"weights": np.zeros(3, np.float32)}), (svc, {"dual": np.zeros(1)}),
        (voting, {"classes": np.arange(2)}),
    ):  # fmt: skip
        state = {**make().state(), **changed}
        with pytest.raises(InputError, match=r"do not fit|expected .* of float32"):
            type(make()).from_state(state)
    objects = SVC().fit(X[:8], LETTERS.astype(object))
    with pytest.raises(InputError, match="classes of type object cannot be saved"):
        objects.save(tmp_path / "o.npz")
    assert list(tmp_path.iterdir()) == []


TEXT = np.array('{"hidden_layer_sizes": [4], "alpha": 1e-4, "strange": 1}')


@pytest.mark.parametrize(
    ("make", "name", "value", "says"),
    [
        (mlp, "sizes", np.array(5), "its sizes are int64 in 0 dimensions"),
        (mlp, "sizes", np.array([20, 6, 3.0]), "its sizes are float64"),
        (mlp, "sizes", np.array([20, -6, 3]), "do not fit its parameters"),
        (mlp, "sizes", np.array([2**62, 2**62, 3]), "do not fit its parameters"),
        (mlp, "weights", np.full(147, np.nan, np.float32), "its weights hold NaN or infinity"),
        (mlp, "classes", np.zeros(3, int), "3 classes for 3 columns of logits do not fit"),
        (mlp, "classes", np.zeros((3, 2)), "its classes are float64 in 2 dimensions"),
        (mlp, "loss_curve", np.array(1.0), "its loss_curve are float64 in 0 dimensions"),
        (mlp, "parameters", TEXT, "a MLPClassifier has not all of its parameters"),
        (mlp, "parameters", np.array("[" * 10_000), "its parameters cannot be read"),
        (mlp, "parameters", np.array('{"hidden_layer_sizes": [1e999]}'), "whole, positive widths"),
        (mlp, "parameters", np.array('{"alpha": "x"}'), "alpha has to be a number"),
        (mlp, "parameters", np.arange(3), "its parameters are int64"),
        (svc, "training", np.array([0.0, np.inf]), "its training hold NaN or infinity"),
        (svc, "training", np.array([0.0, np.nan]), "its training hold NaN or infinity"),
        (svc, "gamma", np.array(np.inf), "its gamma hold NaN or infinity"),
        (svc, "vectors", np.zeros((0, 0)), "do not fit"),
        (svc, "classes", np.array([True, True]), "2 classes for 2 columns of logits do not fit"),
        (voting, "n_train", np.array(np.inf), "its n_train are float64"),
        (voting, "weights", np.zeros((0, 3, 2), np.float32), "do not fit"),
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_refused_in_a_line(
    make: Any, name: str, value: np.ndarray, says: str
) -> None:
    model = make()
    with pytest.raises(InputError, match=re.escape(says)):
        type(model).from_state(model.state() | {name: value})
    lacking = {key: array for key, array in model.state().items() if key != name}
    with pytest.raises(InputError, match=f"it has no {name}"):
        type(model).from_state(lacking)


def test_many_support_vectors_are_summed_as_one_after_another() -> None:
    """A file of 100 KB can hold millions; they took seconds."""
    rng = np.random.default_rng(0)
    vectors, dual = rng.normal(size=(2500, 3)), rng.normal(size=2500)
    model = SVC(kernel="linear").fit(X[:8], np.arange(8) % 2)
    model._set(vectors, dual, 0.0)
    wanted = np.zeros(3)
    for factor, row in zip(dual, vectors, strict=True):
        wanted += factor * row
    assert model.coef_[0].tobytes() == wanted.tobytes()
