"""Models without a useful gradient: every way around it counts, and none counts beyond the budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import TASK, attack_in_any_batch, blobs, small_mlp

from fastadv import MLPClassifier, capabilities, load_dataset, make_attack, make_defense
from fastadv.arrays import Floats
from fastadv.attacks.evasion import without_gradient
from fastadv.attacks.evasion.flips import Flips
from fastadv.attacks.evasion.joining import improved, joined, rows_of
from fastadv.defenses.preprocessors.base import behind
from fastadv.defenses.preprocessors.bit_depth import soft_rounding
from fastadv.models.adapters.annealed import Annealed
from fastadv.protocols import Model, Pullback
from fastadv.results import EvasionResult
from fastadv.task import Task

X, Y = blobs(120)
IN_BALL = ["fgsm[eps=0.15]", "pgd[eps=0.15]", "pgd[eps=0.15,keep=first,restarts=2]", "apgd[eps=0.15,steps=12]", "pgd[norm=l2,eps=0.5]"]  # fmt: skip
LEAST = [
    "deepfool[budget=0.5]", "cw[budget=0.5,steps=15,search_steps=2]", "stadv[steps=12,budget=4]",
    "stadv[steps=12,translation=false]", "stadv[steps=12,target=random]",
    "stadv[steps=9,max_shift=0.8]",
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> MLPClassifier:
    return small_mlp(12).fit(X, Y)


@pytest.fixture(scope="module")
def rounded(model: MLPClassifier) -> Any:
    return make_defense("bit_depth[bits=2]").wrap(model, task=TASK)


def attack(text: str, model: Any, **given: Any) -> EvasionResult:
    return without_gradient.perturb(make_attack(text), model, X, Y, task=TASK, seed=3, **given)


def ways(text: str, model: Any, undefended: Any = None) -> tuple[str, ...]:
    gone = without_gradient.Ways(make_attack(text), model, X, Y, TASK, undefended=undefended)
    return gone.names


# -- the stand-in ---------------------------------------------------------------------------


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 16.0])
@pytest.mark.parametrize(("low", "high", "bits"), [(0.0, 1.0, 1), (-1.0, 3.0, 3)])
def test_the_slope_of_soft_rounding_is_central_differences(
    sharpness: float, low: float, high: float, bits: int
) -> None:
    soft = soft_rounding(*(np.float64(v) for v in (low, high, 2**bits - 1, sharpness)))  # type: ignore[arg-type]
    x = np.random.default_rng(0).uniform(low, high, (5, 40))
    dout = np.random.default_rng(1).normal(size=x.shape)
    h = 1e-6
    expected = dout * (soft(x + h)[0] - soft(x - h)[0]) / (2 * h)
    np.testing.assert_allclose(soft(x)[1](dout), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("bits", [1, 3])
def test_soft_rounding_is_between_the_identity_and_the_rounding(
    bits: int, model: MLPClassifier
) -> None:
    x = np.linspace(0, 1, 401, dtype=np.float32)[None]
    levels = 2**bits - 1
    clear = np.abs(x * levels - np.floor(x * levels) - 0.5) > 0.1

    def soft(sharpness: float) -> Floats:
        return soft_rounding(*(np.float32(v) for v in (0, 1, levels, sharpness)))(x)[0]

    np.testing.assert_allclose(soft(1e-2), x, atol=1e-4)
    rounding = np.floor(x * levels + 0.5) / levels
    np.testing.assert_allclose(soft(60)[clear], rounding[clear], atol=1e-5)
    np.testing.assert_allclose(soft(5)[0, [0, -1]], [0, 1], atol=1e-6)
    defended = make_defense(f"bit_depth[bits={bits}]").wrap(model, task=TASK)
    smooth = [defended.surrogate(progress) for progress in (0.0, 1.0)]
    off = [np.abs(s.logits(X) - defended.logits(X)).mean() for s in smooth]
    assert off[1] < off[0] / 2


def test_behind_several_transformations_each_has_its_stand_in(model: MLPClassifier) -> None:
    """A filter whose gradient is exact does not give one to what lies behind it."""
    bits, median = make_defense("bit_depth"), make_defense("median")
    for outer, inner in ((median, bits), (bits, median)):
        both = outer.wrap(inner.wrap(model, task=TASK), task=TASK)
        assert capabilities.gradient_kind(both) == "identity"
        smooth = capabilities.surrogate(both, 0.5)
        given = np.random.default_rng(0).normal(size=(len(X), 3)).astype(np.float32)
        assert not np.allclose(smooth.vjp(X)[1](given), both.vjp(X)[1](given), rtol=0.1)
    filtered = make_defense("mean").wrap(model, task=TASK)
    assert capabilities.gradient_kind(filtered) == "exact"
    assert capabilities.surrogate(filtered, 0.5) is None


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_the_stand_in_of_the_median_has_the_gradient_of_what_it_is(
    progress: float, model: MLPClassifier
) -> None:
    filtered = make_defense("median[size=3]").wrap(model, task=TASK)
    blended = filtered.smooth(progress)
    x, rng = X[:9].astype(np.float64), np.random.default_rng(0)
    dout, way = rng.normal(size=x.shape), rng.normal(size=x.shape)
    h = 1e-7  # no two pixels change places
    slope = (blended(x + h * way)[0] - blended(x - h * way)[0]) / (2 * h)
    expected = (slope * dout).sum(axis=1)
    np.testing.assert_allclose((blended(x)[1](dout) * way).sum(axis=1), expected, rtol=1e-5)
    own = filtered.transform(X[:9])[1](dout.astype(np.float32))
    assert (own == 0).any()
    assert (blended(x)[1](dout) != 0).all()


def test_more_is_found_of_a_median_than_its_gradient_leads_to() -> None:
    data = load_dataset("mnist[train=3000,test=300]")
    bare = small_mlp(4, hidden_layer_sizes=(32,)).fit(data.x_train, data.y_train)
    filtered = make_defense("median").wrap(bare, task=data.task)
    made = make_attack("pgd[eps=0.1,steps=20]")
    images = data.x_test, data.y_test
    alone = made.perturb(filtered, *images, task=data.task)
    found = without_gradient.perturb(made, filtered, *images, task=data.task)
    assert found.success.sum() > alone.success.sum()
    assert {"gradient", "surrogate"} <= set(found.details["part"])


class Watched:
    """A defended model that takes note of how sharp a stand-in it is asked for."""

    gradient = "identity"

    def __init__(self, model: MLPClassifier) -> None:
        self.model, self.classes_, self.asked = model, model.classes_, list[float]()

    def logits(self, X: Floats) -> Floats:
        return self.model.logits(np.round(X).astype(np.float32))

    def predict(self, X: Floats) -> Any:
        return self.logits(X).argmax(axis=1)

    def vjp(self, X: Floats) -> tuple[Floats, Pullback]:
        return self.logits(X), self.model.vjp(X)[1]

    def surrogate(self, progress: float) -> Model:
        self.asked.append(progress)
        return self.model


def test_the_stand_in_is_sharper_at_every_gradient(model: MLPClassifier) -> None:
    watched = Watched(model)
    annealed = Annealed(watched, 4)
    given = np.eye(3, dtype=np.float32)[Y]
    for _ in range(5):
        moving = X.copy()
        logits, pullback = annealed.vjp(moving)
        moving += 0.2  # as attacks do, before or after they ask
        np.testing.assert_array_equal(logits, watched.logits(X))
        for _ in range(2):  # of one point for several classes
            np.testing.assert_array_equal(pullback(given), model.vjp(X)[1](given))
        annealed.vjp(X)
        annealed.logits(X)
    assert watched.asked == [1 / 8, 3 / 8, 5 / 8, 7 / 8, 1 / 8]


# -- the best of all ways -------------------------------------------------------------------


def judged(model: Any, found: EvasionResult, text: str) -> np.ndarray:
    """Which images are broken, seen from outside."""
    broken = (model.predict(X) == Y) & (model.predict(found.x_adv) != Y)
    linf = np.abs(found.x_adv.astype(float) - X).max(axis=1)
    l2 = np.linalg.norm(found.x_adv.astype(float) - X, axis=1)
    near = make_attack(text).threat().within({**found.distances, "linf": linf, "l2": l2}, len(X))
    inside = (found.x_adv >= 0).all(axis=1) & (found.x_adv <= 1).all(axis=1)
    assert inside.all()
    return broken & near


@pytest.mark.parametrize("text", IN_BALL + LEAST)
def test_an_image_is_broken_if_any_way_breaks_it(
    text: str, model: MLPClassifier, rounded: Any
) -> None:
    made, found = make_attack(text), attack(text, rounded)
    identity = made.perturb(rounded, X, Y, task=TASK, seed=3)
    transferred = made.perturb(model, X, Y, task=TASK, seed=3)
    aimed = capabilities.targeted(made)
    broken = judged(rounded, found, text)
    assert not (identity.success & ~found.success).any()
    if not aimed:
        np.testing.assert_array_equal(found.success, broken)
        assert not (judged(rounded, transferred, text) & transferred.success & ~broken).any()
    part = found.details["part"]
    np.testing.assert_array_equal(part != "", found.is_adv)
    assert set(part) - {""} <= set(ways(text, rounded))
    account = without_gradient.account(made, rounded, X, Y, found, task=TASK, seed=3)
    assert sum(account.broken_by.values()) == found.success.sum()
    assert (
        found.queries["forward"] > 2 * identity.queries["forward"] - 1e-9 or not found.robust.any()
    )
    if text in LEAST:  # every way for every image, and the nearest of them
        key = made.threat().distance
        for other in (identity, transferred):
            alike = other.is_adv & found.is_adv & (rounded.predict(other.x_adv) != Y)
            alike &= not aimed or rounded.predict(other.x_adv) == model.predict(other.x_adv)
            assert (found.distances[key] <= other.distances[key])[alike].all()


def test_the_other_ways_find_what_the_identity_does_not(rounded: Any) -> None:
    """Each on its own breaks images that no way before it has broken."""
    seen = {part for text in IN_BALL + LEAST for part in attack(text, rounded).details["part"]}
    assert seen == {"", "identity", "transfer", "surrogate", "flips", "square"}
    for text, at_least in (
        ("pgd[norm=l2,eps=0.3]", 40),
        ("stadv[steps=12,budget=1,translation=true]", 12),
    ):
        identity = make_attack(text).perturb(rounded, X, Y, task=TASK, seed=3)
        assert attack(text, rounded).success.sum() >= identity.success.sum() + at_least


@pytest.mark.parametrize("text", [*IN_BALL[:4], *LEAST])
def test_the_same_bytes_in_any_batch(
    text: str, rounded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ways:
        def perturb(self, *given: Any, **named: Any) -> EvasionResult:
            return without_gradient.perturb(make_attack(text), *given, **named)

    attack_in_any_batch(Ways(), rounded, X[:40], Y[:40], TASK, monkeypatch)


@pytest.mark.parametrize("text", ["pgd[eps=0.15]", "stadv[steps=12,target=random]"])
def test_what_was_found_before_is_not_sought_again(text: str, model: Any, rounded: Any) -> None:
    oblivious = make_attack(text).perturb(model, X, Y, task=TASK, seed=3)
    known = attack(text, rounded, undefended=model, oblivious=replace(oblivious, details={}))
    np.testing.assert_array_equal(known.x_adv, attack(text, rounded).x_adv)
    nothing = replace(oblivious, is_adv=np.zeros(len(X), bool))
    fewer = attack(text, rounded, undefended=model, oblivious=nothing)
    assert "transfer" not in fewer.details["part"]


@pytest.mark.parametrize("bits", [1, 3])
def test_the_next_steps_are_the_nearest_values_that_differ(bits: int, model: MLPClassifier) -> None:
    task = Task(image_shape=(5, 4, 1), n_classes=3, bounds=(-1.0, 3.0))
    defended = make_defense(f"bit_depth[bits={bits}]").wrap(model, task=task)
    x = np.random.default_rng(0).uniform(-1, 3, (60, 20)).astype(np.float32)
    levels = defended.transform(x)[0]
    below, above = capabilities.next_steps(defended, x)
    for values, edge, way in ((below, -1, -1), (above, 3, 1)):
        np.testing.assert_array_equal(np.isnan(values), levels == edge)
        there = ~np.isnan(values)
        filled = np.where(there, values, x)
        step = way * 4 / (2**bits - 1)
        np.testing.assert_allclose((defended.transform(filled)[0] - levels)[there], step, rtol=1e-5)
        just_before = np.where(there, filled - way * np.float32(1e-5), x)
        np.testing.assert_array_equal(defended.transform(just_before)[0], levels)


def test_flips_spend_the_budget_on_steps_alone(rounded: Any) -> None:
    below, above = capabilities.next_steps(rounded, X)
    found = Flips(eps=0.3).perturb(rounded, X, Y, task=TASK)
    moved = found.x_adv != X
    assert moved[found.success].any(axis=1).all()
    assert ((found.x_adv == below) | (found.x_adv == above))[moved].all()
    assert (found.distances["l2"] <= 0.3 + 1e-6).all()
    pgd = make_attack("pgd[norm=l2,eps=0.3]").perturb(rounded, X, Y, task=TASK)
    square = make_attack("square[norm=l2,eps=0.3,queries=1000]").perturb(rounded, X, Y, task=TASK)
    assert found.success.sum() > max(pgd.success.sum(), square.success.sum())


def test_targets(rounded: Any) -> None:
    """What transfers under another label than the one that was wanted is no success."""
    wanted = (Y + 1) % 3
    for text in ("pgd[eps=0.3]", "stadv[steps=12]", "deepfool[budget=2]"):
        found = attack(text, rounded, target=wanted)
        assert found.success.any()
        assert (rounded.predict(found.x_adv) == wanted)[found.is_adv].all()
    rule = make_attack("stadv[steps=12,target=1]")
    found = without_gradient.perturb(rule, rounded, X, Y, task=TASK)
    others = found.is_adv & (Y != 1)
    assert others.any()
    assert (rounded.predict(found.x_adv) == 1)[others].all()


def test_where_a_gradient_serves_the_attack_is_itself(model: MLPClassifier, rounded: Any) -> None:
    filtered = make_defense("mean").wrap(model, task=TASK)
    for text, met in (("pgd", filtered), ("square[queries=9]", rounded), ("noise", rounded)):
        alone = make_attack(text).perturb(met, X, Y, task=TASK, seed=3)
        found = attack(text, met)
        assert found.x_adv.tobytes() == alone.x_adv.tobytes()
        assert found.queries == alone.queries
        assert not without_gradient.applies(make_attack(text), met)


class Given:
    """A preprocessor of one's own that has the least that a model needs, and no stand-in."""

    gradient = "identity"

    def __init__(self, model: MLPClassifier) -> None:
        self.vjp: Callable[[Floats], Any] = lambda X: model.vjp(np.round(X).astype(np.float32))


