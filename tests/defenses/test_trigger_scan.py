"""Two populations of a class are told from one, and nothing is dropped where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp
from scipy.linalg import eigh
from sklearn.linear_model import LogisticRegression

from fastadv import MLPClassifier, load_dataset, make_attack, make_defense
from fastadv.defenses.sanitizers import trigger_scan
from fastadv.defenses.sanitizers.trigger_scan import TriggerScan
from fastadv.errors import InputError

METHODS = ["spectral", "clustering"]


def test_whitening_by_the_other_classes() -> None:
    rng = np.random.default_rng(0)
    columns = np.repeat(np.arange(3), 40)
    features = rng.normal(7, 1, (120, 3)) @ rng.normal(size=(3, 3))
    covariances = [np.cov(features[columns == c].T, bias=True) for c in range(3)]
    others = (covariances[0] + covariances[1]) / 2
    others += 0.01 * np.trace(others) / 3 * np.eye(3)
    of_last = trigger_scan.whitened(features, columns)[2]
    np.testing.assert_allclose(of_last.mean(axis=0), 0, atol=1e-9)
    found = np.linalg.eigvalsh(of_last.T @ of_last / 40)
    np.testing.assert_allclose(found, eigh(covariances[2], others, eigvals_only=True))


def test_two_means_ends_where_each_point_is_with_its_mean() -> None:
    rng = np.random.default_rng(1)
    Z = np.concatenate([rng.normal(0, 1, (70, 4)), rng.normal(4, 1, (30, 4))])
    small = trigger_scan.smaller_half(Z)
    assert small.sum() == 30
    assert small[70:].all()
    same = trigger_scan.smaller_half(np.ones((9, 2)))
    assert same.sum() == 0


def test_the_two_measures_are_their_formulas() -> None:
    scores, part = np.array([0.0, 2, 10, 12, 14]), np.array([0, 0, 1, 1, 1], dtype=bool)
    expected = 11 / np.sqrt((1 + 8 / 3) / 2)
    assert trigger_scan.ashman_d(scores, part) == pytest.approx(expected)
    a, b = np.array([1, 1, 2, 0, 2]), np.array([12, 10, 9, 11, 13])
    silhouette = trigger_scan.mean_silhouette(scores[:, None], part)
    assert silhouette == pytest.approx(np.mean((b - a) / np.maximum(a, b)))
    assert trigger_scan.ashman_d(scores, part & False) == 0
    assert trigger_scan.mean_silhouette(scores[:, None], part | True) == -1


@pytest.mark.parametrize("method", METHODS)
def test_small_clean_classes_stay_whole(method: str) -> None:
    X, y = blobs(90)
    model = small_mlp(20)
    defense = make_defense(f"trigger_scan[method={method}]")
    keep, labels = defense.screen(model, X, y, task=TASK, seed=0)
    assert keep.all()
    np.testing.assert_array_equal(labels, y)
    assert not hasattr(model, "_params")  # the cell's model stays untrained


@pytest.mark.compiled
@pytest.mark.parametrize("method", METHODS)
def test_a_trigger_on_mnist_is_found_and_its_absence_costs_nothing(method: str) -> None:
    data = load_dataset("mnist[train=4000]")
    defense = TriggerScan(method=method)  # type: ignore[arg-type]
    clean, _ = defense.screen(MLPClassifier(), data.x_train, data.y_train, task=data.task, seed=0)
    assert clean.all()
    poisoned = make_attack("backdoor[fraction=0.03,target=4]").poison(
        MLPClassifier(), data.x_train, data.y_train, data.x_val, data.y_val, task=data.task
    )
    keep, _ = defense.screen(MLPClassifier(), poisoned.X, poisoned.y, task=data.task, seed=0)
    assert not keep[poisoned.index].any()
    assert keep[:4000].mean() > 0.999


def test_a_model_without_features_is_refused() -> None:
    class Untold(LogisticRegression):
        """It can be trained, and no more."""

    reason = TriggerScan(epochs=5).supports(Untold(), TASK)
    assert reason == "trigger_scan needs a model that tells its features; Untold has no features"


def test_bad_parameters_are_one_line() -> None:
    for text, message in (
        ("trigger_scan[method=spectre]", "method has to be"),
        ("trigger_scan[separation=0]", "separation has to be"),
        ("trigger_scan[silhouette=2]", "silhouette has to be"),
        ("trigger_scan[epochs=0]", "epochs has to be"),
    ):
        with pytest.raises(InputError, match=message):
            make_defense(text)
