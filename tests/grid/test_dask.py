"""A grid on the workers of a Dask cluster: the rows of one process, whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers import SMALL_MLP, numbers, write_npz

from fastadv.grid.executors.dask import Dask
from fastadv.grid.result import GridResult
from fastadv.grid.run import run_grid

ATTACKS = ["pgd[steps=4]", "fgsm", "label_flip[points=6]"]
DEFENSES = ["none", "knn_relabel[neighbors=5]", "median"]


def grid(dataset: str, **changes: Any) -> GridResult:
    settings = {"attacks": ATTACKS, "defenses": DEFENSES, "model": SMALL_MLP, "samples": 20}
    return run_grid(dataset=dataset, **{"repeats": 2, **settings, **changes})


@pytest.mark.slow
@pytest.mark.compiled
def test_workers_on_this_machine_give_the_same_rows(tmp_path: Path) -> None:
    dataset = write_npz(tmp_path / "small.npz")
    here = grid(dataset, jobs=1)
    there = grid(dataset, executor=Dask("local[2]"), output=tmp_path / "out")
    assert numbers(there) == numbers(here)
    lines = (tmp_path / "out" / "travels.jsonl").read_text().splitlines()
    travels = [msgspec.json.decode(line) for line in lines]
    assert len({one["key"] for one in travels}) == len(travels) > len(here.runs)
    assert all(one["sent"] > 0 and one["received"] > 0 and one["seconds"] > 0 for one in travels)
    assert len({one["worker"] for one in travels}) == 2
