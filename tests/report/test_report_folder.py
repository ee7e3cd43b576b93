from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from made_rows import clean, evasion, figure, poisoning, result, undone, worst_case

import fastadv
from fastadv.cli.app import main
from fastadv.errors import InputError
from fastadv.grid.result import GridResult, read_result
from fastadv.grid.row import Certified, Flag, Run, decode_row
from fastadv.report.export import rows_json
from fastadv.report.markdown import write_table
from fastadv.threat import poison, rotation_translation

GRID = {
    "dataset": "mnist", "model": "mlp", "attacks": ["none", "pgd", "fgsm"],
    "defenses": ["median", "none"], "samples": 1000, "seeds": [0],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "grid.json").write_text(json.dumps({"grid": GRID, "environment": {"cores": 2}}))
    return tmp_path


def keep(folder, *rows, age=0):
    for row in rows:
        path = folder / "cells" / f"{row.id}.json"
        path.write_bytes(msgspec.json.encode(row))
        os.utime(path, (1e9 - age, 1e9 - age))


def test_rows_come_in_the_order_of_the_grid(folder):
    keep(
        folder, evasion("fgsm"), evasion("pgd", "median"), evasion("pgd"), clean(), clean("median")
    )
    found = read_result(folder)
    assert [(row.attack, row.defense) for row in found.rows] == [
        ("none", "median"), ("none", "none"), ("pgd", "median"), ("pgd", "none"), ("fgsm", "none")
    ]  # fmt: skip
    assert found.grid == GRID
    assert found.problems == ()


def test_a_path_in_text_and_the_name_of_the_package(folder):
    keep(folder, clean("none"))
    assert len(fastadv.read_result(str(folder))) == 1
    with pytest.raises(InputError, match="there is no folder"):
        fastadv.read_result(f"{folder}/absent")


@pytest.mark.parametrize(
    "stranger",
    [
        evasion("deepfool"), evasion("pgd", "svd"), evasion("pgd", seed=7),
        evasion("pgd", dataset="mnist[train=10]"), evasion("pgd", model="svm"), evasion("pgd", n=9),
    ],
)  # fmt: skip
def test_cells_of_another_grid_are_left_out(folder, stranger):
    stranger.id = "stranger"
    keep(folder, clean(), stranger)
    found = read_result(folder)
    assert ([row.attack for row in found.rows], found.others) == (["none"], 1)


def test_a_dataset_written_in_another_order_is_the_same(folder):
    grid = GRID | {"dataset": "mnist[val=5,train=10]"}
    (folder / "grid.json").write_text(json.dumps({"grid": grid}))
    keep(folder, clean(dataset="mnist[train=10,val=5]"))
    assert len(read_result(folder).rows) == 1


def test_a_failed_cell_belongs_although_it_measured_no_image(folder):
    keep(folder, undone(evasion(), "failed", "x"))
    assert [row.status for row in read_result(folder).rows] == ["failed"]


def test_of_the_same_cell_twice_the_later_is_shown(folder):
    keep(folder, evasion(id="old", attacked_accuracy=0.1), age=100)
    keep(folder, evasion(id="new", attacked_accuracy=0.2))
    assert [row.id for row in read_result(folder).rows] == ["new"]


def test_what_cannot_be_read_is_named_and_left_out(folder):
    keep(folder, clean(), evasion("pgd", schema=99))
    (folder / "cells" / "broken.json").write_text('{"schema": 1')
    (folder / "cells" / "wrong.json").write_bytes(msgspec.json.encode(clean()))
    found = read_result(folder)
    assert len(found.rows) == 1
    assert len(found.problems) == 3
    assert all("\n" not in problem for problem in found.problems)
    for part in ("cells/broken.json", "schema 99", "cells/wrong.json"):
        assert any(part in problem for problem in found.problems)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_without_grid_json_every_cell_is_shown(folder, text):
    (folder / "grid.json").unlink()
    if text is not None:
        (folder / "grid.json").write_text(text)
    keep(folder, clean(), evasion("deepfool"))
    found = read_result(folder)
    assert len(found.rows) == 2
    assert len(found.problems) == 1


