"""Label flips, backdoors, and what every poisoning attack says of bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp, write_npz

from fastadv import MLPClassifier, make_attack, run_grid
from fastadv.attacks.poisoning import backdoor, label_flip
from fastadv.attacks.poisoning.biggio import Biggio
from fastadv.errors import InputError
from fastadv.protocols import PoisonResult

X, Y = blobs()
X_VAL, Y_VAL = blobs(30, seed=2)


def attack(text: str) -> PoisonResult:
    return make_attack(text).poison(small_mlp(6), X, Y, X_VAL, Y_VAL, task=TASK)


def test_worst_flips_raise_the_loss_more_than_random_ones() -> None:
    def model() -> MLPClassifier:  # convex, and in full batches: the first weights hardly matter
        return MLPClassifier((), batch_size=100, max_iter=60)

    losses = []
    for text in ("label_flip[points=12,strategy=worst]", "label_flip[points=12]"):
        result = make_attack(text).poison(model(), X, Y, X_VAL, Y_VAL, task=TASK)
        p = model().fit(result.X, result.y).predict_proba(X_VAL)
        losses.append(-np.log(p[np.arange(len(Y_VAL)), Y_VAL]).mean())
    assert losses[0] > 1.1 * losses[1]


def test_worst_says_what_it_chose_and_flips_every_label() -> None:
    result = attack("label_flip[points=9,strategy=worst]")
    assert result.details["kind"] in ("random", "surest", "nearest", "coherent")
    clean = {row.tobytes(): label for row, label in zip(X, Y, strict=True)}
    for row, label in zip(result.X[result.index], result.y[result.index], strict=True):
        assert clean[row.tobytes()] != label


def test_surest_and_nearest_images_are_those_of_the_margins() -> None:
    w, b = np.array([[1.0, -1.0], [0.0, 0.0]]), np.zeros(2)
    model = MLPClassifier.from_weights([w], [b])
    x, y = np.array([[0.9, 0], [0.1, 0], [-0.2, 0], [-0.8, 0]], np.float32), np.array([0, 0, 1, 1])
    flips = label_flip._by_margin(model, x, y, 2)
    assert flips["surest"][0].tolist() == [0, 3]
    assert flips["nearest"][0].tolist() == [1, 2]
    assert flips["surest"][1].tolist() == [1, 0]


@pytest.mark.parametrize("strategy", ["random", "coherent"])
def test_a_row_is_relabelled_once(strategy: str) -> None:
    result = attack(f"label_flip[points=70,strategy={strategy},replace=true]")  # of 60 rows
    assert len(np.unique(result.index)) == len(result.index)
    assert np.all(result.y[result.index] != Y[result.index])
    assert np.count_nonzero(result.y != Y) == len(result.index) >= 15


def test_a_backdoor_stamps_copies_of_other_classes() -> None:
    result = attack("backdoor[points=10,target=1,patch=2]")
    assert result.trigger is not None
    assert np.isfinite(result.trigger).sum() == 4
    assert result.trigger.reshape(5, 4)[-2:, -2:].tolist() == [[1, 1], [1, 1]]
    assert set(result.y[result.index]) == {1}
    stamped = {row.tobytes() for row in backdoor.stamp(X[Y != 1], result.trigger)}
    assert {row.tobytes() for row in result.X[result.index]} <= stamped


def test_a_backdoor_opens() -> None:
    result = attack("backdoor[points=20,target=1,patch=2]")
    assert result.trigger is not None
    rates = [
        backdoor.success_rate(
            small_mlp(60).fit(x, y),
            X_VAL,
            Y_VAL,
            result.trigger,
            1,
        )
        for x, y in ((result.X, result.y), (X, Y))
    ]
    assert rates[0] >= 0.9
    assert rates[1] < 0.5


def test_the_grid_shows_how_often_a_trigger_works(tmp_path: Path) -> None:
    rows = run_grid(
        attacks=["backdoor[points=20,patch=2]"], defenses=["none"], samples=20,
        dataset=write_npz(tmp_path / "d.npz"), model="mlp[hidden_layer_sizes=6,max_iter=60,batch_size=16]",
        output=tmp_path / "out",
    )  # fmt: skip
    (row,) = [row for row in rows if row.kind == "poisoning"]
    assert row.status == "ok"
    assert row.success_rate is not None
    assert row.success_rate >= 0.9
    assert row.attacked_accuracy is not None
    assert row.attacked_accuracy >= 0.8


@pytest.mark.parametrize(
    ("text", "message"),
    [("backdoor[target=7]", "no class 7"), ("backdoor[patch=5]", "does not fit")],
)
def test_a_backdoor_that_cannot_be(text: str, message: str) -> None:
    reason = make_attack(text).supports(small_mlp(6), TASK)
    assert reason is not None
    assert message in reason
    with pytest.raises(InputError, match=message):
        attack(text)


@pytest.mark.parametrize("name", ["biggio", "label_flip", "backdoor"])
def test_bad_data_is_one_line(name: str) -> None:
    with_nan = X.copy()
    with_nan[3, 2] = np.nan
    poison = make_attack(f"{name}[points=2]").poison
    for x, y, x_val, y_val, message in (
        (with_nan, Y, X_VAL, Y_VAL, "X_train holds NaN"), (X, Y, X_VAL * 2, Y_VAL, "X_val holds"),
        (X, Y[:-1], X_VAL, Y_VAL, "60 images have 60 labels"), (X, Y, X_VAL[:0], Y_VAL[:0], "X_val is empty"),
        (X, Y * 0, X_VAL, Y_VAL * 0, "holds 1 class"), (X, Y * 0 + (Y > 1), X_VAL, Y_VAL, "which y_train does not"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message) as error:
            poison(small_mlp(6), x, y, x_val, y_val, task=TASK)
        assert "\n" not in str(error.value)


def test_validation_images_that_are_trained_on_are_warned_of_once_and_in_one_line() -> None:
    shared = np.concatenate([X_VAL, X[:7]]), np.concatenate([Y_VAL, Y[:7]])
    with pytest.warns(UserWarning, match="7 of 37 validation images") as caught:
        Biggio(points=1, steps=1).poison(small_mlp(6), X, Y, *shared, task=TASK)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
