"""Columns that are no pixels: how they are scaled, who can attack and defend them, who cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastadv import Dataset, InputError, Task, capabilities, load_dataset, registry, run_grid
from fastadv.cli.app import main
from fastadv.columns import Columns
from fastadv.datasets import open_shared, share
from fastadv.models.mlp import MLPClassifier

RNG = np.random.default_rng(0)
N = 240


def table() -> tuple[Any, Any]:
    """Three columns of different units; the class hangs on the first two."""
    x = RNG.normal(size=(N, 3)) * [1, 100, 0.01] + [0, 1000, 5]
    return x, np.array(["no", "yes"])[(x[:, 0] + (x[:, 1] - 1000) / 100 > 0).astype(int)]


def made() -> Dataset:
    return Dataset.from_arrays(*table(), name="table")


def test_each_column_is_scaled_by_its_training_rows() -> None:
    x, y = table()
    data = Dataset.from_arrays(x[:160], y[:160], x_test=x[160:], y_test=y[160:])
    columns = data.task.columns
    assert columns is not None
    assert columns.names == ("1", "2", "3")
    low, high = np.array(columns.low), np.array(columns.high)
    assert data.x_train.min(axis=0).tolist() == [0, 0, 0]
    assert data.x_train.max(axis=0).tolist() == [1, 1, 1]
    wanted = np.clip((x[160:] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(data.x_test, wanted, atol=1e-6)
    held_out = np.array([row for row in x[:160] if not (np.abs((row - low) / (high - low) - data.x_train) < 1e-6).all(axis=1).any()])  # fmt: skip
    assert len(held_out) == len(data.x_val) == 13
    others = np.concatenate([held_out, x[160:]])
    beyond = np.count_nonzero((others < low) | (others > high))
    assert beyond > 0
    assert f"{beyond} values of other rows were beyond it" in data.notes[1]
    assert data.notes[0].startswith("each of 3 columns goes from 0 to 1 over the training rows")
    assert data.class_names == ("no", "yes")


def test_a_table_is_what_the_same_arrays_are(tmp_path: Path) -> None:
    x, y = table()
    x = x.astype(np.float32)
    lines = ["a,kind,b,c", *(f"{p!r},{k},{q!r},{r!r}" for (p, q, r), k in zip(x.tolist(), y, strict=True))]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = load_dataset(f"{tmp_path / 't.csv'}[label=kind]")
    assert data.task.columns is not None
    assert data.task.columns.names == ("a", "b", "c")
    wanted = Dataset.from_arrays(x, y)
    for key in ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(data, key), getattr(wanted, key))
    narrow = load_dataset(f"{tmp_path / 't.csv'}[label=kind,train=20]")
    assert narrow.task.columns == data.task.columns, "the scale is that of all training rows"
    share(data, tmp_path / "shared")
    assert open_shared(tmp_path / "shared").task == data.task


def test_whole_numbers_are_said() -> None:
    x, y = table()
    x[:, 1] = np.round(x[:, 1])
    data = Dataset.from_arrays(x, y)
    assert data.task.columns is not None
    assert data.task.columns.whole == (1,)
    assert "whole numbers stay whole numbers in 1 column (2)" in data.notes
    assert not any("whole" in note for note in made().notes)


def test_columns_have_the_names_that_are_given() -> None:
    data = Dataset.from_arrays(*table(), columns=["age", "income", "height"])
    assert data.task.columns is not None
    assert data.task.columns.names == ("age", "income", "height")
    with pytest.raises(InputError, match=r"have shape \(240, 3\), expected \(240, 2\)"):
        Dataset.from_arrays(*table(), columns=["age", "income"])


def test_faults() -> None:
    x, y = table()
    for column, value, says in (
        (1, 3.0, "column '2' has one value in all training rows; leave it out"),
        (0, np.nan, "train columns hold other things than finite numbers"),
    ):
        wrong = x.copy()
        wrong[:, column] = value
        with pytest.raises(InputError, match=says):
            Dataset.from_arrays(wrong, y)
    with pytest.raises(InputError, match=r"test columns have shape \(10, 2\), expected \(10, 3\)"):
        Dataset.from_arrays(x, y, x_test=x[:10, :2], y_test=y[:10])
    with pytest.raises(
        InputError, match=r"2 columns have image_shape=\(1, 2, 1\), got \(1, 3, 1\)"
    ):
        Task((1, 3, 1), 2, columns=Columns(("a", "b"), (0, 0), (1, 1)))


PIXELS = {"attack": {"stadv", "spatial", "backdoor"}, "defense": {"median", "mean"}}


@pytest.mark.parametrize("what", PIXELS)
def test_who_needs_neighbouring_pixels(what: str) -> None:
    task, model = made().task, MLPClassifier()
    reasons = {
        entry.name: capabilities.no_pixels(registry.make(what, entry.name), task)
        for entry in registry.REGISTRY[what]
    }
    assert {name for name, reason in reasons.items() if reason} == PIXELS[what]
    for name in PIXELS[what]:
        thing = registry.make(what, name)
        reason = f"{name} needs neighbouring pixels, and the data are columns of a table"
        assert capabilities.supports(thing, model, task) == reason
        assert capabilities.no_pixels(thing, Task((1, 3, 1), 2)) is None


def test_nobody_goes_past_the_reason() -> None:
    data = made()
    model = MLPClassifier(hidden_layer_sizes=(4,), max_iter=2).fit(data.x_train, data.y_train)
    parts = (data.x_train, data.y_train, data.x_val, data.y_val)
    for call in (
        lambda: registry.make("attack", "stadv").perturb(model, data.x_test, data.y_test, task=data.task, seed=0),
        lambda: registry.make("attack", "spatial").perturb(model, data.x_test, data.y_test, task=data.task, seed=0),
        lambda: registry.make("attack", "backdoor").poison(model, *parts, task=data.task),
        lambda: registry.make("defense", "median").wrap(model, task=data.task),
        lambda: registry.make("defense", "mean").wrap(model, task=data.task),
    ):  # fmt: skip
        with pytest.raises(InputError, match="needs neighbouring pixels"):
            call()


def test_voters_do_not_blur_columns() -> None:
    data = made()
    plain, blurred = (
        registry.make("defense", f"dpa[partitions=5{more}]").fit(
            MLPClassifier(hidden_layer_sizes=(4,), max_iter=2, random_state=0),
            data.x_train, data.y_train, task=data.task, seed=0,
        )
        for more in (",blur=0", "")
    )  # fmt: skip
    np.testing.assert_array_equal(plain.predict(data.x_test), blurred.predict(data.x_test))


@pytest.mark.compiled
def test_a_grid_on_columns(tmp_path: Path) -> None:
    result = run_grid(
        dataset=made(), model="mlp[hidden_layer_sizes=8,max_iter=30]", samples=40, repeats=1,
        attacks="fgsm,square[queries=20],deepfool,stadv[budget=1],label_flip,biggio[points=2]",
        defenses="none,knn_relabel,dpa[partitions=5],median", output=tmp_path,
    )  # fmt: skip
    statuses = {
        (row.attack.partition("[")[0], row.defense.partition("[")[0]): row.status for row in result
    }
    assert "failed" not in statuses.values()
    for (attack, defense), status in statuses.items():
        skipped = attack == "stadv" or defense == "median" or (
            defense == "dpa" and attack in ("fgsm", "deepfool")
        )  # fmt: skip
        assert status == ("skipped" if skipped else "ok"), (attack, defense)
    rows = {row.attack.partition("[")[0]: row for row in result if row.defense == "none"}
    assert rows["none"].clean_accuracy.value > 0.85  # type: ignore[union-attr]
    assert rows["fgsm"].attacked_accuracy.value < rows["none"].clean_accuracy.value  # type: ignore[union-attr]


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = table()
    lines = ["a,b,<b>,label", *(f"{p},{q},{r},{k}" for (p, q, r), k in zip(x, y, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert main(["data", "show", str(tmp_path / "t.csv")]) == 0
    out = capsys.readouterr().out
    assert "3 columns" in out
    assert "<b>" in out
    plot = ["--plot", str(tmp_path / "a.svg")]
    assert main(["attack", "pgd", "--dataset", str(tmp_path / "t.csv"), *plot]) == 2
    assert "--plot draws images, and the data are columns" in capsys.readouterr().err
