"""Noise in the training set: what is added, what is put in place, and what the noise is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import SMALL_MLP, TASK, blobs, small_mlp, write_npz

from fastadv import make_attack, run_grid
from fastadv.errors import InputError
from fastadv.results import PoisonResult
from fastadv.task import Task

X, Y = blobs()
X_VAL, Y_VAL = blobs(30, seed=2)
WIDE = replace(TASK, bounds=(-9.0, 9.0))  # where nothing is clipped


def poison(
    text: str, task: Task = WIDE, seed: int = 0, order: np.ndarray | None = None
) -> PoisonResult:
    rows = np.arange(len(X)) if order is None else order
    attack = make_attack(text)
    return attack.poison(small_mlp(), X[rows], Y[rows], X_VAL, Y_VAL, task=task, seed=seed)


def test_it_adds_what_random_flips_add_and_noise() -> None:
    noisy, flips = poison("train_noise[points=50,sigma=0.3]"), poison("label_flip[points=50]")
    np.testing.assert_array_equal(noisy.y, flips.y)
    np.testing.assert_array_equal(noisy.origin, flips.origin)
    noise = noisy.X[noisy.index] - flips.X[flips.index]
    assert noise.size == 1000
    assert abs(noise.mean()) < 4 * 0.3 / np.sqrt(1000)
    assert noise.std() == pytest.approx(0.3, rel=4 / np.sqrt(2000))
    assert poison("train_noise[points=50,sigma=0]").X.tobytes() == flips.X.tobytes()


def test_noisy_images_stay_in_the_range_of_a_pixel() -> None:
    free, boxed = (poison("train_noise[points=50,sigma=1]", task) for task in (WIDE, TASK))
    assert free.X.min() < -0.5
    assert free.X.max() > 1.5
    np.testing.assert_array_equal(boxed.X, np.clip(free.X, 0, 1))


def test_labels_may_be_kept() -> None:
    kept = poison("train_noise[points=50,labels=kept]")
    assert kept.origin is not None
    np.testing.assert_array_equal(kept.y[kept.index], Y[kept.origin])


@pytest.mark.parametrize("labels", ["kept", "random"])
def test_rows_are_made_noisy_in_place(labels: str) -> None:
    result = poison(f"train_noise[fraction=0.3,labels={labels},replace=true]")
    assert len(result.index) == len(np.unique(result.index)) == 18
    assert np.all(np.any(result.X[result.index] != X[result.index], axis=1))
    others = np.setdiff1d(np.arange(len(X)), result.index)
    np.testing.assert_array_equal(result.X[others], X[others])
    np.testing.assert_array_equal(result.y[others], Y[others])
    assert np.all((result.y == Y)[result.index] == (labels == "kept"))


def test_the_noise_follows_from_the_seed_the_image_and_the_draw() -> None:
    """All images, each twice: the same noise in another order, two draws for the two."""
    text = "train_noise[points=120,labels=kept]"
    found = [
        {row.tobytes() for row in result.X[result.index]}
        for result in (
            poison(text), poison(text, order=np.random.default_rng(0).permutation(len(X))),
            poison(text, seed=1),
        )
    ]  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0]) == 120
    assert not found[0] & found[2]


def test_a_negative_sigma_is_refused() -> None:
    with pytest.raises(InputError, match="sigma has to be at least 0"):
        make_attack("train_noise[sigma=-0.1]")


def test_in_a_grid_it_is_a_control(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks=["train_noise[points=6]", "train_noise[points=6,replace=true]"],
        defenses=["none", "knn_relabel[neighbors=5]", "sphere_slab", "dpa[partitions=4,blur=0]"],
        dataset=write_npz(tmp_path / "d.npz", n=300), model=SMALL_MLP, samples=20,
    )  # fmt: skip
    noisy = [row for row in rows if row.kind == "poisoning"]
    assert [row.reason for row in noisy] == [None] * 8
    assert all(row.baseline_accuracy is not None for row in noisy)
    assert not any(row.notes for row in noisy), "it needs to know no defense"
    certified = {(row.attack, row.defense) for row in noisy if row.certified}
    assert certified == {("train_noise[points=6]", "dpa[partitions=4,blur=0]")}
    inside = {row.attack for row in noisy if row.oblivious_accuracy is not None}
    assert inside == {"train_noise[points=6]"}, "of added copies: what sphere_slab accepts is known"
