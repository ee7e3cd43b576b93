"""Arrays that do not fit are refused in one line, by every call of a defense, a wrapper, a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import SVC, InputError, make_attack, make_defense, registry
from fastadv.protocols import (
    Certifier,
    ModelSanitizer,
    RegionSanitizer,
    RobustTraining,
    Sanitizer,
    Wrapper,
)

X, Y = blobs()
DEFENSES = {
    "adv_training": "adv_training[epochs=1]", "bagging": "bagging[models=20,images=20]",
    "interval": "interval[epochs=1]", "smoothing": "smoothing[n=100,draws=8]",
    "dpa": "dpa[partitions=9]",
}  # fmt: skip
BY_NAME = [DEFENSES.get(e.name, e.name) for e in registry.DEFENSES if e.name != "none"]

IMAGES = {
    "one": X[0], "none": X[:0], "in_shape": X.reshape(-1, *TASK.image_shape), "nan": X * np.nan,
    "wide": np.hstack([X, X]), "texts": X.astype(str), "ragged": [[0.5] * 20, [0.5] * 19],
}  # fmt: skip
LABELS = {
    "short": Y[:-1], "long": np.append(Y, 0), "column": Y[:, None], "onehot": np.eye(3)[Y],
    "scalar": 1, "none": None, "nan": np.full(len(Y), np.nan), "halves": Y + 0.5,
    "bytes": Y.astype("S1"), "times": Y.astype("datetime64[s]"), "nones": np.array([None] * len(Y)),
    "mixed": np.array([0, "a", 1.5] * 20, dtype=object), "ragged": [[0], [0, 1]] * 30,
}  # fmt: skip


def trainings(name: str) -> list[Callable[[Any, Any], Any]]:
    """Each call of a defense that takes training images and labels."""
    defense, out = make_defense(name), list[Callable[[Any, Any], Any]]()
    if isinstance(defense, Sanitizer):
        out.append(lambda x, y: defense.sanitize(x, y, task=TASK, seed=0))
    if isinstance(defense, ModelSanitizer):
        out.append(lambda x, y: defense.screen(small_mlp(), x, y, task=TASK, seed=0))
    if isinstance(defense, RegionSanitizer):
        out.append(lambda x, y: defense.region(x, y, task=TASK))
    if isinstance(defense, RobustTraining):
        out.append(lambda x, y: defense.fit(small_mlp(), x, y, task=TASK, seed=0))
    return out


def refused(call: Callable[[], Any], about: str) -> None:
    with pytest.raises(InputError, match=rf"^{about} ") as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in BY_NAME if trainings(name)])
def test_training_sets(name: str) -> None:
    for call in trainings(name):
        for images in IMAGES.values():
            refused(lambda x=images, call=call: call(x, Y[: len(x)]), "X")
        for labels in LABELS.values():
            refused(lambda y=labels, call=call: call(X, y), "y")


@pytest.mark.parametrize("name", [n for n in BY_NAME if isinstance(make_defense(n), Certifier)])
def test_certified_images(name: str) -> None:
    defense: Any = make_defense(name)
    model = defense.fit(small_mlp(), X, Y, task=TASK, seed=0)
    for kind in set(IMAGES) - {"none"}:
        refused(lambda kind=kind: defense.certify(model, IMAGES[kind], task=TASK, seed=0), "X")


@pytest.mark.parametrize("name", [n for n in BY_NAME if isinstance(make_defense(n), Wrapper)])
def test_wrapped_models(name: str) -> None:
    defense: Any = make_defense(name)
    model = defense.wrap(small_mlp().fit(X, Y), task=TASK)
    for kind in ("one", "in_shape", "wide"):
        for call in (model.predict, model.logits, model.vjp):
            refused(lambda kind=kind, call=call: call(IMAGES[kind]), "X has shape")


def test_gradients_of_models() -> None:
    for model in (small_mlp().fit(X, Y), SVC().fit(X, Y % 2), SVC(kernel="rbf").fit(X, Y % 2)):
        for kind in ("one", "in_shape", "wide"):
            refused(lambda kind=kind, model=model: model.vjp(IMAGES[kind]), "X has shape")
        np.testing.assert_array_equal(model.vjp(X.tolist())[0], model.vjp(X.astype(float))[0])


@pytest.mark.parametrize("name", ["label_flip[points=5]", "backdoor[points=5,patch=2]"])
def test_judged_labels(name: str) -> None:
    """A column of labels was compared with every prediction in turn."""
    attack: Any = make_attack(name)
    found = attack.poison(small_mlp(), X, Y, *blobs(30, seed=2), task=TASK)
    model = small_mlp().fit(found.X, found.y)
    extra = {"trigger": found.trigger, "target": found.details.get("target")}
    for labels in LABELS.values():
        refused(lambda y=labels: attack.evaluate(model, X, y, **extra), "y")


@pytest.mark.parametrize("labels", [Y.astype(object), np.array(["a", "b", "c"], object)[Y]])
def test_labels_that_pandas_holds_are_labels(labels: np.ndarray) -> None:
    keep, out = make_defense("outlier[neighbors=2]").sanitize(X, labels, task=TASK, seed=0)  # type: ignore[union-attr]
    wanted = make_defense("outlier[neighbors=2]").sanitize(X, Y, task=TASK, seed=0)  # type: ignore[union-attr]
    np.testing.assert_array_equal(keep, wanted[0])
    np.testing.assert_array_equal(out, labels)
    if isinstance(labels[0], int):
        found = make_attack("fgsm").perturb(small_mlp().fit(X, Y), X, labels, task=TASK)  # type: ignore[union-attr]
        assert found.x_adv.shape == X.shape


@pytest.mark.parametrize("name", [n for n in BY_NAME if isinstance(make_defense(n), Wrapper)])
def test_wrapped_models_that_are_not_trained_or_name_no_classes(name: str) -> None:
    defense: Any = make_defense(name)
    refused(lambda: defense.wrap(small_mlp(), task=TASK), "MLPClassifier is not")
    trained = small_mlp().fit(X, Y)

    class Foreign:
        vjp = staticmethod(trained.vjp)

    class Told:
        logits = staticmethod(trained.logits)

    ways = ["predict", "logits", "vjp"]
    for foreign, names in ((Foreign(), ways), (Told(), ways[:2])):
        model = defense.wrap(foreign, task=TASK)
        for call in (getattr(model, way) for way in names):
            for kind in ("one", "in_shape", "wide"):
                refused(lambda kind=kind, call=call: call(IMAGES[kind]), "X has shape")
        same = model.predict(X) == defense.wrap(trained, task=TASK).predict(X)
        # smoothing draws behind the first layer of a model of layers
        assert same.mean() > 0.9 if name.startswith("smoothing") else same.all()
