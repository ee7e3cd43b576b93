"""What every registered attack and defense keeps to, whichever it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import TASK, attack_in_any_batch, blobs, kernels, needs_torch, small_mlp

from fastadv import registry
from fastadv.errors import InputError
from fastadv.models.mlp import MLPClassifier
from fastadv.protocols import Certifier, ModelSanitizer, RobustTraining, Sanitizer, Wrapper
from fastadv.threads import set_threads

X, Y = blobs()
X_VAL, Y_VAL = blobs(30, seed=2)

# The same images and labels in other types and orders.
OTHER_FORMS = [
    (X.astype(np.float64), Y.astype(np.int32)), (np.asfortranarray(X), Y.astype(np.uint8)),
    (X.astype(">f4"), Y.astype(">i8")),
]  # fmt: skip


# Of attacks that take many steps, a few: what is tested holds after each.
FEWER_STEPS = {"square": "square[queries=80]", "cw": "cw[steps=30,search_steps=3]"}


FEWER_STEPS_OF_DEFENSES = {
    "adv_training": "adv_training[epochs=1]",
    "bagging": "bagging[models=30,images=20]",
    "interval": "interval[epochs=2]",
    "smoothing": "smoothing[n=200,draws=16]",
}


def evasion(name: str) -> Any:
    return registry.make_attack(FEWER_STEPS.get(name, name))


def names(what: str, *kinds: str) -> list[str]:
    return [e.name for e in registry.entries(what) if e.kind in kinds or not kinds]


@pytest.fixture(scope="module")
def model() -> MLPClassifier:
    return small_mlp().fit(X, Y)


@pytest.mark.parametrize("name", names("attack", "evasion"))
class TestEvasion:
    @pytest.mark.uncompiled
    def test_box_budget_and_honest_success(self, name: str, model: MLPClassifier) -> None:
        attack = evasion(name)
        before = X.copy()
        result = attack.perturb(model, X, Y, task=TASK)
        np.testing.assert_array_equal(X, before)
        assert result.x_adv.min() >= 0
        assert result.x_adv.max() <= 1
        right = model.predict(X) == Y
        np.testing.assert_array_equal(result.misclassified, ~right)
        changed = model.predict(result.x_adv) != Y
        np.testing.assert_array_equal(result.is_adv, changed & right)
        failed = ~result.is_adv
        np.testing.assert_array_equal(result.x_adv[failed], X[failed])
        threat = attack.threat()
        distance = result.distances[threat.distance]
        assert np.all(distance[failed] == 0)
        np.testing.assert_array_equal(result.success, result.is_adv & (distance <= threat.reach))
        assert result.success_rate() == result.success.sum() / right.sum()
        assert result.robust_accuracy() == np.mean(right & ~result.success)
        if not attack.minimum_norm:
            assert distance.max() <= threat.reach

    def test_same_bytes_alone_in_any_batch_and_for_any_threads(
        self, name: str, model: MLPClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attack_in_any_batch(evasion(name), model, X, Y, TASK, monkeypatch)

    def test_any_box_is_kept(self, name: str) -> None:
        task, x = replace(TASK, bounds=(0.3, 0.7)), np.clip(X + 0.2, 0.3, 0.7)
        result = evasion(name).perturb(small_mlp(12).fit(x, Y), x, Y, task=task)
        assert result.x_adv.min() >= np.float32(0.3)
        assert result.x_adv.max() <= np.float32(0.7)

    def test_the_form_of_the_arrays_does_not_matter(self, name: str, model: MLPClassifier) -> None:
        attack = evasion(name)
        wanted = attack.perturb(model, X, Y, task=TASK).x_adv
        for x, y in OTHER_FORMS:
            np.testing.assert_array_equal(attack.perturb(model, x, y, task=TASK).x_adv, wanted)

    def test_bad_input_is_one_line(self, name: str, model: MLPClassifier) -> None:
        attack = registry.make_attack(name)
        with_nan = X.copy()
        with_nan[0, 0] = np.nan
        for x, y, message in (
            (X[:, :-1], Y, "has shape"), (X * 2, Y, "outside"), (with_nan, Y, "NaN"),
            (X, Y[:-1], "labels"), (X, Y + 5, "label 5 is not among"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=message) as error:
                attack.perturb(model, x, y, task=TASK)
            assert "\n" not in str(error.value)
        with pytest.raises(InputError, match="true class"):
            attack.perturb(model, X, Y, task=TASK, target=Y)
        with pytest.raises(InputError, match="60 images have 60 ids"):
            attack.perturb(model, X, Y, task=TASK, sample_ids=np.arange(61))


VARIANTS = [
    "fgsm[norm=l2]", "pgd[keep=first]", "pgd[keep=last]", "apgd[targets=2]", "apgd[loss=dlr]",
    "square[norm=l2]", "deepfool[norm=linf]", "noise[draws=3]", "spatial[method=random]",
    "stadv[tau=0.05]", "stadv[tau=0.05,neighbors=diagonal]", "stadv[tau=0.05,search=true]",
    "stadv[max_shift=1]", "stadv[target=easiest]", "stadv[target=random]", "stadv[keep=last]",
]  # fmt: skip


@pytest.mark.parametrize("text", [*names("attack", "evasion"), *VARIANTS])
def test_nothing_in_nothing_out(text: str, model: MLPClassifier) -> None:
    attack = evasion(text)
    none, one = (attack.perturb(model, X[:n], Y[:n], task=TASK) for n in (0, 1))
    assert none.x_adv.shape == (0, TASK.n_features)
    assert len(none.success) == len(none.is_adv) == len(none.misclassified) == 0
    assert np.isnan([none.success_rate(), none.robust_accuracy()]).all()
    assert none.queries.keys() == one.queries.keys()
    for found, like in ((none.distances, one.distances), (none.details, one.details)):
        assert {k: (0, *v.shape[1:]) for k, v in like.items()} == {
            k: v.shape for k, v in found.items()
        }


@pytest.mark.parametrize("name", names("attack", "poisoning"))
class TestPoisoning:
    @pytest.mark.uncompiled
    def test_adds_points_and_leaves_the_input_alone(self, name: str) -> None:
        x, y = X.copy(), Y.copy()
        attack = registry.make_attack(f"{name}[points=5]")
        result = attack.poison(small_mlp(), x, y, X_VAL, Y_VAL, task=TASK)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)
        assert len(result.index) == 5
        clean = np.setdiff1d(np.arange(len(result.X)), result.index)
        np.testing.assert_array_equal(result.X[clean], X)
        np.testing.assert_array_equal(result.y[clean], Y)
        assert result.X.min() >= 0
        assert result.X.max() <= 1

    @pytest.mark.compiled
    def test_the_form_of_the_arrays_does_not_matter(self, name: str) -> None:
        attack, found = registry.make_attack(f"{name}[points=4]"), []
        for x, y in [(X, Y), *OTHER_FORMS]:
            result = attack.poison(small_mlp(), x, y, X_VAL, Y_VAL, task=TASK)
            found.append((result.X.tobytes(), result.y.tobytes()))
        assert len(set(found)) == 1

    def test_same_bytes_for_any_threads(self, name: str) -> None:
        attack, found = registry.make_attack(f"{name}[points=4]"), []
        for n in (1, 2):
            set_threads(n)
            result = attack.poison(small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK, seed=1)
            found.append((result.X.tobytes(), result.y.tobytes()))
        assert found[0] == found[1]

    def test_bad_input_is_one_line(self, name: str) -> None:
        for text in (f"{name}[fraction=0]", f"{name}[fraction=0.6]", f"{name}[points=0]"):
            with pytest.raises(InputError, match="has to be"):
                registry.make_attack(text)
        attack = registry.make_attack(name)
        with pytest.raises(InputError, match="at least two"):
            attack.poison(small_mlp(), X, np.zeros_like(Y), X_VAL, Y_VAL * 0, task=TASK)


@pytest.mark.parametrize("entry", registry.entries("defense"), ids=lambda entry: entry.name)
def test_the_kind_of_a_defense_is_what_it_does(entry: registry.Entry) -> None:
    defense = registry.make_defense(entry.name)
    does = {
        "certified": isinstance(defense, Certifier),
        "sanitizer": isinstance(defense, Sanitizer | ModelSanitizer),
        "training": isinstance(defense, RobustTraining),
        "preprocessor": isinstance(defense, Wrapper),
    }
    assert entry.kind == next((kind for kind, done in does.items() if done), "none")


@pytest.mark.parametrize("name", names("defense"))
def test_defense(name: str, model: MLPClassifier) -> None:
    defense = registry.make_defense(FEWER_STEPS_OF_DEFENSES.get(name, name))
    x, y = X.copy(), Y.copy()
    if isinstance(defense, Sanitizer):
        keep, labels = defense.sanitize(x, y, task=TASK, seed=0)
        assert keep.shape == labels.shape == y.shape
        assert keep.any()
    if isinstance(defense, ModelSanitizer):
        keep, labels = defense.screen(small_mlp(), x, y, task=TASK, seed=0)
        assert keep.shape == labels.shape == y.shape
        again, _ = defense.screen(small_mlp(), x, y, task=TASK, seed=0)
        np.testing.assert_array_equal(keep, again)
        assert keep.mean() > 0.5
    if isinstance(defense, RobustTraining):
        trained = [defense.fit(small_mlp(), x, y, task=TASK, seed=0).logits(X) for _ in range(2)]
        np.testing.assert_array_equal(trained[0], trained[1])
    if isinstance(defense, Wrapper):
        wrapped = defense.wrap(model, task=TASK)
        np.testing.assert_array_equal(wrapped.logits(X)[:7], wrapped.logits(X[:7]))
        assert wrapped.predict(X[:0]).shape == (0,)
        assert wrapped.vjp(X)[1](np.ones((len(X), 3), np.float32)).shape == X.shape
    if isinstance(defense, Certifier):
        trained = model
        if isinstance(defense, RobustTraining):
            trained = defense.fit(small_mlp(), x, y, task=TASK, seed=0)
        found = []
        for n in (1, 2):
            set_threads(n)
            found.append(defense.certify(trained, x, task=TASK, seed=0))
        assert found[0].threat == defense.threat().kind
        assert found[0].label.dtype == np.int64
        assert found[0].radius.dtype == np.float64
        assert found[0].label.tobytes() == found[1].label.tobytes()
        assert found[0].radius.tobytes() == found[1].radius.tobytes()
        alone = defense.certify(trained, x[11:12], task=TASK, seed=0)
        assert (alone.label[0], alone.radius[0]) == (found[0].label[11], found[0].radius[11])
        assert len(defense.certify(trained, x[:0], task=TASK, seed=0).label) == 0
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.compiled
@pytest.mark.parametrize("name", names("defense"))
def test_the_form_of_a_training_set_does_not_matter(name: str) -> None:
    defense, found = registry.make_defense(FEWER_STEPS_OF_DEFENSES.get(name, name)), []
    for x, y in [(X, Y), *OTHER_FORMS]:
        keep, labels = np.ones(len(X), dtype=bool), Y
        if isinstance(defense, Sanitizer):
            keep, labels = defense.sanitize(x, y, task=TASK, seed=0)
        if isinstance(defense, ModelSanitizer):
            keep, labels = defense.screen(small_mlp(), x, y, task=TASK, seed=0)
        if isinstance(defense, RobustTraining):
            labels = defense.fit(small_mlp(), x, y, task=TASK, seed=0).predict(X)
        found.append((keep.tolist(), labels.tolist()))
    assert all(one == found[0] for one in found)


@pytest.mark.compiled
def test_read_only_images_have_nothing_compiled_anew() -> None:
    def run(x: np.ndarray) -> dict[str, int]:
        trained = small_mlp().fit(x, Y)
        trained.vjp(np.broadcast_to(x[:1], (64, TASK.n_features)))
        for text in ("pgd[steps=2]", "stadv[steps=2]", "square[queries=3]"):
            registry.make_attack(text).perturb(trained, x, Y, task=TASK)
        return {name: len(kernel.signatures) for name, kernel in kernels().items()}

    before, x = run(X), X.copy()
    x.flags.writeable = False
    assert run(x) == before


@pytest.mark.parametrize(
    ("what", "name"),
    [needs_torch(what, name) for what in ("attack", "defense", "model") for name in names(what)],
)
def test_canonical_text_builds_the_same_again(what: str, name: str) -> None:
    text = registry.canonical(registry.make(what, name))
    assert text.partition("[")[0] == name
    assert registry.canonical(registry.make(what, text)) == text
