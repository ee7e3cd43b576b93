from __future__ import annotations

import csv
import io
import json
import os

import msgspec
import pytest
from made_rows import clean, evasion, poisoning, undone

from fastadv.cli.app import main
from fastadv.errors import InputError
from fastadv.grid.store import Flag
from fastadv.grid.worst import Worst
from fastadv.report.export import rows_csv, rows_json
from fastadv.report.folder import read_folder, write_table

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
    found = read_folder(folder)
    assert [(row.attack, row.defense) for row in found.rows] == [
        ("none", "median"), ("none", "none"), ("pgd", "median"), ("pgd", "none"), ("fgsm", "none")
    ]  # fmt: skip
    assert found.grid == GRID
    assert found.problems == []


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
    found = read_folder(folder)
    assert ([row.attack for row in found.rows], found.others) == (["none"], 1)


def test_a_dataset_written_in_another_order_is_the_same(folder):
    grid = GRID | {"dataset": "mnist[val=5,train=10]"}
    (folder / "grid.json").write_text(json.dumps({"grid": grid}))
    keep(folder, clean(dataset="mnist[train=10,val=5]"))
    assert len(read_folder(folder).rows) == 1


def test_a_failed_cell_belongs_although_it_measured_no_image(folder):
    keep(folder, undone(evasion(), "failed", "x"))
    assert [row.status for row in read_folder(folder).rows] == ["failed"]


def test_of_the_same_cell_twice_the_later_is_shown(folder):
    keep(folder, evasion(id="old", attacked_accuracy=0.1), age=100)
    keep(folder, evasion(id="new", attacked_accuracy=0.2))
    assert [row.id for row in read_folder(folder).rows] == ["new"]


def test_what_cannot_be_read_is_named_and_left_out(folder):
    keep(folder, clean(), evasion("pgd", schema=99))
    (folder / "cells" / "broken.json").write_text('{"schema": 1')
    (folder / "cells" / "wrong.json").write_bytes(msgspec.json.encode(clean()))
    found = read_folder(folder)
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
    found = read_folder(folder)
    assert len(found.rows) == 2
    assert len(found.problems) == 1


def test_a_folder_that_holds_no_grid(tmp_path):
    with pytest.raises(InputError, match="holds no finished cell"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        read_folder(tmp_path / "absent")


def test_table_md(tmp_path):
    write_table(tmp_path, [clean()], [])
    assert "**98.1**" in (tmp_path / "table.md").read_text()


def test_json_is_one_document_of_the_schema():
    row = evasion(flags=[Flag("a", "b", "c")], notes=[Flag("d", "e", "f")])
    worst = Worst("linf(0.1)", "none", 0, 1000, 0.4, (0.37, 0.43), ("pgd", "fgsm"), ("cw",))
    document = json.loads(rows_json({"dataset": "mnist"}, [row], [worst]))
    assert document["schema"] == 1
    assert document["grid"] == {"dataset": "mnist"}
    assert document["rows"][0]["attacked_accuracy_ci95"] == [0.391, 0.452]
    assert document["rows"][0]["flags"] == [{"name": "a", "message": "b", "remedy": "c"}]
    assert document["rows"][0]["notes"] == [{"name": "d", "message": "e", "remedy": "f"}]
    assert document["worst"] == [
        {"threat": "linf(0.1)", "defense": "none", "seed": 0, "n": 1000, "accuracy": 0.4,
         "ci95": [0.37, 0.43], "attacks": ["pgd", "fgsm"], "missing": ["cw"]}
    ]  # fmt: skip


def test_csv_has_a_column_for_every_figure():
    rows = [
        evasion(flags=[Flag("a", "b"), Flag("c", "d")]),
        poisoning(sanitized={"caught": 0.75, "lost": 0.05}, notes=[Flag("e", "f")]),
        undone(clean(), "failed", "x,\ny"),
    ]
    first, second, third = csv.DictReader(io.StringIO(rows_csv(rows)))
    assert first["attacked_accuracy_low"] == "0.391"
    assert first["attacked_accuracy_high"] == "0.452"
    assert first["distances.l2"] == "2.0"
    assert second["distances.l2"] == ""
    assert second["baseline_accuracy"] == "0.976"
    assert (second["sanitized.caught"], second["sanitized.lost"]) == ("0.75", "0.05")
    assert first["flags"] == "a c"
    assert (first["notes"], second["notes"]) == ("", "e")
    assert third["reason"] == "x,\ny"
    assert third["attacked_accuracy_low"] == ""
    assert "parameters" not in first


def test_report_says_that_cells_of_other_grids_are_kept(folder, capsys):
    stranger = evasion("deepfool")
    keep(folder, clean(), stranger)
    assert main(["report", str(folder)]) == 0
    assert "keeps 1 cell of other grids" in capsys.readouterr().err
