"""Two folders of made-up cells, and two made-up bench files, beside each other."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_rows import clean, evasion, figure, poisoning, undone
from rich.console import Console

from fastadv import threat
from fastadv.benchmarks.race import Lap
from fastadv.cli.app import main
from fastadv.errors import InputError
from fastadv.metrics import mcnemar_exact
from fastadv.report.compare import compare_grids, read_side, regressions
from fastadv.report.compare_table import compare_table
from fastadv.runs import Answers, Runs


def keep(folder, *cells):
    """Write cells: rows, or rows with (sample ids, labels, which are right)."""
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    for cell in cells:
        row, samples = cell if isinstance(cell, tuple) else (cell, None)
        row.id += f"-{folder.name}"  # another version of the package has other ids
        if samples is not None:
            ids, right = np.asarray(samples[0], np.uint64), np.asarray(samples[-1], bool)
            y = np.asarray(samples[1]) if len(samples) == 3 else ids.astype(np.int64) % 10
            np.savez(folder / "cells" / f"{row.id}.npz", sample_ids=ids, y=y, robust=right)
            row.n, row.attacked_accuracy = len(ids), figure(float(right.mean()), len(ids))
        (folder / "cells" / f"{row.id}.json").write_bytes(msgspec.json.encode(row))
    axes = [cell[0] if isinstance(cell, tuple) else cell for cell in cells]
    grid = {
        "attacks": sorted({row.attack for row in axes}),
        "defenses": sorted({row.defense for row in axes}),
    }
    environment = {"fastadv": f"0.1 of {folder.name}", "cores": 2}
    (folder / "grid.json").write_text(json.dumps({"grid": grid, "environment": environment}))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "a", tmp_path / "b"


def compared(a="a", b="b"):
    return compare_grids(read_side(a), read_side(b))


def right(n, n_wrong):
    return np.arange(n) >= n_wrong


def test_one_cell_is_tested_image_by_image(folders):
    ids, before, after = np.arange(100), right(100, 10), np.arange(100) % 3 > 0
    keep(folders[0], (evasion(), (ids, before)))
    keep(folders[1], (evasion(), (ids, after)))
    (pair,) = compared().pairs
    assert (pair.before, pair.after) == (0.9, after.mean())
    assert pair.difference == after.mean() - 0.9
    lost, won = sum(before & ~after), sum(~before & after)
    assert (pair.lost, pair.won, pair.n) == (lost, won, 100)
    assert pair.p_value == mcnemar_exact(lost, won)
    assert pair.worse
    assert regressions(compared()) == ["pgd / none: 90.0 before, 66.0 after, in this model"]
    (turned,) = compared("b", "a").pairs
    assert turned.significant
    assert not turned.worse


def test_the_same_grid_differs_in_nothing(folders):
    keep(folders[0], (evasion(), (range(50), right(50, 9))), (clean(), (range(9), right(9, 1))))
    comparison = compared("a", "a")
    for pair in comparison.pairs:
        assert (pair.difference, pair.p_value, pair.significant) == (0.0, 1.0, False)
    assert comparison.notes == ()


def test_images_are_known_by_their_ids_in_any_order_and_number(folders):
    rng = np.random.default_rng(0)
    ids = rng.permutation(80)
    keep(folders[0], (evasion(), (ids, ids % 4 > 0)))
    keep(folders[1], (evasion(), (np.arange(60), np.arange(60) % 4 > 1)))
    comparison = compared()
    (pair,) = comparison.pairs
    assert (pair.n, pair.before, pair.after, pair.lost, pair.won) == (60, 0.75, 0.5, 15, 0)
    assert (
        "evasion rows: compared on the 60 test images that both have, of 80 before and 60 after"
        in comparison.notes
    )


def test_an_image_that_is_there_twice_counts_once_where_the_images_differ(folders):
    keep(folders[0], (evasion(), ([1, 1, 2], [1, 1, 0])))
    keep(folders[1], (evasion(), ([2, 1], [0, 1])))
    (pair,) = compared().pairs
    assert (pair.n, pair.before, pair.after) == (2, 0.5, 0.5)


def test_many_cells_do_not_make_chance_significant(folders):
    """6 images lost and none won is p = 0.03 for one cell, and nothing among twenty."""
    ids, attacks = np.arange(100), [f"pgd[steps={k}]" for k in range(1, 21)]
    keep(folders[0], *[(evasion(a), (ids, right(100, 0))) for a in attacks])
    keep(
        folders[1],
        *[(evasion(a), (ids, right(100, 6 if a == attacks[0] else 0))) for a in attacks],
    )
    assert [p.p_value for p in compared().pairs if p.attack == attacks[0]] == [0.03125]
    assert regressions(compared()) == []
    keep(folders[0] / "one", (evasion(attacks[0]), (ids, right(100, 0))))
    keep(folders[1] / "one", (evasion(attacks[0]), (ids, right(100, 6))))
    assert len(regressions(compared("a/one", "b/one"))) == 1


@pytest.mark.parametrize(
    ("changes", "samples", "problem"),
    [
        (
            {"threat": threat.linf(0.2)},
            (range(9), right(9, 1)),
            "threat linf(0.1) before, linf(0.2)",
        ),
        ({}, (range(10, 19), right(9, 1)), "not one test image in common"),
        ({}, (range(9), [3] * 9, right(9, 1)), "the same images have other labels"),
        ({}, None, "the samples of after cannot be read"),
    ],
)
def test_what_cannot_be_tested_says_why_and_does_not_pass(folders, changes, samples, problem):
    keep(folders[0], (evasion(), (range(9), right(9, 1))))
    row = evasion(**changes)
    keep(folders[1], row if samples is None else (row, samples))
    (pair,) = compared().pairs
    assert problem in pair.problem
    assert (pair.p_value, pair.difference, pair.significant) == (None, None, False)
    assert problem in regressions(compared())[0]


def test_a_cell_that_failed_is_a_regression_and_one_that_came_back_is_none(folders):
    whole = (poisoning(), (range(9), right(9, 1)))
    keep(folders[0], whole)
    keep(folders[1], undone(poisoning(), "failed", "x"))
    assert regressions(compared()) == ["biggio / none: not tested (failed after)"]
    assert regressions(compared("b", "a")) == []


def test_what_else_is_not_the_same_is_told(folders):
    one = {"parameters": {"attack": {"steps": 40, "eps": 0.1}}}
    two = {"parameters": {"attack": {"steps": 100, "eps": 0.1}}, "model": "svm"}
    cells = (range(9), right(9, 1))
    keep(folders[0], (evasion(**one), cells), (evasion("fgsm"), cells))
    keep(folders[1], (evasion(**two), cells), (evasion("cw", **two), cells))
    assert compared().notes == (
        "model: mlp before, svm after",
        "fastadv: 0.1 of a before, 0.1 of b after",
        "pgd: steps 40 before, 100 after",
        "only in a: fgsm / none",
        "only in b: cw / none",
    )


def test_only_the_side_that_has_more_is_told_to(folders):
    cells = (range(9), right(9, 1))
    keep(folders[0], (evasion(), cells))
    keep(folders[1], (evasion(), cells), (evasion("fgsm"), cells))
    assert [note for note in compared().notes if "only in" in note] == ["only in b: fgsm / none"]
    turned = [note for note in compared("b", "a").notes if "only in" in note]
    assert turned == ["only in b: fgsm / none"]


def test_of_many_cells_that_only_one_has_a_few_are_named(folders):
    cells = (range(9), right(9, 1))
    keep(folders[0], (evasion(), cells))
    keep(folders[1], *[(evasion("pgd", defense), cells) for defense in ("none", *"abcdef")])
    assert compared().notes[-1] == "only in b: pgd / a, pgd / b, pgd / c, pgd / d and 2 more"


def test_two_defenses_of_one_grid(folders):
    ids = np.arange(100)
    keep(
        folders[0], (evasion(), (ids, right(100, 60))), (evasion(defense="median"), (ids, ids > 9))
    )
    (pair,) = compared("a:none", "a:median").pairs
    assert (pair.defense, pair.before, pair.after) == ("none -> median", 0.4, 0.9)
    with pytest.raises(
        InputError, match=r"a has no defense 'medain' \(known there: median, none\)"
    ):
        compared("a:none", "a:medain")


def test_grids_with_nothing_in_common(folders):
    keep(folders[0], (evasion(), (range(9), right(9, 1))))
    keep(folders[1], (evasion("cw"), (range(9), right(9, 1))))
    with pytest.raises(InputError, match="no cell in common"):
        compared()


def test_the_table_fits(folders):
    long = "stadv[tau=0.05,kappa=0,search=false,keep=last]"
    training = "adv_training[attack=pgd[eps=0.1,steps=5],epochs=20]"
    cells = [
        (
            evasion(long, d, seed, weights=f"{d} {seed}"),
            (np.arange(200) + 200 * seed, right(200, 50)),
        )
        for d in ("none", training)
        for seed in (0, 1)
    ]
    keep(folders[0], *cells)
    keep(folders[1], *[(row, (ids, right(200, 90))) for row, (ids, _) in cells[:3]], cells[3][0])
    for width in (80, 100):
        stream = io.StringIO()
        Console(file=stream, width=width).print(compare_table(compared()))
        assert max(map(len, stream.getvalue().splitlines())) <= width
        for text in ("-20.0", "worse", "runs", "[1] the samples of after cannot be read"):
            assert text in stream.getvalue()


def test_a_table_of_nothing_that_could_be_tested_says_so(folders):
    keep(folders[0], evasion())
    keep(folders[1], evasion())
    stream = io.StringIO()
    Console(file=stream, width=100).print(compare_table(compared()))
    assert "Not one cell could be compared" in " ".join(stream.getvalue().split())


# -- trainings are chance, too --------------------------------------------------------------


def poisoned(defense, accuracies, seeds=None, n=1000, attack="biggio"):
    """Cells of poisoning, one a seed, each of a training of its own."""
    rng, cells = np.random.default_rng(0), []
    hard = rng.random(n)
    for seed, accuracy in zip(seeds or range(len(accuracies)), accuracies, strict=True):
        row = poisoning(attack, defense, seed, weights=f"{defense} {seed}")
        cells.append((row, (np.arange(n), hard < accuracy)))
    return cells


def test_two_defenses_of_one_run_are_unknown_whatever_the_images_say(folders, capsys):
    """The findings: seed 0 called one better, seed 1 the other, both with certainty."""
    keep(folders[0], *poisoned("none", [0.92]), *poisoned("knn_relabel", [0.97]))
    keep(folders[1], *poisoned("none", [0.95]), *poisoned("knn_relabel", [0.94]))
    for folder, difference in (("a", 0.05), ("b", -0.01)):
        (pair,) = compared(f"{folder}:none", f"{folder}:knn_relabel").pairs
        assert (pair.unknown, pair.p_value, pair.significant) == ("1 run", None, False)
        assert pair.difference == pytest.approx(difference, abs=0.02)
        command = ["compare", f"{folder}:none", f"{folder}:knn_relabel", "--fail-on-regression"]
        assert main(command) == 0
        printed = capsys.readouterr()
        assert "unknown (1" in printed.out
        assert printed.err.splitlines() == [
            "fastadv: unknown (1 run): biggio / none -> knn_relabel; run both with --repeats, "
            "3 or more"
        ]


def test_poison_of_one_run_is_unknown_even_of_one_model(folders):
    ids = np.arange(100)
    for folder, wrong in zip(folders, (0, 60), strict=True):
        keep(folder, (poisoning(weights="w"), (ids, right(100, wrong))))
    (pair,) = compared().pairs
    assert (pair.unknown, pair.p_value) == ("1 run", None)
    assert regressions(compared()) == []


def test_wrappers_of_one_trained_model_are_compared_on_its_images(folders, capsys):
    ids = np.arange(100)
    keep(
        folders[0], (evasion(), (ids, right(100, 10))),
        (evasion(defense="median"), (ids, right(100, 60))),
        (evasion(defense="adv_training", weights="another"), (ids, right(100, 60))),
    )  # fmt: skip
    (pair,) = compared("a:none", "a:median").pairs
    assert (pair.scope, pair.worse, pair.p_value) == ("this model", True, mcnemar_exact(50, 0))
    (pair,) = compared("a:none", "a:adv_training").pairs
    assert (pair.scope, pair.unknown) == (None, "1 run")
    assert main(["compare", "a:none", "a:median"]) == 0
    printed = capsys.readouterr().out
    assert "worse (this" in printed
    assert "for this model only" in " ".join(printed.split())
    rows = [evasion(weights=None), evasion(defense="median", weights=None)]  # of an older version
    keep(folders[1], *[(row, (ids, right(100, 10))) for row in rows])
    assert compared("b:none", "b:median").pairs[0].unknown == "1 run"


def test_several_runs_are_paired_by_seed_and_tested_over_them(folders):
    before, after = (0.90, 0.91, 0.92, 0.93), (0.93, 0.94, 0.95, 0.96)
    keep(folders[0], *poisoned("none", before), *poisoned("bagging", after))
    (pair,) = compared("a:none", "a:bagging").pairs
    samples = [np.random.default_rng(0).random(1000) < accuracy for accuracy in before + after]
    differences = np.stack(samples[4:]).astype(float) - np.stack(samples[:4])
    assert (pair.scope, pair.runs, pair.n) == ("runs", 4, 1000)
    assert pair.difference == pytest.approx(differences.mean())
    assert pair.p_value == pytest.approx(float(Runs.on_shared_images(differences).p_value()))
    assert (pair.lost, pair.won) == (0, int((differences.mean(axis=0) > 0).sum()))  # images
    assert pair.significant
    # The same figures by other seeds: what stood against what is chance, and so is the difference.
    keep(folders[1], *poisoned("none", before), *poisoned("bagging", after[::-1]))
    (mixed,) = compared("b:none", "b:bagging").pairs
    assert mixed.difference == pytest.approx(pair.difference)
    assert mixed.p_value > pair.p_value


def test_trainings_that_scatter_make_no_difference_significant(folders):
    """As knn_relabel did: it caught 97, 55, 97 and 54 % of the poison."""
    keep(
        folders[0], *poisoned("none", (0.924, 0.951, 0.949, 0.941), n=10000),
        *poisoned("knn_relabel", (0.965, 0.938, 0.966, 0.935), n=10000),
    )  # fmt: skip
    (pair,) = compared("a:none", "a:knn_relabel").pairs
    assert pair.scope == "runs"
    assert not pair.significant
    assert mcnemar_exact(pair.lost, pair.won) < 1e-3  # which images alone would call certain


def test_runs_of_other_seeds_are_tested_unpaired(folders, capsys):
    """Their trainings then count one by one, and what both have drawn alike no longer helps."""
    before, after = (0.90, 0.91, 0.92, 0.93), (0.93, 0.94, 0.95, 0.96)
    keep(folders[0], *poisoned("none", before))
    keep(folders[1], *poisoned("none", after))
    paired = compared().pairs[0]
    keep(folders[0] / "far", *poisoned("none", before))
    keep(folders[1] / "far", *poisoned("none", after, seeds=(4, 5, 6, 7)))
    (pair,) = compared("a/far", "b/far").pairs
    assert (pair.scope, pair.unknown, pair.runs, pair.n) == ("runs", None, 4, 1000)
    assert (pair.before, pair.after) == pytest.approx((paired.before, paired.after))
    sides = [np.stack([np.random.default_rng(0).random(1000) < a for a in one])
             for one in (before, after)]  # fmt: skip
    answers = [Answers(np.repeat(np.arange(4) + 4 * k, 1000), np.tile(np.arange(1000), 4),
                       one.astype(float).ravel()) for k, one in enumerate(sides)]  # fmt: skip
    assert pair.p_value == pytest.approx(float(answers[1].minus(answers[0]).p_value()))
    assert pair.p_value > paired.p_value
    assert pair.significant
    assert main(["compare", "a/far", "b/far"]) == 0
    assert "paired where both have the same" in " ".join(capsys.readouterr().out.split())


def test_five_runs_on_their_own_images_beside_three(folders):
    """As `none` stands beside adv_training: the images are dealt out, the seeds are not the same."""
    hard, ids = np.random.default_rng(1).random(1000), np.arange(1000)
    cells = []
    for defense, n_runs, accuracy in (("none", 5, 0.3), ("trades", 3, 0.7)):
        for seed in range(n_runs):
            mine = ids[seed::n_runs]
            row = evasion(defense=defense, seed=seed, weights=f"{defense} {seed}")
            cells.append((row, (mine, hard[mine] < accuracy)))
    keep(folders[0], *cells)
    (pair,) = compared("a:none", "a:trades").pairs
    assert (pair.scope, pair.runs, pair.n, pair.lost) == ("runs", 3, 1000, 0)
    assert pair.difference == pytest.approx(np.mean((hard >= 0.3) & (hard < 0.7)))
    assert pair.won == int(np.sum((hard >= 0.3) & (hard < 0.7)))
    assert pair.significant


def test_one_run_beside_several_is_unknown(folders):
    keep(folders[0], *poisoned("none", (0.9, 0.9, 0.9)))
    keep(folders[1], *poisoned("none", (0.5,)))
    (pair,) = compared().pairs
    assert (pair.unknown, pair.runs) == ("1 run", 1)


def test_runs_that_trained_one_model_are_one_training(folders):
    """With a random_state in the model's spec, every seed trains the same."""
    cells = [(evasion(seed=seed), (np.arange(100), right(100, 10))) for seed in range(3)]
    others = [
        (evasion(defense="dpa", seed=seed, weights="b"), (np.arange(100), right(100, 50)))
        for seed in range(3)
    ]
    keep(folders[0], *cells, *others)
    (pair,) = compared("a:none", "a:dpa").pairs
    assert (pair.unknown, pair.p_value) == ("runs of one training", None)


