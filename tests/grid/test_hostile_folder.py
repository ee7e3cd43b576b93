"""A grid's folder that comes from somebody else, or from a disk that fails."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from fastadv import run_grid
from fastadv.errors import InputError
from fastadv.grid.result import read_result
from fastadv.grid.store import Store

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    run_grid(
        attacks="none", defenses="none", dataset="mnist[train=100,val=50,test=50]", samples=10,
        repeats=1, output=folder,
    )  # fmt: skip
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "results"))


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


@pytest.mark.parametrize("pattern", ["cells/*.json", "grid.json"])
def test_a_flipped_bit_is_a_problem_in_a_line_and_no_traceback(folder: Path, pattern: str) -> None:
    path = only(folder, pattern)
    whole, told = path.read_bytes(), 0
    for place in range(0, len(whole), max(len(whole) // 150, 1)):
        for bit in (0x01, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            told += len(read_result(folder).problems)
    assert told > 100  # each of those that are no UTF-8, at the least
    path.write_bytes(b"[" * 10**5)
    assert len(read_result(folder).problems) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "linf"), ("dealt", [0, 0]), ("dealt", [-1, 1]), ("seed", 10**30), ("seed", -1),
        ("n", -1), ("n", 1e300), ("clean_accuracy", {"value": 1e308, "low": 0, "high": 1, "n_images": 1}),
        ("attacked_accuracy", {"value": 0.5, "low": 0, "high": 7, "n_images": 1}),
        ("attacked_accuracy", {"value": 0.5, "low": 0, "high": 1, "n_images": 2**60}),
        ("attacked_accuracy", {"value": 0.5, "low": 0, "high": 1, "n_images": 1, "n_runs": 0}),
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_is_a_problem_in_a_line(
    folder: Path, name: str, value: object
) -> None:
    """Some ended in an OverflowError in a table, or a ValueError on the way there."""
    path = only(folder, "cells/*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    found = read_result(folder)
    assert found.runs == ()
    assert "is left out (" in found.problems[0]
    assert f"$.{name}" in found.problems[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attacks", [[1]]), ("attacks", True), ("defenses", [{}]), ("seeds", 1), ("samples", 0.5),
        ("repeats", 0), ("given", None), ("dataset", 7),
    ],
)  # fmt: skip
def test_a_spec_of_other_types_is_a_problem_and_every_cell_is_shown(
    folder: Path, name: str, value: object
) -> None:
    path = folder / "grid.json"
    document = json.loads(path.read_text())
    document["grid"][name] = value
    path.write_text(json.dumps(document))
    found = read_result(folder)
    assert len(found.runs) == 1
    assert "grid.json could not be read, every cell is shown (" in found.problems[0]


def test_a_damaged_stage_is_computed_again(folder: Path) -> None:
    path = only(folder, "stages/*.npz")
    store, whole = Store(folder), path.read_bytes()
    for place in range(0, len(whole), max(len(whole) // 100, 1)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x80
        path.write_bytes(damaged)
        store.load_stage(path.stem)
    path.write_bytes(whole[:-100])
    assert store.load_stage(path.stem) is None


@needs_posix
def test_a_fifo_and_links_among_the_cells_are_left_out(folder: Path) -> None:
    cells = folder / "cells"
    os.mkfifo(cells / "0000000000000000.json")
    (cells / "1111111111111111.json").symlink_to("1111111111111111.json")
    (cells / "2222222222222222.json").symlink_to("nowhere")
    found = read_result(folder)
    assert len(found.runs) == 1
    assert len(found.problems) == 3


def test_what_is_not_a_runs_own_outlives_fresh(folder: Path) -> None:
    own = folder / "cells" / "my notes.txt"
    own.write_text("mine")
    Store(folder).forget()
    assert own.read_text() == "mine"
    assert [path.name for path in (folder / "cells").iterdir()] == ["my notes.txt"]
    assert list((folder / "stages").iterdir()) == []


@needs_posix
def test_nothing_is_written_through_a_link_inside_the_folder(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "stages")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "0123456789abcdef.npz").touch()
    (folder / "stages").symlink_to(elsewhere)
    with pytest.raises(InputError, match="stages is a link"):
        Store(folder)
    assert len(list(elsewhere.iterdir())) == 1
