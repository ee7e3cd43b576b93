"""Cells over several runs: means, from which images each run got right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SMALL_MLP, write_npz

from fastadv import seeds
from fastadv.cli.app import main
from fastadv.datasets import load_dataset
from fastadv.errors import InputError
from fastadv.experiment import test_rows as rows_for_attacks
from fastadv.grid.cell import Grid
from fastadv.grid.result import GridResult, read_result
from fastadv.grid.row import Figure, Flag, Row
from fastadv.grid.run import run_grid
from fastadv.grid.several import Samples, join
from fastadv.grid.store import Store, read_samples
from fastadv.report.compare import compare_grids, read_side
from fastadv.runs import Answers, Runs
from fastadv.threat import linf, poison

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


def in_folder(rows: list[Row], folder: Path) -> GridResult:
    return GridResult.of(rows, folder)


def test_runs_on_the_same_images_on_their_own_and_without_samples(tmp_path: Path) -> None:
    store, ids = Store(tmp_path), np.arange(300)
    right = RNG.random((3, 300)) < 0.8
    rows = [cell(store, seed, ids, right[seed]) for seed in range(3)]
    rows += [cell(store, s, ids + 300 * s, right[s], defense="own") for s in range(3)]
    rows += [cell(store, s, ids + 10 * s, right[s], defense="some") for s in range(3)]
    rows += [cell(store, s, ids, right[s], defense="gone", kind="none") for s in range(3)]
    (tmp_path / "cells" / "pgd-gone-1.npz").unlink()
    rows += [cell(store, s, ids, right[s], defense="short", kind="none") for s in range(3)]
    np.savez(tmp_path / "cells" / "pgd-short-0.npz", sample_ids=ids, robust=right[0, :9])
    rows += [cell(store, s, ids, right[s], defense="dealt") for s in range(3)]
    (tmp_path / "cells" / "pgd-dealt-2.npz").unlink()
    rows += [cell(store, 0, ids, right[0], defense="once")]
    *found, once = join(rows, kept_in(tmp_path))
    figures = [row.attacked_accuracy for row in found]
    assert [(row.defense, f.n_images, f.n_runs) for row, f in zip(found, figures, strict=True)] == [
        ("none", 300, 3), ("own", 900, 3), ("some", 300, 3), ("gone", 300, 3), ("short", 300, 3),
        ("dealt", 900, 3),
    ]  # fmt: skip
    expected = [
        Runs.on_shared_images(right), Runs.on_own_images(list(right)),
        Runs.on_images([ids, ids + 10, ids + 20], list(right)),
        *[Runs.of_accuracies(right.mean(axis=1), 300)] * 2,
        Runs.on_own_images(list(right)),
    ]  # fmt: skip
    for figure, runs in zip(figures, expected, strict=True):
        assert figure.value == pytest.approx(right.mean())
        assert (figure.low, figure.high) == pytest.approx(np.array(runs.interval()))
    own, some = figures[1:3]
    assert own.high - own.low < some.high - some.low
    assert once.attacked_accuracy == Figure.of(right[0])
    assert [len(row.runs) for row in (*found, once)] == [3, 3, 3, 3, 3, 3, 1]


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_that_gets_nothing_right_counts_as_nothing(tmp_path: Path, kept: bool) -> None:
    store, ids = Store(tmp_path), np.arange(200)
    right = np.stack([np.zeros(200, bool), ids < 100, np.zeros(200, bool)])
    rows = [cell(store, seed, ids, right[seed], kind="none") for seed in range(3)]
    (row,) = join(rows, kept_in(tmp_path) if kept else lambda _: None)
    assert row.attacked_accuracy.value == pytest.approx(0.5 / 3)
    runs = Runs.on_shared_images(right) if kept else Runs.of_accuracies([0, 0.5, 0], 200)
    assert (row.attacked_accuracy.low, row.attacked_accuracy.high) == runs.interval()
    (nothing,) = join([rows[0], rows[2]], kept_in(tmp_path))
    assert nothing.attacked_accuracy.value == nothing.attacked_accuracy.low == 0.0


def test_a_worst_case_over_several_runs(tmp_path: Path) -> None:
    store, ids = Store(tmp_path), np.arange(200)
    first, second = RNG.random((2, 2, 200)) < 0.8
    rows = [cell(store, seed, ids, first[seed]) for seed in (0, 1)]
    rows += [cell(store, seed, ids, second[seed], attack="fgsm") for seed in (0, 1)]
    (worst,) = in_folder(rows, tmp_path).worst
    both = first & second
    assert (worst.attacks, worst.threat) == (("pgd", "fgsm"), linf(0.1))
    assert worst.accuracy.value == pytest.approx(both.mean())
    assert (worst.accuracy.low, worst.accuracy.high) == Runs.on_shared_images(both).interval()
    assert (worst.accuracy.n_images, worst.accuracy.n_runs) == (200, 2)


def test_an_attack_that_lacks_a_run_is_missing_in_the_worst_case(tmp_path: Path) -> None:
    store, ids = Store(tmp_path), np.arange(200)
    first, second = RNG.random((2, 2, 200)) < 0.8
    rows = [cell(store, seed, ids + 200 * seed, first[seed]) for seed in (0, 1)]
    rows += [cell(store, 0, ids, second[0], attack="fgsm")]
    rows += [cell(store, 1, ids + 200, second[1], attack="fgsm", status="failed", reason="x")]
    result = in_folder(rows, tmp_path)
    (worst,) = result.worst
    assert (worst.attacks, worst.missing) == (("pgd",), ("fgsm",))
    assert worst.accuracy == result[0].attacked_accuracy


# -- what a row of several runs says --------------------------------------------------------


def ran(seed: int, **changes: Any) -> Row:
    """The row of one run, of whose images nothing is kept."""
    values = {"kind": "evasion", "threat": linf(0.1), "attack": "pgd", "defense": "none", "n": 100}
    row = Row(id=f"run {seed}", dataset="d", model="m", seed=seed, **(values | changes))
    row.attacked_accuracy = row.attacked_accuracy or Figure.of_count(40 + 10 * seed, 100)
    return row


def joined(*runs: Row) -> Row:
    (row,) = join(runs, lambda _: None)
    return row


@pytest.mark.parametrize("kind", ["evasion", "none"])
def test_where_images_are_not_counted_there_is_no_interval(kind: str) -> None:
    alone = Figure(0.5, None, None, 0)
    figure = joined(*(ran(s, kind=kind, attacked_accuracy=alone) for s in (3, 4))).attacked_accuracy
    assert figure == Figure(0.5, None, None, 0, 2)


def test_numbers_are_means_times_sums_and_what_was_found_is_told_alike_or_run_by_run() -> None:
    a = ran(
        3, distances={"l2": 1.0}, queries={"forward": 10.0}, seconds={"fit": 2.0, "perturb": 1.0},
        found={"region": "3 as 5", "harm": 0.1}, poison={"points": 30.0},
        sanitized={"lost": 0.1}, weights="one", success_rate=Figure.of_count(50, 60),
    )  # fmt: skip
    b = ran(
        4, distances={"l2": 2.0, "linf": 0.5}, queries={"forward": 20.0}, seconds={"fit": 3.0},
        found={"region": "3 as 5", "harm": 0.2}, poison={"points": 30.0},
        sanitized={"lost": 0.3}, weights="two", success_rate=Figure.of_count(30, 60),
    )  # fmt: skip
    row = joined(a, b)
    assert row.distances == {"l2": 1.5, "linf": 0.5}
    assert (row.queries, row.seconds) == ({"forward": 15.0}, {"fit": 5.0, "perturb": 1.0})
    assert row.found == {"region": "3 as 5", "harm": [0.1, 0.2]}
    assert (row.poison, row.sanitized) == ({"points": 30.0}, {"lost": pytest.approx(0.2)})
    assert row.success_rate.value == pytest.approx(40 / 60)
    assert (row.n, row.weights, row.seed) == (200, None, 3)
    assert [(run.id, run.seed, run.weights, run.attacked_accuracy) for run in row.runs] == [
        ("run 3", 3, "one", 0.7), ("run 4", 4, "two", 0.8)
    ]  # fmt: skip
    alone = joined(a)
    assert (alone.found, alone.seconds, alone.weights) == (a.found, a.seconds, "one")


def test_of_one_run_nothing_moves() -> None:
    row = ran(0, flags=[Flag("a", "b")], found={"x": 1})
    alone = joined(row)
    assert row.runs == []  # what came is left alone
    assert [run.id for run in alone.runs] == ["run 0"]
    alone.runs = []
    assert alone == row


def test_what_only_some_runs_remark_says_in_how_many() -> None:
    masked, other = Flag("masked", "no gradient for 3 images", "look"), Flag("other", "so", "do")
    row = joined(ran(0, flags=[masked]), ran(1, flags=[masked, other]), ran(2, notes=[other]))
    assert [(flag.name, flag.message) for flag in row.flags] == [
        ("masked", "no gradient for 3 images (in 2 of 3 runs)"), ("other", "so (in 1 of 3 runs)")
    ]  # fmt: skip
    assert [note.message for note in row.notes] == ["so (in 1 of 3 runs)"]
    everywhere = joined(ran(0, flags=[masked]), ran(1, flags=[Flag("masked", "for 4", "look")]))
    assert [flag.message for flag in everywhere.flags] == ["no gradient for 3 images"]


def test_a_run_that_failed_is_a_flag_of_the_others_mean() -> None:
    failed = ran(1, status="failed", reason="it broke", n=0)
    failed.attacked_accuracy = None
    row = joined(ran(0), failed, ran(2))
    assert (row.status, row.attacked_accuracy.value) == ("ok", 0.5)
    assert [run.seed for run in row.runs] == [0, 2]
    (flag,) = row.flags
    assert (flag.name, flag.message) == ("runs_missing", "1 of 3 runs failed: it broke")
    assert flag.remedy == "the same command tries them again"
    alone = joined(failed)
    assert (alone.status, alone.reason, alone.runs, alone.flags) == ("failed", "it broke", [], [])


def test_a_run_that_a_grid_has_not_come_to_is_a_flag_as_well() -> None:
    runs = [ran(0), ran(1)]
    (row,) = join(runs, lambda _: None, 5)
    (flag,) = row.flags
    assert flag.message == "3 of 5 runs not there; the grid has not ended"
    assert flag.remedy == "the same command goes on"
    assert join(runs, lambda _: None, 2)[0].flags == []


def poisoned(
    store: Store, seed: int, y: np.ndarray, clean: np.ndarray, after: np.ndarray,
    flips: np.ndarray,
) -> Row:  # fmt: skip
    """A run of poison: which of the images are right without it, with it, and with flips."""
    row = Row(
        id=f"p{seed}", dataset="d", model="m", attack="biggio", defense="none", seed=seed,
        kind="poisoning", threat=poison(0.03), n=len(y), clean_accuracy=Figure.of(clean),
        attacked_accuracy=Figure.of(after), baseline_accuracy=Figure.of(flips),
    )  # fmt: skip
    arrays = {"sample_ids": np.arange(len(y), dtype=np.uint64), "y": y, "robust": after,
              "clean": np.where(clean, y, 9 - y), "baseline": flips}  # fmt: skip
    store.save_row(row, arrays)
    return row


@pytest.mark.parametrize("n_runs", [1, 3])
def test_points_lost_are_paired_by_run_and_image(tmp_path: Path, n_runs: int) -> None:
    y = np.arange(400) % 5
    hard = RNG.random((n_runs, 400))
    clean, flips, after = (hard < share for share in (0.95, 0.93, 0.85))
    store = Store(tmp_path)
    rows = [poisoned(store, s, y, clean[s], after[s], flips[s]) for s in range(n_runs)]
    (row,) = join(rows, kept_in(tmp_path))
    for figure, right in ((row.accuracy_lost, after), (row.baseline_lost, flips)):
        difference = clean * 1.0 - right
        assert figure.value == pytest.approx(difference.mean())
        assert (figure.n_images, figure.n_runs) == (400, n_runs)
        if n_runs > 1:
            low, high = Runs.on_shared_images(difference).difference_interval()
        else:
            run = np.zeros(400, np.int64)
            sides = (Answers(run, np.arange(400), one[0] * 1.0) for one in (clean, right))
            low, high = next(sides).minus(next(sides)).interval()
        assert (figure.low, figure.high) == (low, high)
        # What is lost on the same images of the same model is known better than either accuracy.
        unpaired = np.sqrt(2 * 0.9 * 0.1 / 400) * 1.96
        assert (figure.high - figure.low) / 2 < unpaired or n_runs > 1
    assert row.clean_accuracy.value == pytest.approx(clean.mean())
    (bare,) = join(rows, lambda _: None)
    assert bare.accuracy_lost.value == pytest.approx(row.accuracy_lost.value)
    assert (bare.accuracy_lost.low, bare.baseline_lost.high) == (None, None)


def test_all_figures_of_a_clean_row_are_one(tmp_path: Path) -> None:
    found = run_grid(
        attacks=["label_flip[points=6]"], defenses=["none"], repeats=5, samples=20,
        dataset=write_npz(tmp_path / "d.npz"), model=SMALL_MLP, output=tmp_path / "out",
    )  # fmt: skip
    clean, flipped = found
    assert clean.clean_accuracy == clean.attacked_accuracy == flipped.clean_accuracy
    assert clean.accuracy_lost is None
    assert flipped.accuracy_lost.value == pytest.approx(
        flipped.clean_accuracy.value - flipped.attacked_accuracy.value
    )


# -- a grid of several runs -----------------------------------------------------------------


def several(tmp_path: Path, output: str = "out", **changes: Any) -> GridResult:
    settings = {
        "attacks": ["fgsm", "label_flip[points=6]"], "defenses": ["none", "median"], "repeats": 3,
        "samples": 20, "model": SMALL_MLP,
    }  # fmt: skip
    dataset = write_npz(tmp_path / "d.npz")
    return run_grid(dataset=dataset, output=tmp_path / output, **{**settings, **changes})


def test_a_grid_of_several_runs_prints_and_exports_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = several(tmp_path, defenses=["none"])
    assert main(["report", str(tmp_path / "out"), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["attack"], row["attacked_accuracy"]["n_runs"]) for row in document["rows"]] == [
        ("none", 3), ("fgsm", 3), ("label_flip[points=6]", 3)
    ]  # fmt: skip
    assert document["rows"][1]["attacked_accuracy"]["low"] == found[1].attacked_accuracy.low
    kept = read_result(tmp_path / "out")
    assert kept.rows == found.rows
    assert {run.id: run for run in kept.runs} == {run.id: run for run in found.runs}
    assert main(["report", str(tmp_path / "out"), "--format", "markdown", "--details"]) == 0
    shown = capsys.readouterr().out
    for row in found:
        f = row.attacked_accuracy
        figure = rf"\*\*{100 * f.value:.1f}( !)?( †)?\*\*"
        assert re.search(rf"{figure}<br>{100 * f.low:.1f}-{100 * f.high:.1f}<br>± ", shown)


def images_of(result: GridResult, attack: str, defense: str) -> list[list[int]]:
    """The images of each run of a cell."""
    (row,) = [row for row in result if (row.attack, row.defense) == (attack, defense)]
    parts = [read_samples(result.folder, run.id)["sample_ids"].tolist() for run in row.runs]
    whole = result.samples(row)
    assert whole["sample_ids"].tolist() == [one for part in parts for one in part]
    assert whole["run"].tolist() == [
        run.seed for run, part in zip(row.runs, parts, strict=True) for _ in part
    ]
    return parts


def test_evasion_images_are_dealt_out_over_the_runs_and_clean_rows_have_all(
    tmp_path: Path,
) -> None:
    result = several(tmp_path, attacks=["fgsm", "fgsm[eps=0.2]", "label_flip[points=6]"])
    data = load_dataset(str(tmp_path / "d.npz"))
    ids = seeds.sample_ids(data.x_test).tolist()
    dealt = images_of(result, "fgsm", "none")
    assert [len(part) for part in dealt] == [7, 7, 6]
    asked = seeds.sample_ids(data.x_test[rows_for_attacks(data, 20)]).tolist()
    assert sorted(one for part in dealt for one in part) == sorted(asked)  # each once
    for attack in ("fgsm", "fgsm[eps=0.2]"):
        assert images_of(result, attack, "median") == dealt
    for attack in ("none", "label_flip[points=6]"):
        assert images_of(result, attack, "median") == [ids] * 3
    fgsm = result[2]
    assert (fgsm.n, fgsm.attacked_accuracy.n_images, fgsm.attacked_accuracy.n_runs) == (20, 20, 3)
    assert [run.n_images for run in fgsm.runs] == [7, 7, 6]
    clean = result[0]
    assert (clean.n, clean.attacked_accuracy.n_images) == (45, 45)


def test_another_run_keeps_what_does_not_hang_on_the_deal(tmp_path: Path) -> None:
    two = several(tmp_path, repeats=2)
    kept = {run.id for run in two.runs}
    three = several(tmp_path, repeats=3)
    for run in three.runs:
        again = run.kind == "evasion" or run.seed == 2
        assert (run.id in kept) != again, run.attack
    fresh = several(tmp_path, "fresh", repeats=3)
    for one, other in zip(three, fresh, strict=True):
        assert one.attacked_accuracy == other.attacked_accuracy
        assert [run.id for run in one.runs] == [run.id for run in other.runs]
    assert read_result(tmp_path / "out").rows == three.rows
    assert several(tmp_path, repeats=2).rows == two.rows
    assert read_result(tmp_path / "out").rows == two.rows  # those of three runs lie beside them


def test_certificates_of_another_deal_belong_to_another_grid(tmp_path: Path) -> None:
    changes = {"attacks": ["label_flip[points=2]"], "defenses": ["dpa[partitions=12,blur=0]"]}
    two = several(tmp_path, repeats=2, **changes)
    several(tmp_path, repeats=3, **changes)
    assert several(tmp_path, repeats=2, **changes).rows == two.rows
    assert read_result(tmp_path / "out").rows == two.rows
    assert two[0].certified.accuracy.n_images == 20


def test_five_runs_are_the_default(tmp_path: Path) -> None:
    result = several(tmp_path, attacks=["fgsm"], defenses=["none"], repeats=None)
    assert [[run.seed for run in row.runs] for row in result] == [[0, 1, 2, 3, 4]] * 2
    assert (result.grid["repeats"], result.grid["seeds"]) == (5, [0, 1, 2, 3, 4])
    assert [len(part) for part in images_of(result, "fgsm", "none")] == [4] * 5
    assert not any(flag.name == "runs_missing" for row in result for flag in row.flags)


@pytest.mark.parametrize("samples", [2, None])
def test_a_run_needs_an_image_of_its_own(tmp_path: Path, samples: int | None) -> None:
    x = np.random.default_rng(0).random((12, 3, 3))
    few = {"x_train": x, "y_train": np.arange(12) % 3, "x_test": x[:2], "y_test": np.arange(2)}
    np.savez(tmp_path / "few.npz", **few)
    changes = {"attacks": "fgsm", "defenses": "none", "samples": samples, "model": SMALL_MLP}
    with pytest.raises(InputError, match=r"repeats has to be at most samples \(2\).*, got 3"):
        run_grid(dataset=str(tmp_path / "few.npz"), repeats=3, **changes)
    found = run_grid(dataset=str(tmp_path / "few.npz"), **changes)  # as many as there are images
    assert [len(row.runs) for row in found] == [2, 2]


def test_one_of_repeats_and_seeds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one of repeats and seeds, not both"):
        several(tmp_path, seeds=2)


def test_stadv_alone_stands_for_two_attacks_and_with_brackets_for_itself() -> None:
    def attacks(*given: str) -> list[str]:
        return Grid.parse(given, ["none"], "mnist", "mlp", 20, 1, 0).describe()["attacks"]

    both = ["none", "stadv[translation=false]", "stadv[budget=1,translation=true]"]
    assert attacks("stadv") == both
    assert attacks("stadv[translation=false]", "stadv", "fgsm") == [*both, "fgsm"]
    assert attacks("stadv[budget=20]") == ["none", "stadv[budget=20]"]
    assert [text for text in attacks("all") if text.startswith("stadv")] == both[1:]


def test_a_grid_that_was_stopped_says_what_is_not_there(tmp_path: Path) -> None:
    whole = several(tmp_path)
    gone = [run for run in whole.runs if run.attack == "fgsm" and run.seed > 0]
    for run in gone:
        for end in ("json", "npz"):
            (tmp_path / "out" / "cells" / f"{run.id}.{end}").unlink()
    found = read_result(tmp_path / "out")
    flags = {(row.attack, row.defense): [flag.name for flag in row.flags] for row in found}
    missing = {cell for cell, names in flags.items() if "runs_missing" in names}
    assert missing == {("fgsm", "none"), ("fgsm", "median")}
    assert [row.attacked_accuracy for row in several(tmp_path)] == [
        row.attacked_accuracy for row in whole
    ]


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
