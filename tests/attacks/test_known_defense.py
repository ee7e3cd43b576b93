"""The rules by which poison survives a known defense, each on images where it has to hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp

from fastadv import make_attack, make_defense
from fastadv.attacks.poisoning import crowds, known, regions, surrogates
from fastadv.attacks.poisoning.backdoor import stamp
from fastadv.attacks.poisoning.problem import Problem
from fastadv.attacks.poisoning.surrogates import Points
from fastadv.defenses.preprocessors.base import PreprocessedModel
from fastadv.results import PoisonResult
from fastadv.task import Task

X, Y = blobs(300)
X_VAL, Y_VAL = blobs(60, seed=2)
LARGE = "biggio[subset_size=60,points=30]"


def poisoned(attack: str, defense: str | None = None, seed: int = 0) -> PoisonResult:
    made = None if defense is None else make_defense(defense)
    return make_attack(attack).poison(
        small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK, seed=seed, defense=made
    )


def problem(n_points: int = 30, defense: str | None = None) -> Problem:
    made = None if defense is None else make_defense(defense)
    return Problem.of(
        small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK, budget=lambda _: n_points, seed=0, defense=made
    )


@pytest.mark.parametrize("attack", [LARGE, "label_flip[strategy=coherent,points=30]"])
def test_crowds_turn_the_vote_of_neighbours_around(attack: str) -> None:
    """Random flips are taken back; crowds of copies turn more labels than there are points."""
    defense = make_defense("knn_relabel")
    wrong = {}
    for name, found in {
        "flips": poisoned("label_flip[points=30]"),
        "crowds": poisoned(attack, "knn_relabel"),
    }.items():
        keep, labels = defense.sanitize(found.X, found.y, task=TASK, seed=0)
        assert keep.all()
        wrong[name] = np.count_nonzero(labels[: len(Y)] != Y)
    assert wrong["flips"] == 0
    assert wrong["crowds"] > 30


def test_a_crowd_is_a_majority_of_the_neighbours_and_stays_in_the_ball() -> None:
    found = poisoned("biggio[points=12,steps=1,eps=0.05]", "knn_relabel[neighbors=6]")
    points = found.X[found.index]
    assert found.origin is not None
    assert np.linalg.norm(points - X[found.origin], axis=1).max() <= 0.05 + 1e-6
    posed = problem(12, "knn_relabel[neighbors=6]")
    plan = crowds.plan(posed, means=True)
    assert plan is not None
    _, copies = np.unique(crowds.craft(posed, plan).origin, return_counts=True)
    assert set(copies) == {4}
    assert crowds.size_of(make_defense("knn_relabel[neighbors=10,eta=0.8]")) == 8


def test_each_crowd_stands_under_one_wrong_label() -> None:
    posed = problem(60, "knn_relabel[neighbors=4]")
    plan = crowds.plan(posed, means=True)
    assert plan is not None
    crafted = crowds.craft(posed, plan)
    planned = dict(zip(plan["rows"], plan["labels"], strict=True))
    assert len(set(planned.values())) > 1
    assert [planned[row] for row in crafted.origin] == crafted.labels.tolist()
    assert (crafted.labels != Y[crafted.origin]).all()
    for members, row in zip(plan["crowds"], plan["rows"], strict=True):
        place = crafted.points[crafted.origin == row]
        np.testing.assert_allclose(place, [X[members].mean(axis=0)] * len(place), atol=1e-6)


@pytest.mark.parametrize("defense", ["median", "bit_depth", "mean"])
def test_what_the_victim_is_shown(defense: str) -> None:
    made = make_defense(defense)
    model = small_mlp().fit(X, Y)
    shown = known.shown(made, TASK, X_VAL)
    np.testing.assert_array_equal(made.wrap(model, task=TASK).logits(X_VAL), model.logits(shown))
    assert np.abs(shown - X_VAL).max() > 0.1
    assert known.shown(make_defense("none"), TASK, X_VAL) is X_VAL
    assert not known.filters(make_defense("smoothing"))


class Darker:
    """A defense of another package's, built on the one class for it that is kept."""

    name = "darker"

    def wrap(self, model: Any, *, task: Task) -> Any:
        def transform(X: np.ndarray) -> tuple[np.ndarray, Any]:
            return X * np.float32(0.5), lambda dout: dout * np.float32(0.5)

        return PreprocessedModel(model, transform, "exact")


def test_what_a_victim_with_a_wrapper_from_elsewhere_is_shown() -> None:
    """Also where there are more images than such a model asks about at once."""
    many, _ = blobs(2 * PreprocessedModel.CHUNK + 7)
    np.testing.assert_array_equal(known.shown(Darker(), TASK, many), many * np.float32(0.5))
    nothing = many[:0]
    assert known.shown(Darker(), TASK, nothing).shape == nothing.shape


def test_filtered_images_harm_a_victim_who_filters_more_than_what_knows_nothing_of_it() -> None:
    right = {}
    for name, defense in (("oblivious", None), ("adaptive", "bit_depth")):
        found = poisoned(LARGE, defense)
        victim = small_mlp(20).fit(found.X, found.y)
        wrapped = make_defense("bit_depth").wrap(victim, task=TASK)
        right[name] = np.mean(wrapped.predict(X_VAL) == Y_VAL)
    assert "filtered" in poisoned(LARGE, "bit_depth").details["kept"]
    assert right["adaptive"] < right["oblivious"] - 0.1