def test_a_run_of_which_nothing_is_left_counts_as_nothing(folders):
    """Also without samples, where a mean of what the rows say is shown."""
    cells = [evasion(seed=seed, attacked_accuracy=a) for seed, a in enumerate((0.0, 0.5))]
    keep(folders[0], *cells)
    (pair,) = compared("a", "a").pairs
    assert (pair.before, pair.after) == (0.25, 0.25)
    keep(folders[1], *[(cell, (range(9), right(9, 9))) for cell in cells])
    (pair,) = compared("b", "b").pairs
    assert (pair.before, pair.after) == (0.0, 0.0)


def test_a_failed_run_is_a_problem_of_the_cell(folders):
    keep(folders[0], *poisoned("none", (0.9, 0.9, 0.9)))
    whole = poisoned("none", (0.9, 0.9, 0.9))
    keep(folders[1], *whole[:2], undone(whole[2][0], "failed", "x"))
    assert regressions(compared()) == ["biggio / none: not tested (runs missing after)"]


# -- the command ----------------------------------------------------------------------------


def test_exit_codes_for_ci(folders, capsys):
    ids = np.arange(100)
    keep(folders[0], (evasion(), (ids, right(100, 10))), (clean(), (ids, ids > 98)))
    keep(folders[1], (evasion(), (ids, right(100, 60))), (clean(), (ids, ids > 98)))
    assert main(["compare", "a", "b"]) == 0
    assert main(["compare", "a", "b", "--fail-under", "40"]) == 0
    assert main(["compare", "b", "a", "--fail-on-regression"]) == 0
    capsys.readouterr()
    assert main(["compare", "a", "b", "--fail-under", "41", "--fail-on-regression"]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "fastadv: pgd / none: 40 % is below 41 %",
        "fastadv: pgd / none: 90.0 before, 40.0 after, in this model",
    ]
    assert "-50.0" in printed.out


