"""Sanitizers against what their formulas say, image by image, and what the grid says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import SMALL_MLP, TASK, blobs, small_mlp, write_npz

from fastadv import MLPClassifier, make_attack, make_defense, run_grid
from fastadv.defenses.sanitizers.loss_trim import LossTrim
from fastadv.defenses.sanitizers.outlier import Outlier
from fastadv.defenses.sanitizers.sphere_slab import SphereSlab
from fastadv.errors import InputError
from fastadv.grid import cleaning
from fastadv.protocols import RegionSanitizer

X, Y = blobs(60)
X_VAL, Y_VAL = blobs(90, seed=2)
STRANGE = np.clip(X + np.random.default_rng(5).normal(0, 0.06, X.shape), 0, 1).astype(np.float32)
REGIONS = ["outlier", "sphere_slab", "sphere_slab[slab=false]"]


def kth_distance(x: np.ndarray, points: np.ndarray, k: int) -> float:
    return float(np.sort(np.linalg.norm(points.astype(float) - x, axis=1))[k - 1])


def test_outliers_are_far_from_their_fifth_neighbour() -> None:
    keep, labels = Outlier(keep=0.8).sanitize(X, Y, task=TASK, seed=0)
    np.testing.assert_array_equal(labels, Y)
    for label in range(3):
        rows = np.flatnonzero(label == Y)
        scores = np.array([kth_distance(X[i], X[rows[rows != i]], 5) for i in rows])
        assert set(rows[~keep[rows]]) == set(rows[np.argsort(scores)[-3:]])  # 0.8 * 19: 15.2


def test_outliers_by_trusted_images() -> None:
    region = Outlier(keep=0.9).region(X_VAL, Y_VAL, task=TASK)
    accepted = region.accepts(STRANGE, Y)
    for label in range(3):
        trusted = X_VAL[label == Y_VAL]
        own = [kth_distance(x, np.delete(trusted, i, axis=0), 5) for i, x in enumerate(trusted)]
        threshold = np.sort(own)[27]  # 0.9 of the 29 gaps between 30 images: 26.1
        scores = np.array([kth_distance(x, trusted, 5) for x in STRANGE[label == Y]])
        np.testing.assert_array_equal(accepted[label == Y], scores <= threshold + 1e-6)
    assert 0 < accepted.mean() < 1


def test_the_sphere_and_the_slab_are_the_formula() -> None:
    region = SphereSlab(keep=0.8).region(X_VAL, Y_VAL, task=TASK)
    means = [X_VAL[c == Y_VAL].mean(axis=0, dtype=float) for c in range(3)]
    accepted = region.accepts(STRANGE, Y)
    for c in range(3):
        way = means[c] - (sum(means) - means[c]) / 2
        gaps, trusted = STRANGE[c == Y] - means[c], X_VAL[c == Y_VAL] - means[c]
        r = np.quantile(np.linalg.norm(trusted, axis=1), 0.8, method="higher")
        s = np.quantile(np.abs(trusted @ way), 0.8, method="higher")
        inside = (np.linalg.norm(gaps, axis=1) <= r) & (np.abs(gaps @ way) <= s)
        np.testing.assert_array_equal(accepted[c == Y], inside)


def test_for_two_classes_the_slab_is_the_papers() -> None:
    x, y = X_VAL[Y_VAL < 2], Y_VAL[Y_VAL < 2]
    region = SphereSlab().region(x, y, task=TASK)
    way = x[y == 0].mean(axis=0, dtype=float) - x[y == 1].mean(axis=0, dtype=float)
    way /= np.linalg.norm(way)
    np.testing.assert_allclose(region.directions, [way, -way], atol=1e-9)


@pytest.mark.parametrize("text", REGIONS)
def test_what_is_projected_is_accepted_and_what_is_accepted_stays(text: str) -> None:
    defense = make_defense(text)
    assert isinstance(defense, RegionSanitizer)
    region = defense.region(X_VAL, Y_VAL, task=TASK)
    wrong = (Y + 1) % 3  # far outside
    x = X.copy()
    projected = region.project(x, wrong)
    np.testing.assert_array_equal(x, X)
    assert not region.accepts(X, wrong).any()
    assert region.accepts(projected, wrong).all()
    assert projected.min() >= 0
    assert projected.max() <= 1
    again = region.project(projected, wrong)
    np.testing.assert_allclose(again, projected, atol=1e-3)
    unmoved = region.project(X_VAL, Y_VAL)
    moved = np.linalg.norm(unmoved - X_VAL, axis=1) > 1e-3
    assert not (moved & region.accepts(X_VAL, Y_VAL)).any()


def test_a_projection_onto_the_sphere_is_the_nearest_point() -> None:
    region = SphereSlab(slab=False).region(X_VAL, Y_VAL, task=TASK)
    inner = np.clip(X, 0.2, 0.8)  # so that the box does not matter
    wrong = (Y + 1) % 3
    projected = region.project(inner, wrong)
    for x, found, label in zip(inner, projected, wrong, strict=True):
        way = x - region.means[label]
        nearest = region.means[label] + way * region.radii[label] / np.linalg.norm(way)
        np.testing.assert_allclose(found, nearest, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outlier[neighbors=0]", "neighbors has to be"), ("outlier[keep=0]", "keep has to be"),
        ("sphere_slab[keep=1.5]", "keep has to be"), ("loss_trim[fraction=0]", "fraction has to be"),
        ("loss_trim[rounds=0]", "rounds has to be"), ("loss_trim[epochs=0]", "epochs has to be"),
    ],
)  # fmt: skip
def test_bad_parameters_are_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_defense(text)


def test_too_few_images_of_a_class_are_one_line() -> None:
    with pytest.raises(InputError, match="5 neighbors need more than 4 images"):
        Outlier().region(X_VAL[:12], Y_VAL[:12], task=TASK)
    with pytest.raises(InputError, match="1 class"):
        SphereSlab().region(X_VAL[:12], np.zeros(12, dtype=np.int64), task=TASK)


def test_trimming_ends_at_a_fixed_point_without_the_flips() -> None:
    class Losses:
        """A model that knows the true labels and minds what is wrong."""

        classes_ = np.arange(3)
        max_iter = 10
        fits = 0

        def get_params(self, deep: bool = True) -> dict[str, object]:
            return {}

        def fit(self, X: np.ndarray, y: np.ndarray) -> Losses:
            Losses.fits += 1
            return self

        def logits(self, X: np.ndarray) -> np.ndarray:
            return np.eye(3)[[np.flatnonzero((x == X).all(axis=1))[0] % 3 for x in X]] * 5

    y = Y.copy()
    y[:6] = (y[:6] + 1) % 3
    keep, labels = LossTrim(fraction=0.111).screen(Losses(), X, y, task=TASK, seed=0)
    np.testing.assert_array_equal(labels, y)
    assert np.flatnonzero(~keep).tolist() == [0, 1, 2, 3, 4, 5]
    assert Losses.fits == 2


def test_trimming_catches_flips_under_a_perceptron() -> None:
    y = Y.copy()
    y[[3, 17, 40]] = (y[[3, 17, 40]] + 1) % 3
    model = small_mlp(40)
    keep, _ = LossTrim(fraction=0.06, epochs=40).screen(model, X, y, task=TASK, seed=0)
    assert not keep[[3, 17, 40]].any()
    assert keep.sum() == round(60 / 1.06)


def test_shares_of_caught_and_lost() -> None:
    y = np.array([0, 1, 2, 0, 1, 1, 2, 2, 1])
    poison, truth = np.array([5, 6, 7, 8]), np.array([0, 0, 0, 1])
    keep = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1], dtype=bool)  # drops a clean one and a poison
    labels = np.array([0, 2, 2, 0, 1, 1, 0, 1, 1])  # a clean one wrong; one back; one to another
    found = cleaning.shares(keep, labels, y, poison, truth)
    # The last was never away from its true label: nothing has been done about it.
    assert found == {"caught": 2 / 4, "lost": 2 / 5, "relabelled": 3 / 7}
    assert cleaning.shares(keep, labels, y, poison, None)["caught"] == 1 / 4
    assert "caught" not in cleaning.shares(keep, labels, y, poison[:0], None)


def dataset(path: Path) -> str:
    """The file of small images, with enough that are held out."""
    write_npz(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays, x_val=X_VAL.reshape(-1, 5, 4), y_val=Y_VAL)
    return str(path)


def test_what_leaves_nothing_is_a_row_with_a_reason(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks=["fgsm"], defenses=["outlier", "sphere_slab"], samples=20,
        dataset=write_npz(tmp_path / "d.npz"), model=SMALL_MLP,
    )  # fmt: skip
    assert [row.status for row in rows] == ["failed"] * 4
    assert "5 neighbors need more than 3 images" in (rows[0].reason or "")
    assert "sphere_slab leaves no image of class 0" in (rows[1].reason or "")


def test_the_grid_says_what_was_caught_and_lost(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks=["label_flip[points=6]", "fgsm"], defenses=["none", "sphere_slab", "knn_relabel[neighbors=5]"],
        samples=20, dataset=dataset(tmp_path / "d.npz"), model=SMALL_MLP,
    )  # fmt: skip
    found = {(row.kind, row.defense): row.sanitized for row in rows}
    oblivious = {row.defense for row in rows if row.oblivious_accuracy is not None}
    assert oblivious == {"sphere_slab"}  # for evasion, no sanitizer has anything to be oblivious of
    assert found["poisoning", "none"] is None
    assert found["evasion", "sphere_slab"] is None
    assert set(found["none", "sphere_slab"] or {}) == {"lost", "relabelled"}
    inside, relabelled = (
        found["poisoning", "sphere_slab"],
        found["poisoning", "knn_relabel[neighbors=5]"],
    )
    assert inside is not None
    assert relabelled is not None
    assert inside["caught"] == 0.0  # points that are kept inside what it accepts
    # flips between clusters that lie far apart
    assert inside["caught_oblivious"] == relabelled["caught"] == 1.0
    assert max(inside["lost"], relabelled["lost"]) < 0.3


def test_an_oblivious_attack_is_the_same_attack_as_against_no_defense(tmp_path: Path) -> None:
    """Its poison is chosen once, for every defense."""
    out = tmp_path / "out"
    rows = run_grid(
        repeats=1, attacks=["label_flip[points=6]", "label_flip[points=6,replace=true]"],
        defenses=["none", "outlier", "sphere_slab"], samples=20, output=out,
        dataset=dataset(tmp_path / "d.npz"), model=SMALL_MLP,
    )  # fmt: skip
    kept = [dict(np.load(path)) for path in (out / "stages").glob("*.npz")]
    poisons = [arrays for arrays in kept if "rows" in arrays]
    # The flips, and those in place, which move no image; those inside a region go with their row.
    assert len(poisons) == 2
    assert [row.oblivious_accuracy is None for row in rows[3:]] == [True, False, False] + [True] * 3


@pytest.mark.compiled
def test_gradients_through_training_stay_inside_too() -> None:
    x, y = blobs(40)
    known = make_defense("sphere_slab")
    region = known.region(X_VAL, Y_VAL, task=TASK)
    attack, model = make_attack("biggio[points=4,steps=5]"), MLPClassifier((4,), max_iter=4)
    found = [
        attack.poison(model, x, y, X_VAL, Y_VAL, task=TASK, defense=defense)
        for defense in (None, known)
    ]
    inside = [region.accepts(f.X[f.index], f.y[f.index]).mean() for f in found]
    assert inside[0] < 1
    assert inside[1] == 1
    assert found[1].history[-1] > found[1].history[0]


def test_on_many_images_they_stay_inside_as_well() -> None:
    x, y = blobs(150)
    known = make_defense("outlier")
    attack = make_attack("biggio[points=12,steps=1,subset_size=60,regions=1]")
    found = attack.poison(
        MLPClassifier((4,), max_iter=2), x, y, X_VAL, Y_VAL, task=TASK, defense=known
    )
    region = known.region(X_VAL, Y_VAL, task=TASK)
    assert region.accepts(found.X[found.index], found.y[found.index]).all()
    assert found.origin is not None
    assert (y[found.origin] != found.y[found.index]).all()
