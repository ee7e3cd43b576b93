"""What every registered model and data set keeps to, whichever it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import blobs, needs_torch

from fastadv import capabilities, load_dataset, registry
from fastadv.task import Task

TASK = Task((5, 4), 2)  # all that some models can tell apart
X, Y = blobs(task=TASK)
MODELS = [needs_torch(entry.name) for entry in registry.entries("model")]
DATASETS = [entry.name for entry in registry.entries("dataset") if entry.kind == "dataset"]


def untrained(name: str, seed: int = 0) -> Any:
    return capabilities.bound(registry.make("model", name, random_state=seed), TASK, X)


@pytest.mark.parametrize("name", MODELS)
class TestModel:
    @pytest.mark.filterwarnings("ignore::UserWarning")  # too few images to settle on
    def test_labels_logits_and_gradient_belong_together(self, name: str) -> None:
        x, labels = X.copy(), np.array(["yes", "no"])[Y]
        model = untrained(name).fit(x, labels)
        np.testing.assert_array_equal(x, X)
        assert model.classes_.tolist() == ["no", "yes"]
        logits, pullback = model.vjp(X)
        assert logits.shape == (len(X), 2)
        np.testing.assert_array_equal(logits, model.logits(X))
        np.testing.assert_array_equal(model.classes_[logits.argmax(axis=1)], model.predict(X))

        rng = np.random.default_rng(0)
        dlogits = rng.normal(size=logits.shape).astype(logits.dtype)
        gradient = pullback(dlogits)
        # Along its signs, where it says most: kinks and rounding weigh little.
        way = np.abs(rng.normal(size=X.shape)).astype(np.float32) * np.sign(gradient) * 0.002
        difference = np.vdot(model.logits(X + way) - model.logits(X - way), dlogits) / 2
        assert np.vdot(gradient, way) == pytest.approx(difference, rel=0.02)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_the_same_seed_gives_the_same_model(self, name: str) -> None:
        trained = [untrained(name, 3).fit(X, Y) for _ in range(2)]
        np.testing.assert_array_equal(*(model.logits(X) for model in trained))

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_a_trained_model_is_what_its_state_says(self, name: str) -> None:
        for labels in (Y, np.array(["yes", "no"])[Y]):
            model = untrained(name).fit(X, labels)
            state = model.state()
            assert not any(np.asarray(array).dtype.hasobject for array in state.values())
            again = type(model).from_state(state)
            np.testing.assert_array_equal(again.logits(X), model.logits(X))
            np.testing.assert_array_equal(again.predict(X), model.predict(X))
            assert registry.canonical(again) == registry.canonical(model)


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_is_the_same_again_and_can_be_narrowed(name: str) -> None:
    data = load_dataset(f"{name}[classes=1-0,train=20,val=6,test=10]")
    assert data.name == f"{name}[classes=1-0,train=20,val=6,test=10]"
    assert data.fingerprint == load_dataset(data.name).fingerprint
    assert (data.task.n_classes, len(data.class_names)) == (2, 2)
    for part, n in (("train", 20), ("val", 6), ("test", 10)):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert x.dtype == np.float32
        assert x.shape == (n, data.task.n_features)
        assert set(y.tolist()) == {0, 1}
