"""Several ``--model`` of one command: a grid each, in a folder each, and what is said over all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import QUICK_GRID, blobs, small_mlp, write_npz

from fastadv.cli.grid_options import folder_names
from fastadv.grid import run as grid_run

X, Y = blobs(60)
TWO = ["--model", "a.npz", "--model", "b.npz"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_mlp(20).fit(X, Y).save(tmp_path / "a.npz")
    small_mlp(20, random_state=1).fit(X, Y).save(tmp_path / "b.npz")
    small_mlp().fit(np.hstack([X, X]), Y).save(tmp_path / "wide.npz")
    write_npz(tmp_path / "data.npz")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_each_has_a_table_and_a_folder_that_compare_reads(program: Any) -> None:
    done = program(*QUICK_GRID, *TWO, "--output", "out")
    assert done.code == 0, done.err
    assert done.out.index("data.npz · a.npz") < done.out.index("data.npz · b.npz")
    assert "results in out/a.npz" in done.err
    assert "fastadv compare out/a.npz out/b.npz" in done.err
    for name in ("a.npz", "b.npz"):
        assert (Path("out") / name / "table.md").is_file()
        assert program("report", f"out/{name}").code == 0
    compared = program("compare", "out/a.npz", "out/b.npz")
    assert compared.code == 0, compared.err
    assert "model: a.npz before, b.npz after" in compared.out
    assert "unknown" not in compared.out  # two given models are compared by their images
    done = program("report", "out")
    assert done.code == 2
    assert "holds no finished cell of a grid (cells/ID.json); it holds grids: out/a.npz, out/b.npz" in done.err  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_json_is_an_array_of_several_and_an_object_of_one(program: Any) -> None:
    documents = json.loads(program(*QUICK_GRID, *TWO, "--json").out)
    assert [document["grid"]["model"] for document in documents] == ["a.npz", "b.npz"]
    one = json.loads(program(*QUICK_GRID, "--model", "a.npz", "--json").out)
    assert [row["id"] for row in one["rows"]] == [row["id"] for row in documents[0]["rows"]]
    assert Path("fastadv-results/a.npz/grid.json").is_file()  # one alone is in the folder itself
    assert Path("fastadv-results/grid.json").is_file()


@pytest.mark.usefixtures("folder")
def test_a_model_that_is_given_twice_is_one(program: Any) -> None:
    done = program(*QUICK_GRID, "--model", "a.npz", "--model", "a.npz")
    assert done.code == 0
    assert "results in fastadv-results\n" in done.err


@pytest.mark.usefixtures("folder")
def test_gates_are_over_all_and_name_the_model(program: Any) -> None:
    done = program(*QUICK_GRID, *TWO, "--fail-under", "fgsm/none=100%")
    lines = [line for line in done.err.splitlines() if line.startswith("fastadv: ")]
    assert done.code == 1
    assert [line.split(":")[1].strip() for line in lines] == ["a.npz", "b.npz"]
    assert program(*QUICK_GRID, *TWO, "--fail-under", "none/none=1%").code == 0


@pytest.mark.parametrize(("broken", "code"), [("b.npz", 1), ("", 0)])
@pytest.mark.usefixtures("folder")
def test_what_failed_of_one_is_exit_code_1(
    program: Any, monkeypatch: Any, broken: str, code: int
) -> None:
    run_grid = grid_run.run_grid

    def run(**asked: Any) -> Any:
        result = run_grid(**asked)
        if asked["model"] == broken:
            result.runs[1].status = "failed"
        return result

    monkeypatch.setattr(grid_run, "run_grid", run)
    done = program(*QUICK_GRID, *TWO)
    assert done.code == code, done.err
    assert ("1 of 4 runs failed" in done.err) == (code == 1)


@pytest.mark.usefixtures("folder")
def test_an_interruption_keeps_what_is_done(program: Any, monkeypatch: Any) -> None:
    run_grid = grid_run.run_grid

    def run(**asked: Any) -> Any:
        if asked["model"] == "b.npz":
            raise KeyboardInterrupt
        return run_grid(**asked)

    monkeypatch.setattr(grid_run, "run_grid", run)
    done = program(*QUICK_GRID, *TWO, "--output", "out")
    assert done.code == 130
    last = done.err.splitlines()[-1]
    assert "the finished cells are kept in out/b.npz: run the same command again to go on" in last
    assert last.endswith("done: out/a.npz")
    assert "data.npz · a.npz" in done.out  # its table has been printed
    monkeypatch.setattr(grid_run, "run_grid", run_grid)
    first = {file.name: file.stat().st_mtime_ns for file in Path("out/a.npz/cells").iterdir()}
    assert program(*QUICK_GRID, *TWO, "--output", "out").code == 0
    assert first == {file.name: file.stat().st_mtime_ns for file in Path("out/a.npz/cells").iterdir()}  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_what_does_not_fit_is_told_before_any_work(program: Any) -> None:
    for bad, line in (
        ("wide.npz", "wide.npz: MLPClassifier takes 40 numbers"), ("none.npz", "there is no file none.npz"),
        ("mlp[hidden_layer_sizes=0]", "mlp[hidden_layer_sizes=0]: "),
    ):  # fmt: skip
        done = program(*QUICK_GRID, "--model", "a.npz", "--model", bad, "--output", "out")
        assert done.code == 2
        assert line in done.err
        assert not Path("out").exists()


def test_a_factory_that_fails_is_told_in_its_turn(program: Any, folder: Path) -> None:
    (folder / "mine.py").write_text("def make(task):\n    raise OSError('no weights')\n")
    done = program(*QUICK_GRID, "--model", "a.npz", "--model", "mine.py:make")
    assert done.code == 2
    assert done.err.splitlines()[-1] == ("fastadv: mine.py:make fails: OSError: no weights")
    assert Path("fastadv-results/a.npz/grid.json").is_file()


@pytest.mark.usefixtures("folder")
def test_several_in_a_file_and_in_a_plan(program: Any) -> None:
    Path("grid.toml").write_text(
        'attacks = "fgsm"\ndefenses = "none"\ndataset = "data.npz"\nmodel = ["a.npz", "b.npz"]\n'
    )
    done = program("grid", "--config", "grid.toml", "--plan")
    assert done.code == 0, done.err
    assert done.out.count("fgsm") == 2
    assert not Path("fastadv-results").exists()


def test_folders_are_told_apart() -> None:
    assert folder_names(["m/a.npz", "m_a.npz", "mine.py:make", "mlp[max_iter=3]", "../../x"]) == [
        "m_a.npz", "m_a.npz-2", "mine.py_make", "mlp_max_iter=3", "x",
    ]  # fmt: skip
    names = folder_names(["a", "a-2", "a", "A", "é", "è", "x" * 300])
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 110