def test_json_of_a_folder_whose_name_is_not_utf8(folders, capsys):
    keep(folders[0], clean())
    keep(folders[1], clean())
    Path("a").rename("a\udcff")
    assert main(["compare", "a\udcff", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["before"] == "a?"


def test_json_has_the_verdicts(folders, capsys):
    keep(folders[0], (evasion(), (range(50), right(50, 5))))
    keep(folders[1], (evasion(), (range(50), right(50, 30))))
    assert main(["compare", "a", "b", "--json", "--fail-on-regression"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 2
    assert document["kind"] == "grid"
    (pair,) = document["pairs"]
    limit = {"kind": "linf", "budget": 0.1, "distance": "linf", "limits": [], "unit": ""}
    assert pair["threat"] == limit
    assert (pair["before"], pair["after"], pair["significant"]) == (0.9, 0.4, True)
    assert pair["difference"] == pytest.approx(-0.5)
    assert len(document["failures"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "nope"], "there is no folder nope"),
        (["a", "a/grid.json"], "one is a file"),
        (["a/grid.json", "a/grid.json"], "is no file of fastadv bench --json"),
        (["a"], "Missing argument 'B'"),
    ],
)
def test_wrong_usage_is_one_line(folders, capsys, arguments, message):
    keep(folders[0], (evasion(), (range(9), right(9, 1))))
    assert main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


# -- bench files ----------------------------------------------------------------------------


def bench(path, accuracy=0.9, **ratios):
    """Write a bench file: how many times faster than each peer; 0 where it did not run."""
    ours = Lap(
        suite="peers", race="training", runner="fastadv", ratio=1.0, low=1.0, high=1.0,
        seconds=1.0, quality={"accuracy": accuracy},
    )  # fmt: skip
    laps = [
        Lap(
            suite="peers",
            race="training",
            runner=k,
            ratio=v or None,
            low=v or None,
            high=v or None,
            seconds=v or None,
        )
        for k, v in ratios.items()
    ]
    document = {"schema": 1, "rounds": 5, "environment": {"cores": 2}, "laps": [ours, *laps]}
    path.write_bytes(msgspec.json.encode(document))


def test_ratios_worse_by_a_quarter_fail(folders, capsys):
    a, b = folders
    bench(a, torch=4.0, jax=2.0, sklearn=5.0, gone=3.0)
    bench(b, accuracy=0.8, torch=3.1, jax=1.4, sklearn=9.0, gone=0)
    assert main(["compare", "a", "b"]) == 0
    out = capsys.readouterr().out
    assert "-22 %" in out
    assert "+80 %" in out
    assert "accuracy 0.9 -> 0.8" in out
    assert main(["compare", "a", "b", "--fail-on-regression"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "fastadv: training, jax: 2x before, 1.4x after (-30 %)",
        "fastadv: training, gone: did not run after",
    ]
    assert main(["compare", "a", "b", "--fail-under", "50"]) == 2
    assert "--fail-under is for grids" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b'"ratio":4.0', b'"ratio":0.0'),  # was divided by
        lambda text: text.replace(b'"ratio":4.0', b'"ratio":-4.0'),
        lambda text: text.replace(b'"ratio":4.0', b'"ratio":1e999'),
        lambda text: text.replace(b"torch", b"\xff"),
        lambda text: text.replace(b"2}", b"[" * 10_000 + b"}"),  # ... was too deep
        lambda text: text[:-5],
    ],
)
def test_a_damaged_bench_file_is_one_line(folders, capsys, damage):
    a = folders[0]
    for path in folders:
        bench(path, torch=4.0)
    a.write_bytes(damage(a.read_bytes()))
    for order in (["a", "b"], ["b", "a"]):
        assert main(["compare", *order]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("fastadv: a is no file of fastadv bench --json (")
        assert err.count("\n") == 1
