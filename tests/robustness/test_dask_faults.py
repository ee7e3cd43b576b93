"""A small grid on a real cluster that loses a worker, then its scheduler: see ``dask_faults.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from dask_faults import cluster, equal, scheduler_killed, undisturbed, worker_killed

GRID = ["grid", "--attacks", "fgsm,label_flip", "--defenses", "none,median", "--dataset",
        "mnist[train=300,val=100,test=100]", "--samples", "40", "--repeats", "2"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_rows_are_those_of_one_process_whatever_is_lost(tmp_path: Path) -> None:
    rows = undisturbed(GRID, tmp_path / "here")
    assert len(rows) == 12
    with cluster(tmp_path / "cluster", 2) as place:
        assert equal(place, GRID, tmp_path / "equal", rows) == []
        assert worker_killed(place, GRID, tmp_path / "worker", rows, 3, 0) == []
        assert scheduler_killed(place, GRID, tmp_path / "scheduler", rows, 12) == []
