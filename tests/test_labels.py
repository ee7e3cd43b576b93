"""Whatever the labels are, the numbers are those of 0 to k-1: attacks, defenses, grids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import SVC, InputError, MLPClassifier, Task, make_attack, registry, run_grid
from fastadv.protocols import Certifier, ModelSanitizer, RegionSanitizer, RobustTraining, Sanitizer

X, Y = blobs()
X_VAL, Y_VAL = blobs(30, seed=2)
LABELS = {
    "from_1": np.array([1, 2, 3]), "gaps": np.array([0, 3, 8]), "signed": np.array([-1, 0, 1]),
    "texts": np.array(["ape", "bee", "cat"]), "floats": np.array([1.0, 2.0, 7.0]),
}  # fmt: skip
any_labels = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())

EVASION = {"square": "square[queries=40]", "cw": "cw[steps=15,search_steps=2]"}
DEFENSES = {
    "adv_training": "adv_training[epochs=1]", "bagging": "bagging[models=20,images=20]",
    "interval": "interval[epochs=1]", "smoothing": "smoothing[n=100,draws=8]",
    "dpa": "dpa[partitions=9]",
}  # fmt: skip
POISONING = [
    "label_flip[points=5]", "label_flip[points=5,replace=true]",
    "label_flip[points=5,strategy=coherent]", "label_flip[points=5,strategy=worst]",
    "backdoor[points=5,patch=2]", "biggio[points=3,steps=2]",
    "train_noise[points=4]", "biggio[points=3,steps=2,labels=random]", "biggio[points=3,steps=1,subset_size=20]",
]  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> MLPClassifier:
    return small_mlp().fit(X, Y)


@pytest.mark.parametrize("name", [e.name for e in registry.ATTACKS if e.kind == "evasion"])
@any_labels
def test_evasion(name: str, labels: np.ndarray, plain: MLPClassifier) -> None:
    attack, model = make_attack(EVASION.get(name, name)), small_mlp().fit(X, labels[Y])
    wanted = attack.perturb(plain, X, Y, task=TASK)
    for task in (TASK, replace(TASK, n_classes=9)):
        found = attack.perturb(model, X, labels[Y], task=task)
        np.testing.assert_array_equal(found.x_adv, wanted.x_adv)
        np.testing.assert_array_equal(found.success, wanted.success)
    aimed = attack.perturb(model, X, labels[Y], task=TASK, target=labels[(Y + 1) % 3])
    hit = model.predict(aimed.x_adv) == labels[(Y + 1) % 3]
    np.testing.assert_array_equal(aimed.is_adv, hit & ~aimed.misclassified)
    with pytest.raises(InputError, match="the label 5 is not among the model's classes"):
        attack.perturb(model, X, np.full(len(X), 5), task=TASK)


def test_a_target_of_stadv_is_a_class_by_its_name(plain: MLPClassifier) -> None:
    labels = LABELS["gaps"]
    model, named = small_mlp().fit(X, labels[Y]), replace(TASK, class_names=("0", "3", "8"))
    wanted = make_attack("stadv[target=2,steps=9]").perturb(plain, X, Y, task=TASK)
    attack = make_attack("stadv[target=8,steps=9]")
    assert attack.supports(plain, named) is None
    raw = attack.perturb(model, X, labels[Y], task=TASK)
    numbered = attack.perturb(plain, X, Y, task=named)
    for found in (raw, numbered):
        np.testing.assert_array_equal(found.x_adv, wanted.x_adv)
    reason = make_attack("stadv[target=2]").supports(plain, named)
    assert reason == "there is no class 2; they are 0, 3, 8"


def test_classes_in_any_order_and_logits_that_do_not_fit(plain: MLPClassifier) -> None:
    class Turned:
        classes_ = plain.classes_[::-1]

        def vjp(self, x: np.ndarray) -> Any:
            logits, pullback = plain.vjp(x)
            return logits[:, ::-1].copy(), lambda slope: pullback(slope[:, ::-1])

    attack = make_attack("pgd[steps=5]")
    found = attack.perturb(Turned(), X, Y, task=TASK)
    wanted = attack.perturb(plain, X, Y, task=TASK)
    np.testing.assert_array_equal(found.misclassified, wanted.misclassified)
    np.testing.assert_array_equal(found.success, wanted.success)

    class TooFew(Turned):
        classes_ = np.arange(2)

    class Numbered:
        vjp = staticmethod(plain.vjp)

    for model, task in ((TooFew(), TASK), (Numbered(), replace(TASK, n_classes=4))):
        with pytest.raises(InputError, match=r"logits have shape \(60, 3\); 60 images of"):
            attack.perturb(model, X, Y % 2, task=task)


@pytest.mark.parametrize("text", POISONING)
@any_labels
def test_poisoning(text: str, labels: np.ndarray) -> None:
    attack, task = make_attack(text), replace(TASK, n_classes=9)
    wanted = attack.poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK)
    found = attack.poison(small_mlp(), X, labels[Y], X_VAL, labels[Y_VAL], task=task)
    np.testing.assert_array_equal(found.X, wanted.X)
    np.testing.assert_array_equal(found.y, labels[wanted.y])
    if "target" in wanted.details:
        assert found.details["target"] == labels[wanted.details["target"]]


def test_classes_of_poison_are_named_as_the_data_name_them() -> None:
    labels = LABELS["gaps"]
    for one, other in (
        ("backdoor[points=4,target=1]", "backdoor[points=4,target=3]"),
        ("biggio[points=2,steps=1,labels=2]", "biggio[points=2,steps=1,labels=8]"),
        ("biggio[points=2,steps=1,objective=2-1]", "biggio[points=2,steps=1,objective=8-3]"),
    ):
        wanted = make_attack(one).poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK)
        raw = make_attack(other).poison(small_mlp(), X, labels[Y], X_VAL, labels[Y_VAL], task=TASK)
        named = replace(TASK, class_names=("0", "3", "8"))
        numbered = make_attack(other).poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=named)
        np.testing.assert_array_equal(raw.y, labels[wanted.y])
        np.testing.assert_array_equal(numbered.y, wanted.y)
        if "labels" in raw.details:
            assert raw.details == numbered.details
        with pytest.raises(InputError, match=r"there is no class \d; they are 0, 3, 8"):
            make_attack(one).poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=named)
        assert "there is no class" in make_attack(one).supports(small_mlp(), named)


@pytest.mark.parametrize("name", [e.name for e in registry.DEFENSES])
@any_labels
def test_defenses(name: str, labels: np.ndarray) -> None:
    defense, y = registry.make_defense(DEFENSES.get(name, name)), labels[Y]

    def both(method: str, *before: Any, **also: Any) -> tuple[Any, Any]:
        call = getattr(defense, method)
        return call(*before, X, Y, task=TASK, **also), call(*before, X, y, task=TASK, **also)

    if isinstance(defense, Sanitizer):
        (keep, cleaned), (kept, called) = both("sanitize", seed=0)
        np.testing.assert_array_equal(kept, keep)
        np.testing.assert_array_equal(called, labels[cleaned])
    if isinstance(defense, ModelSanitizer):
        (keep, _), (kept, _) = both("screen", small_mlp(), seed=0)
        np.testing.assert_array_equal(kept, keep)
    if isinstance(defense, RegionSanitizer):
        region, regions = both("region")
        np.testing.assert_array_equal(
            regions.accepts(X_VAL, labels[Y_VAL]), region.accepts(X_VAL, Y_VAL)
        )
        np.testing.assert_array_equal(
            regions.project(1 - X_VAL, labels[Y_VAL]), region.project(1 - X_VAL, Y_VAL)
        )
    models = small_mlp().fit(X, Y), small_mlp().fit(X, y)
    if isinstance(defense, RobustTraining):
        models = both("fit", small_mlp(), seed=0)
        np.testing.assert_array_equal(models[1].predict(X), labels[models[0].predict(X)])
    if isinstance(defense, Certifier):
        if labels.dtype.kind != "i" or labels[0] < 0:
            with pytest.raises(InputError, match="by whole numbers from 0 on"):
                defense.certify(models[1], X, task=TASK, seed=0)
            return
        plain, other = (defense.certify(model, X, task=TASK, seed=0) for model in models)
        expected = np.where(plain.label < 0, -1, labels[plain.label])
        np.testing.assert_array_equal(other.label, expected)
        np.testing.assert_array_equal(other.radius, plain.radius)


def test_a_support_vector_machine_on_two_labels_with_a_gap() -> None:
    task = Task((5, 4), 2)
    x, y = blobs(60, task=task)
    x_val, y_val = blobs(30, seed=3, task=task)
    for text in ("label_flip[points=4]", "biggio[points=1,steps=3]", "backdoor[points=4]"):
        labels = np.array([3, 8])
        wanted = make_attack(text).poison(SVC(), x, y, x_val, y_val, task=task)
        found = make_attack(text).poison(SVC(), x, labels[y], x_val, labels[y_val], task=task)
        np.testing.assert_array_equal(found.X, wanted.X)
        np.testing.assert_array_equal(found.y, labels[wanted.y])


def write(path: Path, labels: np.ndarray, n_classes: int) -> str:
    task = Task((5, 4), n_classes)
    x, y = blobs(96, task=task)
    x_test, y_test = blobs(45, seed=1, task=task)
    np.savez(
        path, x_train=x.reshape(-1, 5, 4), y_train=labels[y], x_test=x_test.reshape(-1, 5, 4),
        y_test=labels[y_test],
    )  # fmt: skip
    return str(path)


@pytest.mark.parametrize(
    ("model", "labels", "attacks", "defenses"),
    [
        (
            "mlp[hidden_layer_sizes=6,batch_size=16,max_iter=4]", np.array([1, 3, 8]),
            "pgd[steps=5],stadv[steps=5,target={8}],label_flip,backdoor[fraction=0.1],"
            "backdoor[fraction=0.1,target={3}],biggio[steps=2,objective={8}-{3}]",
            "none,knn_relabel[neighbors=3],outlier[trusted=false],sphere_slab[trusted=false],loss_trim,"
            "trigger_scan,dpa[partitions=6]",
        ),
        ("svm", np.array([3, 8]), "pgd[steps=5],label_flip,backdoor,biggio[points=1,steps=3]", "none,loss_trim"),
    ],
)  # fmt: skip
@pytest.mark.compiled
def test_a_grid_on_other_labels_has_the_same_figures(
    tmp_path: Path, model: str, labels: np.ndarray, attacks: str, defenses: str
) -> None:
    def rows(name: str, labels: np.ndarray, numbers: dict[str, int]) -> list[Any]:
        data = write(tmp_path / f"{name}.npz", labels, len(labels))
        asked = attacks
        for word, number in numbers.items():
            asked = asked.replace(word, str(number))
        return run_grid(repeats=1, attacks=asked, defenses=defenses, dataset=data, model=model)

    places = {f"{{{label}}}": place for place, label in enumerate(labels)}
    plain = rows("plain", np.arange(len(labels)), places)
    other = rows("other", labels, {word: int(word[1:-1]) for word in places})
    assert {row.status for row in plain} <= {"ok", "skipped"}
    assert any(row.status == "ok" and row.kind == "poisoning" for row in plain)
    for one, two in zip(plain, other, strict=True):
        assert two.status == one.status, two.reason
        for figure in (
            "n",
            "clean_accuracy",
            "attacked_accuracy",
            "baseline_accuracy",
            "success_rate",
            "sanitized",
            "certified",
        ):
            assert getattr(two, figure) == getattr(one, figure), (two.attack, two.defense, figure)