@pytest.mark.filterwarnings("ignore::fastadv.errors.GradientWarning")
def test_a_preprocessor_of_ones_own(model: MLPClassifier) -> None:
    given, text = Given(model), "pgd[eps=0.3]"
    assert ways(text, given) == ("identity", "square")
    assert ways("stadv", given, model) == ("identity", "transfer")
    alone, found = attack(text, given), attack(text, given, undefended=model)
    account = without_gradient.account(
        make_attack(text), given, X, Y, found, task=TASK, undefended=model
    )
    assert list(account.broken_by) == ["identity", "transfer", "square"]
    assert not (alone.success & ~found.success).any()
    assert (np.round(X) != X).any()

    def transform(X: Floats) -> tuple[Floats, Pullback]:
        return np.round(X), lambda dout: dout

    made = behind(model, TASK, transform, "identity")
    assert "surrogate" not in ways(text, made)
    np.testing.assert_array_equal(attack(text, made).x_adv, found.x_adv)


# -- results as one -------------------------------------------------------------------------


def result(adv: list[bool], far: list[float], passes: float = 2.0) -> EvasionResult:
    n = len(adv)
    is_adv, l2 = np.array(adv), np.array(far)
    x = np.tile(l2[:, None], (1, TASK.n_features)).astype(np.float32)
    no = np.zeros(n, bool)
    return EvasionResult(
        x, is_adv, is_adv & (l2 <= 1), no, {"l2": l2}, {"mark": l2}, {"forward": passes}
    )


