"""Label flips, backdoors, and what every poisoning attack says of bad input."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import TASK, blobs, small_mlp, write_npz

from fastadv import MLPClassifier, make_attack, run_grid, threat
from fastadv.attacks.poisoning import backdoor, label_flip
from fastadv.attacks.poisoning.biggio import Biggio
from fastadv.attacks.poisoning.label_flip import LabelFlip
from fastadv.errors import InputError
from fastadv.grid.result import GridResult, read_result
from fastadv.grid.row import Row
from fastadv.grid.store import read_samples
from fastadv.metrics import wilson_interval
from fastadv.report.cells import make_sheets
from fastadv.report.html import grid_html
from fastadv.results import PoisonResult

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
    made = make_attack("backdoor[points=20,target=1,patch=2]")
    opened, clean = (
        made.evaluate(small_mlp(60).fit(x, y), X_VAL, Y_VAL, trigger=result.trigger)
        for x, y in ((result.X, result.y), (X, Y))
    )
    assert opened.success_rate >= 0.9
    assert clean.success_rate < 0.5
    assert np.mean(opened.predicted == Y_VAL) >= 0.8
    assert opened.survives.mean() < 0.5 < clean.survives.mean()
    with pytest.raises(InputError, match="judged with its trigger"):
        made.evaluate(small_mlp(6).fit(X, Y), X_VAL, Y_VAL)


class Says:
    """A model that says 1 of every image with a patch, else what the first pixel says."""

    classes_ = np.arange(3)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.where(x[:, -1] == 1, 1, np.rint(10 * x[:, 0])).astype(np.int64)


def test_an_image_survives_a_backdoor_if_it_is_right_and_does_not_obey() -> None:
    """Of 3 classes: right, wrong, and the target's own, with a model that obeys, and one that does not."""
    x, y = np.zeros((5, TASK.n_features), np.float32), np.array([0, 2, 1, 2, 1])
    x[:, 0] = np.array([0, 2, 1, 0, 0]) / 10  # what it says without the trigger: two are wrong
    made = make_attack("backdoor[target=1,patch=2]")
    found = made.evaluate(Says(), x, y, trigger=made.trigger(TASK))
    assert found.predicted.tolist() == [0, 2, 1, 0, 0]
    assert found.triggered.tolist() == [1] * 5
    assert found.survives.tolist() == [False, False, True, False, False]
    assert found.success_rate == 1.0
    found = made.evaluate(Says(), x, y, trigger=np.full(TASK.n_features, np.nan, np.float32))
    assert found.survives.tolist() == [True, True, True, False, False]
    assert found.success_rate == 0.0
    found = made.evaluate(Says(), x[2:3], y[2:3], trigger=made.trigger(TASK))
    assert (found.survives.tolist(), found.success_rate) == ([True], None)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Row]:
    """A grid's folder with a backdoor that works, and its row."""
    folder = tmp_path_factory.mktemp("backdoor")
    rows = run_grid(
        repeats=1, attacks=["backdoor[points=20,patch=2]"], defenses=["none", "dpa[partitions=5,blur=0]"],
        samples=20, dataset=write_npz(folder / "d.npz"), output=folder / "out",
        model="mlp[hidden_layer_sizes=6,max_iter=60,batch_size=16]",
    )  # fmt: skip
    assert [row.status for row in rows] == ["ok"] * 4
    # What is certified of an image is not certified of it with a trigger on.
    assert [row.certified is None for row in rows] == [True, False, True, True]
    return folder / "out", rows[2]


def test_the_figure_of_a_backdoor_counts_the_images_that_obey(opened: tuple[Path, Row]) -> None:
    folder, row = opened
    assert row.threat == threat.trigger(0.01, 20)
    assert str(row.threat) == "trigger_points(20)"
    assert row.benign_accuracy.value >= 0.8
    assert row.success_rate.value >= 0.9
    assert row.attacked_accuracy.value < 0.5 < row.baseline_accuracy.value
    samples = read_samples(folder, row.id)
    assert samples is not None
    right, others = samples["attacked"] == samples["y"], samples["y"] != 0
    obeys = others & (samples["triggered"] == 0)
    np.testing.assert_array_equal(samples["robust"], right & ~obeys)
    for figure, count, n in (
        (row.attacked_accuracy, (right & ~obeys).sum(), len(right)),
        (row.benign_accuracy, right.sum(), len(right)),
        (row.success_rate, obeys.sum(), others.sum()),
    ):
        assert figure.value == count / n
        assert (figure.low, figure.high) == wilson_interval(int(count), int(n))
        assert (figure.n_images, figure.n_runs) == (n, 1)


def test_a_backdoor_that_works_stands_in_the_table_and_has_the_colour_of_harm(
    opened: tuple[Path, Row],
) -> None:
    folder, row = opened
    (sheet,) = make_sheets(GridResult((row,)))
    lines = [line.text for line in sheet.rows[0].cells[0].lines]
    under, obey, benign = (
        f"{100 * figure.value:.1f}"
        for figure in (row.attacked_accuracy, row.success_rate, row.benign_accuracy)
    )
    assert lines[0] == f"{under} obey {obey}"
    assert f"benign {benign}" in lines
    assert "obey: share of triggered images" in sheet.caption
    harm = re.findall(r'data-harm="([\d.]+)"', grid_html(read_result(folder)))
    assert float(harm[2]) > 0.3 > float(harm[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [("backdoor[target=7]", "no class 7"), ("backdoor[patch=5]", "does not fit")],
)
def test_a_backdoor_that_cannot_be(text: str, message: str) -> None:
    reason = make_attack(text).supports(small_mlp(6), replace(TASK, class_names=tuple("012")))
    assert reason is not None
    assert message in reason
    with pytest.raises(InputError, match=message):
        attack(text)


@pytest.mark.parametrize(
    "text",
    [
        "biggio", "backdoor", "train_noise", "train_noise[replace=true]",
        "label_flip[strategy=coherent]", "label_flip[strategy=worst,replace=true]",
    ],
)  # fmt: skip
def test_an_attack_is_compared_with_as_many_random_flips(text: str) -> None:
    attack = make_attack(text)
    n = attack.n_points(1000)
    assert n == (10 if text == "backdoor" else 30)
    assert attack.baseline(1000) == LabelFlip(points=n)
    assert replace(attack, fraction=type(attack).fraction, points=7).n_points(1000) == 7


def test_random_flips_have_no_baseline() -> None:
    assert LabelFlip().baseline(1000) is None
    assert LabelFlip(replace=True, points=5).baseline(1000) is None


@pytest.mark.parametrize("text", ["biggio", "backdoor", "train_noise", "label_flip"])
def test_a_budget_of_less_than_one_point_is_refused(text: str) -> None:
    attack = make_attack(text)
    with pytest.raises(InputError, match="of 15 images is less than one point"):
        attack.n_points(15)
    if text != "label_flip":
        with pytest.raises(InputError, match="of 15 images is less than one point"):
            attack.baseline(15)


def test_an_attack_says_whether_it_changes_rows_in_place() -> None:
    in_place = ["label_flip[replace=true]", "train_noise[replace=true]"]
    assert all(make_attack(text).replaces for text in in_place)
    adding = ["label_flip", "train_noise", "biggio", "backdoor"]
    assert not any(make_attack(text).replaces for text in adding)


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