@pytest.mark.parametrize("known_to_use", ["bit_depth", "knn_relabel"])
def test_what_is_scouted_once_is_what_would_be_chosen_with_any_seed(known_to_use) -> None:
    """The images are drawn by the seed, which class they are of is not."""
    attack, defense = make_attack(LARGE), make_defense(known_to_use)
    plan = attack.scout(small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK, defense=defense)
    for seed in (0, 5):
        whole = poisoned(LARGE, known_to_use, seed)
        by_plan = attack.poison(
            small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK, seed=seed, defense=defense, plan=plan
        )
        np.testing.assert_array_equal(whole.X, by_plan.X)
        np.testing.assert_array_equal(whole.y, by_plan.y)


def test_a_region_comes_once_and_its_innermost_quarter_again() -> None:
    for defense, once in ((None, 24), ("adv_training", 15)):
        region = regions.ranked(problem(30, defense))[0]
        rows, copies = np.unique(region.rows, return_counts=True)
        assert len(rows) == once
        assert len(region.rows) == 30
        assert set(region.rows[copies.sum() - 30 : 30 - once]) <= set(rows[copies == 2])
        assert set(Y[rows]) == {region.source}


def test_where_nothing_beats_random_flips_they_are_the_baselines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def flips_win(_: Problem, candidates: dict[str, Points]) -> tuple[str, float]:
        return next(iter(candidates)), 0.0

    monkeypatch.setattr(surrogates, "most_harmful", flips_win)
    for defense in (None, "bit_depth"):
        for seed in (0, 3):
            found = poisoned(LARGE, defense, seed)
            flips = make_attack(LARGE).baseline(len(X)).poison(
                small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK, seed=seed
            )  # fmt: skip
            assert found.details["kept"] == "random flips"
            assert found.X.tobytes() == flips.X.tobytes()
            assert found.y.tobytes() == flips.y.tobytes()


def test_a_narrow_lead_over_the_control_is_trained_on_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harms = {"a": [0.100, 0.110, 0.110], "b": [0.104, 0.100, 0.100], "c": [0.01]}
    asked: list[tuple[str, int]] = []

    def harm(_: Problem, name: str, labels: None, seed: int) -> float:
        assert labels is None
        asked.append((name, seed))
        return harms[name][seed]

    monkeypatch.setattr(surrogates, "harm", harm)
    candidates = {name: (name, None) for name in harms}
    chosen, mean = surrogates.most_harmful(problem(), candidates)  # type: ignore[arg-type]
    assert chosen == "a"
    assert mean == pytest.approx(0.32 / 3)
    assert ("c", 1) not in asked
    harms["b"][0] = 0.2
    asked.clear()
    assert surrogates.most_harmful(problem(), candidates) == ("b", 0.2)  # type: ignore[arg-type]
    assert len(asked) == 3


def test_a_backdoor_shows_what_the_victim_will_be_shown() -> None:
    found = poisoned("backdoor[points=30,patch=2]", "bit_depth")
    assert found.origin is not None
    assert found.trigger is not None
    wanted = known.shown(make_defense("bit_depth"), TASK, stamp(X[found.origin], found.trigger))
    np.testing.assert_array_equal(found.X[found.index], wanted)


def test_a_backdoor_outvotes_the_neighbours_and_prefers_what_a_region_accepts() -> None:
    copies = np.unique(
        poisoned("backdoor[points=30,patch=2]", "knn_relabel").origin, return_counts=True
    )[1]
    assert set(copies) == {6}
    defense = make_defense("sphere_slab")
    region = defense.region(X_VAL, Y_VAL, task=TASK)
    found = poisoned("backdoor[points=30,patch=1]", "sphere_slab")
    assert found.origin is not None
    assert found.trigger is not None
    others = np.flatnonzero(Y != 0)
    n_inside = region.accepts(stamp(X[others], found.trigger), np.zeros(len(others))).sum()
    stamped = stamp(X[found.origin], found.trigger)
    assert region.accepts(stamped, np.zeros(30)).sum() == min(30, n_inside)


class DropsTriples:
    """A defense that trains without images of which there are three: a region comes twice more."""

    name = "drops_triples"

    def fit(self, model: Any, X: np.ndarray, y: np.ndarray, *, task: Task, seed: int) -> Any:
        _, group, count = np.unique(X, axis=0, return_inverse=True, return_counts=True)
        few = count[group.ravel()] < 3
        return model.fit(X[few], y[few])


class FitsAll(DropsTriples):
    def fit(self, model: Any, X: np.ndarray, y: np.ndarray, *, task: Task, seed: int) -> Any:
        return model.fit(X, y)


@pytest.mark.parametrize(("defense", "kept"), [(FitsAll, "start"), (DropsTriples, "random flips")])
def test_what_does_most_harm_is_told_by_models_that_train_as_the_victim(
    defense: type, kept: str
) -> None:
    plan = make_attack("biggio[subset_size=60,points=90]").scout(
        small_mlp(), X, Y, X_VAL, Y_VAL, task=TASK, defense=defense()
    )
    assert plan["kept"] == kept


def test_both_ends_of_a_class_are_told_by_one_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    found, first = [], regions._first_component
    monkeypatch.setattr(
        regions, "_first_component", lambda images: found.append(len(images)) or first(images)
    )
    ranked = regions.ranked(problem())
    assert len(ranked) == 2 * len(found) == 2 * len(np.unique(Y))
