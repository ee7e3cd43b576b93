"""Neighbours of a set that is nearly a known one: the same to the bit as of a set never seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import TASK, UNCOMPILED, blobs

from fastadv import make_defense, neighbors
from fastadv.defenses.sanitizers import knn_relabel
from fastadv.errors import InputError
from fastadv.protocols import SurveyingSanitizer

RNG = np.random.default_rng(3)
N = 60 if UNCOMPILED else 1500
X, Y = blobs(N)
TRUSTED, _ = blobs(40, seed=2)
FAR, _ = blobs(N, seed=7)


def changed_set(replaced: int, added: int, repeated: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Replace rows that lie side by side, add new ones, and add one of these some times more."""
    near = np.argsort(((X - X[5]) ** 2).sum(axis=1))[:replaced]
    x = np.concatenate([X, FAR[:added], np.repeat(X[3:4], repeated, axis=0)])
    x[near] = FAR[-len(near) :] if replaced else x[near]
    return x, np.resize(Y, len(x)), near


CASES = [(0, 0, 0), (0, 5, 0), (0, 40, 30), (20, 0, 0), (15, 9, 15), (N // 2, 0, 0)]


@pytest.mark.parametrize("case", CASES)
def test_lists_follow_a_set_that_changes(case: tuple[int, int, int]) -> None:
    x, _, changed = changed_set(*case)
    known = neighbors.nearest_others(X, 8)
    ours = neighbors.nearest_after(known, x, changed, 4)
    anew = neighbors.nearest_others(x, 4)
    np.testing.assert_array_equal(ours.index, anew.index)
    np.testing.assert_array_equal(ours.product, anew.product)
    gaps = ((x[:, None].astype(float) - x[None].astype(float)) ** 2).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    np.testing.assert_allclose(ours.distances(x), np.sqrt(np.sort(gaps, axis=1)[:, :4]), atol=2e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("text", ["components=3", "components=none", "neighbors=1,eta=0.9"])
def test_relabelling_from_a_survey_is_relabelling_anew(
    text: str, case: tuple[int, int, int]
) -> None:
    defense = make_defense(f"knn_relabel[{text}]")
    assert isinstance(defense, SurveyingSanitizer)
    x, y, changed = changed_set(*case)
    flipped = np.where(RNG.random(len(y)) < 0.2, (y + 1) % 3, y)
    nothing = np.empty(0, dtype=np.int64)
    found = []
    for surveyed, rows in ((X, changed), (x, nothing)):
        survey = defense.survey(surveyed, trusted=TRUSTED, task=TASK)
        found.append(defense.sanitize_from(survey, x, flipped, rows, task=TASK, seed=0))
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert found[0][0].all()
    assert (found[0][1] != flipped).any()


def test_only_new_points_are_met_by_those_whose_neighbours_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met = []
    search = neighbors.Neighbors.meet

    def counted(self: Any, queries: np.ndarray, own: np.ndarray, points: Any) -> None:
        met.append((len(queries), len(points.numbers)))
        search(self, queries, own, points)

    x, _, changed = changed_set(2, 7, 0)
    known = neighbors.nearest_others(X, 8)
    monkeypatch.setattr(neighbors.Neighbors, "meet", counted)
    neighbors.nearest_after(known, x, changed, 4)
    assert met == [(N - 2, 9), (9, N + 7)]


def test_poison_does_not_turn_the_components_of_trusted_images() -> None:
    defense: Any = make_defense("knn_relabel[components=3]")
    x = np.concatenate([X, np.ones((N // 2, X.shape[1]), np.float32)])
    first, second = (defense.survey(rows, trusted=TRUSTED, task=TASK) for rows in (X, x))
    np.testing.assert_array_equal(first["points"], second["points"][:N])
    by_itself = defense.survey(x, trusted=x, task=TASK)
    assert not np.array_equal(by_itself["basis"], second["basis"])


def test_images_on_components_are_their_products_in_any_set() -> None:
    basis = RNG.normal(size=(X.shape[1], 5)).astype(np.float32)
    together = knn_relabel._on(basis, X)
    np.testing.assert_allclose(together, X.astype(float) @ basis, atol=1e-5)
    for rows in (slice(0, 1), slice(3, 40), slice(7, 8)):
        np.testing.assert_array_equal(knn_relabel._on(basis, X[rows]), together[rows])


def test_too_few_images_are_one_line() -> None:
    defense: Any = make_defense("knn_relabel[neighbors=5]")
    for n in (1, 4):
        survey = defense.survey(X[:n], trusted=TRUSTED, task=TASK)
        with pytest.raises(InputError, match=f"5 neighbors need more than {n} images"):
            defense.sanitize_from(survey, X[:n], Y[:n], np.empty(0, int), task=TASK, seed=0)
    _, labels = defense.sanitize_from(survey, X, Y, np.empty(0, int), task=TASK, seed=0)
    np.testing.assert_array_equal(
        labels,
        defense.sanitize_from(
            defense.survey(X, trusted=TRUSTED, task=TASK), X, Y, np.empty(0, int), task=TASK, seed=0
        )[1],
    )
