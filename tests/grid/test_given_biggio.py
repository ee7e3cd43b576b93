"""biggio in grids of scikit-learn's models: rows where training has a derivative, else a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, blobs
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from fastadv import Dataset, capabilities, make_attack, run_grid, wrap
from fastadv.grid.given import untrained
from fastadv.task import Task


def noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of classes that overlap."""
    images, labels = blobs(n, seed)
    noise = np.random.default_rng(seed).normal(0, 0.3, images.shape)
    return np.clip(images + noise, 0, 1).astype(np.float32), labels


X, Y = noisy(90, 0)
X_VAL, Y_VAL = noisy(60, 2)
X_TEST, Y_TEST = noisy(300, 1)


MODELS = {
    "LogisticRegression": LogisticRegression(),
    "LinearSVC": LinearSVC(),
    "SVC": SVC(),
    "StandardScaler+SVC": make_pipeline(StandardScaler(), SVC(kernel="linear")),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_given_model_whose_training_has_a_derivative_has_a_row(name: str, data: Dataset) -> None:
    rows = run_grid(
        model=MODELS[name].fit(X, Y), dataset=data, attacks=["biggio[points=9,steps=3]"],
        defenses=["none", "knn_relabel[neighbors=5]"], samples=10, repeats=2, jobs=1,
    )  # fmt: skip
    found = [row for row in rows if row.attack.startswith("biggio")]
    assert [row.status for row in found] == ["ok", "ok"]
    assert [note.name for note in found[0].notes] == ["refit"]
    assert name in found[0].notes[0].message


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (RandomForestClassifier(5), "not RandomForestClassifier"),
        (make_pipeline(PCA(4), SVC()), "how PCA is fitted"),
        (SVC(kernel="poly"), "kernel=poly"),
    ],
)
def test_any_other_is_skipped_with_the_reason(model: Any, reason: str, data: Dataset) -> None:
    rows = run_grid(
        model=model.fit(X, Y), dataset=data, attacks=["biggio"], defenses=["none"], samples=10
    )
    (row,) = [row for row in rows if row.attack == "biggio"]
    assert row.status == "skipped"
    assert reason in str(row.reason)


@pytest.mark.parametrize("name", MODELS)
def test_its_points_do_more_harm_than_random_flips(name: str) -> None:
    """By the errors of scikit-learn's own fit, on images that the attacker does not have."""
    given = untrained(wrap(MODELS[name].fit(X, Y)), 0)
    errors = {}
    for text in ("label_flip[points=9]", "biggio[points=9,steps=20]"):
        result = make_attack(text).poison(given, X, Y, X_VAL, Y_VAL, task=TASK)
        victim = given.fit(result.X, result.y)
        errors[text[:6]] = np.mean(victim.predict(X_TEST) != Y_TEST)
    assert errors["biggio"] > errors["label_"] + 0.02


def test_a_large_set_is_attacked_on_subsets_as_by_our_own_models() -> None:
    given = untrained(wrap(SVC().fit(X, Y)), 0)
    attack = make_attack("biggio[points=9,subset_size=30,steps=2,objective=2-1]")
    result = attack.poison(given, X, Y, X_VAL, Y_VAL, task=TASK)
    assert result.details["kept"] in ("start", "moved")
    assert len(result.history) == 3
    assert result.history[-1] < result.history[0]  # towards the label that the attacker wants


def test_a_plan_counts_the_gradients_of_an_ascent() -> None:
    """Of a thousand images and ten classes a hundred and eleven of them, not the draw of labels."""
    given, task = untrained(wrap(LogisticRegression().fit(X, Y)), 0), Task((28, 28, 1), 10)

    def said(text: str, n_rows: int) -> float | None:
        return capabilities.poison_seconds(make_attack(text), given, n_rows, task)

    one = capabilities.gradient_seconds(given, 1000, task)
    assert one is not None
    assert 0.1 < one < 2
    assert said("biggio", 1000) == pytest.approx(111 * one)
    assert said("biggio[steps=10,restarts=1,labels=3]", 1000) == pytest.approx(10 * one)
    assert said("biggio", 1001) is None
    assert said("label_flip", 1000) is None
