"""Trained models as plain arrays: of these alone they are themselves again; old files still load."""

from __future__ import annotations

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