def test_the_nearer_of_two_is_kept_and_the_passes_of_both_are_counted() -> None:
    threat = make_attack("deepfool").threat()
    best = result([True, False, True, True], [3.0, 0.0, 0.5, 0.7])
    found = result([True, True, False], [0.9, 2.0, 0.0], passes=8.0)
    out = improved(best, found, np.array([0, 1, 2]), threat)
    assert out.is_adv.tolist() == [True, True, True, True]
    assert out.success.tolist() == [True, False, True, True]
    assert out.distances["l2"].tolist() == [0.9, 2.0, 0.5, 0.7]
    assert out.details["mark"].tolist() == [0.9, 2.0, 0.5, 0.7]
    assert out.x_adv[:, 0].tolist() == pytest.approx([0.9, 2.0, 0.5, 0.7])
    assert out.queries == {"forward": 2 + 8 * 3 / 4}
    assert best.distances["l2"].tolist() == [3.0, 0.0, 0.5, 0.7]  # left alone
    bare = improved(best, replace(found, details={}), np.array([0, 1, 2]), threat)
    assert bare.details == {}


def test_parts_are_joined_and_taken_apart() -> None:
    whole = result([True, False, True], [0.5, 0.0, 1.5])
    parts = [rows_of(whole, np.array([0])), replace(rows_of(whole, np.array([1, 2])), queries={"forward": 5.0})]  # fmt: skip
    again = joined(parts)
    for name in ("x_adv", "is_adv", "success", "misclassified"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    assert again.distances["l2"].tolist() == again.details["mark"].tolist() == [0.5, 0.0, 1.5]
    assert again.queries == {"forward": 4.0}


def test_a_race_of_starts_goes_the_way_of_a_stand_in_once() -> None:
    """Each start would meet another stretch of the way."""
    assert make_attack("stadv").steps > 55
    assert capabilities.one_search(make_attack("stadv")) == make_attack("stadv[steps=55]")
    for text in ("stadv[steps=20]", "stadv[max_shift=1]", "stadv[tau=0.05]", "pgd[steps=90]"):
        assert capabilities.one_search(make_attack(text)) == make_attack(text)


@pytest.mark.parametrize("text", LEAST)
def test_ways_that_no_image_is_left_for_find_nothing(text: str, rounded: Any) -> None:
    wrong = (rounded.predict(X[:4]) + 1) % TASK.n_classes
    found = without_gradient.perturb(
        make_attack(text), rounded, X[:4], wrong, task=TASK, undefended=rounded.model
    )
    assert found.misclassified.all()
    assert not found.success.any()
