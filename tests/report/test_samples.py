"""What is kept of each image: read from its file once, as long as there is room."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from made_grids import default_grid

from fastadv.arrays import write_arrays
from fastadv.cli.app import main
from fastadv.grid import store
from fastadv.grid.store import SampleFiles


@pytest.fixture
def opened(monkeypatch):
    """Count how often each file of samples is read."""
    count = Counter[str]()
    read = store.read_samples

    def counted(folder, cell_id):
        count[cell_id] += 1
        return read(folder, cell_id)

    monkeypatch.setattr(store, "read_samples", counted)
    return count


@pytest.mark.parametrize("options", [[], ["--details"], ["--format", "markdown"]])
def test_a_report_reads_each_file_once(tmp_path, opened, options, capsys):
    default_grid(tmp_path)
    opened.clear()
    assert main(["report", str(tmp_path), *options]) == 0
    assert capsys.readouterr().out
    files = {path.stem for path in (tmp_path / "cells").glob("*.npz")}
    assert len(files) == 23 * 5
    assert opened == dict.fromkeys(files, 1)


def kept(folder, sizes):
    (folder / "cells").mkdir()
    for k, n in enumerate(sizes):
        write_arrays(folder / "cells" / f"{k}.npz", {"y": np.full(n, k, dtype=np.int8)})


def test_what_was_asked_for_longest_ago_makes_room(tmp_path, opened):
    kept(tmp_path, [40, 40, 40, 500])
    files = SampleFiles(room=100)

    def read(*names):
        for name in names:
            assert files.read(tmp_path, name)["y"][0] == int(name)

    read("0", "1", "0", "2")  # 1 makes room
    read("0", "2")
    assert opened == {"0": 1, "1": 1, "2": 1}
    read("1", "0")
    assert opened == {"0": 2, "1": 2, "2": 1}
    read("3", "3")  # more than there is room for, and alone there
    assert opened["3"] == 1
    read("0")
    assert opened["0"] == 3


def test_what_cannot_be_read_is_not_tried_again(tmp_path, opened):
    files = SampleFiles()
    assert files.read(tmp_path, "x") is None
    assert files.read(tmp_path, "x") is None
    assert opened == {"x": 1}


def test_a_caller_cannot_change_what_is_kept(tmp_path):
    kept(tmp_path, [3])
    files = SampleFiles()
    arrays = files.read(tmp_path, "0")
    with pytest.raises(ValueError, match="read-only"):
        arrays["y"][0] = 7
    arrays["y"] = np.zeros(1)
    assert len(files.read(tmp_path, "0")["y"]) == 3