def test_a_folder_that_holds_no_grid(tmp_path):
    with pytest.raises(InputError, match="holds no finished cell"):
        read_result(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        read_result(tmp_path / "absent")


def test_table_md(tmp_path):
    write_table(result([clean()]), tmp_path)
    assert "| clean | 98.1±0.3 |" in (tmp_path / "table.md").read_text()


def test_a_table_md_of_the_users_own_stays(tmp_path):
    path, found = tmp_path / "table.md", result([clean()])
    path.write_text("### notes\n\nmine")
    assert not write_table(found, tmp_path)
    assert path.read_text() == "### notes\n\nmine"
    for whole in (
        "",
        "### mnist, mlp\n\n| attack | `none` |\n",
    ):  # of a run before, or of fastadv 0.1
        path.write_text(whole)
        assert write_table(found, tmp_path)
        assert write_table(found, tmp_path)
    own = tmp_path / "own.md"
    own.write_text(path.read_text())
    path.unlink()
    path.symlink_to(own)
    assert not write_table(result([clean(dataset="other")]), tmp_path)
    assert "other" not in own.read_text()
    if hasattr(os, "mkfifo"):
        path.unlink()
        os.mkfifo(path)
        assert not write_table(found, tmp_path)


def test_json_is_one_document_of_the_schema():
    row = evasion(flags=[Flag("a", "b", "c")], notes=[Flag("d", "e", "f")])
    worst = worst_case(0.4, missing=("cw",))
    text = rows_json(result([row], [worst], {"dataset": "mnist"}))
    document = json.loads(text)
    assert list(document) == ["schema", "grid", "rows", "worst"]
    assert document["schema"] == document["rows"][0]["schema"] == 2
    assert document["grid"] == {"dataset": "mnist"}
    assert document["rows"][0]["attacked_accuracy"] == {
        "value": 0.421, "low": row.attacked_accuracy.low, "high": row.attacked_accuracy.high,
        "n_images": 1000, "n_runs": 1,
    }  # fmt: skip
    threat = {"kind": "linf", "budget": 0.1, "distance": "linf", "limits": [], "unit": ""}
    assert document["rows"][0]["threat"] == threat
    assert document["rows"][0]["oblivious_accuracy"] is None
    assert document["rows"][0]["flags"] == [{"name": "a", "message": "b", "remedy": "c"}]
    assert document["rows"][0]["notes"] == [{"name": "d", "message": "e", "remedy": "f"}]
    of_worst = {"value": 0.4, "low": worst.accuracy.low, "high": worst.accuracy.high,
                "n_images": 1000, "n_runs": 1}  # fmt: skip
    assert document["worst"] == [
        {"threat": threat, "defense": "none", "accuracy": of_worst,
         "attacks": ["pgd", "fgsm"], "missing": ["cw"]}
    ]  # fmt: skip
    run = {"id": "pgd-none-0", "seed": 0, "n_images": 1000, "clean_accuracy": 0.981,
           "benign_accuracy": None, "attacked_accuracy": 0.421, "oblivious_accuracy": None,
           "baseline_accuracy": None, "weights": "one model", "draw": None}  # fmt: skip
    assert document["rows"][0]["runs"] == [run]


def test_json_of_a_poisoned_cell_has_the_points_lost():
    rows = [poisoning(seed=seed, attacked_accuracy=a) for seed, a in enumerate((0.94, 0.96))]
    (row,) = json.loads(rows_json(result(rows)))["rows"]
    assert row["accuracy_lost"]["value"] == pytest.approx(0.031)
    assert row["baseline_lost"]["value"] == pytest.approx(0.005)
    assert (row["accuracy_lost"]["low"], row["accuracy_lost"]["n_runs"]) == (None, 2)
    assert [run["attacked_accuracy"] for run in row["runs"]] == [0.94, 0.96]


def full_row():
    """A row that has everything."""
    return poisoning(
        threat=rotation_translation(30, 3), benign_accuracy=0.9, success_rate=0.8,
        oblivious_accuracy=0.96, certified=Certified(poison(0.01), figure(0.5)),
        distances={"linf": 0.1}, poison={"points": 30.0, "fraction": 0.03},
        found={"region": "3 as 5", "target": 0}, sanitized={"lost": 0.1, "caught": 0.5},
        queries={"forward": 3.0}, seconds={"fit": 1.5}, weights="w", flags=[Flag("a", "b", "c")],
        notes=[Flag("d", "e")], runs=[Run("p", 3, 10, 0.98, 0.95, 0.96, 0.97, 0.9, "w"), Run("q", 4, 9)],
        parameters={"attack": {"points": None, "kind": "x"}, "model": {"layers": [8, 8]}},
    )  # fmt: skip


def test_what_was_printed_decodes_to_equal_rows():
    rows = [full_row(), evasion(), clean(), undone(evasion("fgsm"), "failed", "it broke")]
    printed = json.loads(rows_json(GridResult(tuple(rows))))["rows"]
    assert [decode_row(json.dumps(row).encode()) for row in printed] == rows


def test_report_says_that_cells_of_other_grids_are_kept(folder, capsys):
    stranger = evasion("deepfool")
    keep(folder, clean(), stranger)
    assert main(["report", str(folder)]) == 0
    assert "keeps 1 cell of other grids" in capsys.readouterr().err


def test_a_table_that_no_run_has_written_stays(tmp_path: Path) -> None:
    table, elsewhere = tmp_path / "table.md", tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    table.symlink_to(elsewhere)
    assert not write_table(result([clean()]), tmp_path)  # nor is anything written through a link
    assert (table.is_symlink(), elsewhere.read_text()) == (True, "mine")
    table.unlink()
    assert write_table(result([clean()]), tmp_path)
    first = table.read_text()
    assert write_table(result([clean()]), tmp_path)  # its own
    assert table.read_text() == first
    for own in ("my notes\n", "### Mine\n\ntext\n"):
        table.write_text(own)
        assert not write_table(result([clean()]), tmp_path)
        assert table.read_text() == own
