"""Means over several seeds, from which images each run got right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SMALL_MLP, write_npz

from fastadv.cli.app import main
from fastadv.grid.result import read_result
from fastadv.grid.row import Figure, Row
from fastadv.grid.run import run_grid
from fastadv.grid.several import Figures, over_seeds
from fastadv.grid.store import Store, read_samples
from fastadv.grid.worst import Samples
from fastadv.report.compare import compare_grids, read_side
from fastadv.runs import Runs
from fastadv.threat import linf

RNG = np.random.default_rng(0)


def cell(store: Store, seed: int, ids: np.ndarray, right: np.ndarray, **changes: Any) -> Row:
    values = {
        "kind": "evasion",
        "threat": linf(0.1),
        "attack": "pgd",
        "defense": "none",
    } | changes
    name = f"{values['attack']}-{values['defense']}-{seed}"
    row = Row(id=name, dataset="d", model="m", seed=seed, n=len(ids), **values)
    row.attacked_accuracy = Figure.of(right)
    store.save_row(row, {"sample_ids": ids.astype(np.uint64), "robust": right})
    return row


def kept_in(folder: Path) -> Samples:
    return lambda row: read_samples(folder, row.id)


def test_runs_on_the_same_images_on_their_own_and_without_samples(tmp_path: Path) -> None:
    store, ids = Store(tmp_path), np.arange(300)
    right = RNG.random((3, 300)) < 0.8
    rows = [cell(store, seed, ids, right[seed]) for seed in range(3)]
    rows += [cell(store, s, ids + 300 * s, right[s], defense="own") for s in range(3)]
    rows += [cell(store, s, ids + 10 * s, right[s], defense="some") for s in range(3)]
    rows += [cell(store, s, ids, right[s], defense="gone") for s in range(3)]
    (tmp_path / "cells" / "pgd-gone-1.npz").unlink()
    rows += [cell(store, s, ids, right[s], defense="short") for s in range(3)]
    np.savez(tmp_path / "cells" / "pgd-short-0.npz", sample_ids=ids, robust=right[0, :9])
    rows += [cell(store, 0, ids, right[0], defense="once")]
    found = over_seeds(rows, kept_in(tmp_path))
    assert [(mean.defense, mean.accuracy.n_images, mean.accuracy.n_runs) for mean in found] == [
        ("none", 300, 3), ("own", 900, 3), ("some", 300, 3), ("gone", 300, 3), ("short", 300, 3)
    ]  # fmt: skip
    expected = [
        Runs.on_shared_images(right), Runs.on_own_images(list(right)),
        Runs.on_images([ids, ids + 10, ids + 20], list(right)),
        *[Runs.of_accuracies(right.mean(axis=1), 300)] * 2,
    ]  # fmt: skip
    for mean, runs in zip(found, expected, strict=True):
        assert mean.accuracy.value == pytest.approx(right.mean())
        assert (mean.accuracy.low, mean.accuracy.high) == runs.interval()
        of_cell = [row for row in rows if row.defense == mean.defense]
        assert Figures(found).cell(of_cell) == mean.accuracy
    own, some = (mean.accuracy for mean in found[1:3])
    assert own.high - own.low < some.high - some.low


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_that_gets_nothing_right_counts_as_nothing(tmp_path: Path, kept: bool) -> None:
    store, ids = Store(tmp_path), np.arange(200)
    right = np.stack([np.zeros(200, bool), ids < 100, np.zeros(200, bool)])
    rows = [cell(store, seed, ids, right[seed]) for seed in range(3)]
    (mean,) = over_seeds(rows, kept_in(tmp_path) if kept else lambda _: None)
    assert mean.accuracy.value == pytest.approx(0.5 / 3)
    runs = Runs.on_shared_images(right) if kept else Runs.of_accuracies([0, 0.5, 0], 200)
    assert (mean.accuracy.low, mean.accuracy.high) == runs.interval()
    shown = Figures([]).cell(rows)
    assert shown is not None
    assert shown.value == pytest.approx(0.5 / 3)
    (nothing,) = over_seeds([rows[0], rows[2]], kept_in(tmp_path))
    assert nothing.accuracy.value == nothing.accuracy.low == 0.0


def test_a_worst_case_over_several_seeds(tmp_path: Path) -> None:
    store, ids = Store(tmp_path), np.arange(200)
    first, second = RNG.random((2, 2, 200)) < 0.8
    rows = [cell(store, seed, ids, first[seed]) for seed in (0, 1)]
    rows += [cell(store, seed, ids, second[seed], attack="fgsm") for seed in (0, 1)]
    worst = over_seeds(rows, kept_in(tmp_path))[-1]
    both = first & second
    assert (worst.attack, worst.threat) == ("worst", linf(0.1))
    assert worst.accuracy.value == both.mean()
    assert (worst.accuracy.low, worst.accuracy.high) == Runs.on_shared_images(both).interval()


def test_a_grid_of_several_seeds_prints_and_exports_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_grid(
        attacks=["fgsm", "label_flip[points=6]"], defenses=["none"], seeds=3, samples=20,
        dataset=write_npz(tmp_path / "d.npz"), model=SMALL_MLP, output=tmp_path / "out",
    )  # fmt: skip
    means = found.means
    assert main(["report", str(tmp_path / "out"), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(mean["attack"], mean["accuracy"]["n_runs"]) for mean in document["means"]] == [
        ("none", 3), ("fgsm", 3), ("label_flip[points=6]", 3)
    ]  # fmt: skip
    assert document["means"][1]["accuracy"]["low"] == means[1].accuracy.low
    assert read_result(tmp_path / "out").means == means
    assert main(["report", str(tmp_path / "out"), "--format", "markdown"]) == 0
    shown = capsys.readouterr().out
    for mean in (mean.accuracy for mean in means[:3]):
        figure = rf"\*\*{100 * mean.value:.1f}( !)?\*\*"
        assert re.search(rf"{figure}<br>{100 * mean.low:.1f}-{100 * mean.high:.1f}<br>± ", shown)


def test_defenses_of_one_grid_are_compared_by_what_they_trained(tmp_path: Path) -> None:
    rows = run_grid(
        repeats=1, attacks=["fgsm", "label_flip[points=6]"], defenses=["none", "median", "knn_relabel"],
        samples=20, dataset=write_npz(tmp_path / "d.npz"), model=SMALL_MLP, output=tmp_path / "out",
    )  # fmt: skip
    weights = {(row.kind, row.defense): row.weights for row in rows}
    assert weights["none", "none"] == weights["evasion", "none"] == weights["evasion", "median"]
    assert weights["poisoning", "none"] == weights["poisoning", "median"]
    assert len(set(weights.values())) >= 3  # clean, poisoned, and what knn_relabel left of it
    assert None not in weights.values()

    def compared(defense: str) -> list[tuple[str, str | None, str | None]]:
        sides = (read_side(f"{tmp_path}/out:{name}") for name in ("none", defense))
        return [(p.attack, p.scope, p.unknown) for p in compare_grids(*sides).pairs]

    assert compared("median") == [
        ("none", "this model", None), ("fgsm", "this model", None),
        ("label_flip[points=6]", None, "1 run"),
    ]  # fmt: skip
    unknown = {what for _, _, what in compared("knn_relabel")}
    same = weights["none", "none"] == weights["none", "knn_relabel"]  # it found nothing to relabel
    assert unknown == ({None, "1 run"} if same else {"1 run"})
