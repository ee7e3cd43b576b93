"""Public tables through attacks and defenses: no cell fails, and figures go the way they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from fastadv import ColumnRules, Dataset, run_grid
from fastadv.columns import Columns
from fastadv.grid.cell import Choice
from fastadv.grid.result import GridResult
from fastadv.grid.trust.cells import impossible_rows
from fastadv.task import Task

MODEL = "mlp[hidden_layer_sizes=16,max_iter=80,batch_size=16]"
BUDGETS = (0.05, 0.1, 0.2)
QUICK = "square[queries=200],apgd[steps=20],label_flip,biggio[points=3,steps=3]"
EACH = "none,adv_training[epochs=30,batch_size=16],knn_relabel,dpa[partitions=5]"
FIXED = {
    "wine": ["flavanoids", "hue", "proline"],
    "breast_cancer": ["mean radius", "worst radius", "worst area", "worst texture"],
}


def grid_of(name: str, attacks: str, defenses: str, **rules: Any) -> GridResult:
    table = getattr(datasets, f"load_{name}")()
    columns = ColumnRules(list(table.feature_names), **rules)
    data = Dataset.from_arrays(table.data, table.target, name=name, columns=columns)
    return run_grid(
        dataset=data, model=MODEL, attacks=attacks, defenses=defenses, repeats=1,
        samples=len(data.x_test),
    )  # fmt: skip


def robust(grid: GridResult, defense: str = "none") -> list[float]:
    """Return what PGD leaves, from the smallest budget on."""
    found = {}
    for row in grid:
        if row.attack.startswith("pgd") and row.defense == defense:
            assert row.threat is not None
            assert row.attacked_accuracy is not None
            found[row.threat.budget] = row.attacked_accuracy.value
    return [found[budget] for budget in sorted(found)]


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["wine", pytest.param("breast_cancer", marks=pytest.mark.slow)])
def test_no_cell_fails_and_figures_make_sense(name: str) -> None:
    pgd = ",".join(f"pgd[eps={eps},steps=20]" for eps in BUDGETS)
    grid = grid_of(name, f"{pgd},{QUICK}", EACH)
    for row in grid:
        needs_gradient = row.attack.startswith(("pgd", "apgd"))
        skipped = needs_gradient and row.defense.startswith("dpa")
        assert row.status == ("skipped" if skipped else "ok"), (row.attack, row.defense, row.reason)
        if row.attack == "none" and row.clean_accuracy is not None:
            assert row.clean_accuracy.value > 0.8, row.defense
    left = robust(grid)
    assert left == sorted(left, reverse=True)
    assert left[0] > left[-1] + 0.2
    kept_to = robust(grid_of(name, pgd, "none", fixed=FIXED[name]))
    assert all(a >= b for a, b in zip(kept_to, left, strict=True))
    assert sum(kept_to) > sum(left)


def test_rows_that_cannot_exist_are_flagged() -> None:
    columns = Columns(("a", "n"), (0, 0), (1, 9), fixed=(0,), whole=(1,))
    task = Task((1, 2, 1), 2, columns=columns)
    x = np.array([[0.5, 0.0], [0.5, 1.0]], dtype=np.float32)
    plug_in = Choice("theirs", object())
    assert impossible_rows(plug_in, task.n_impossible(x, x)) == []
    assert impossible_rows(plug_in, Task((1, 2, 1), 2).n_impossible(x, x + 1)) == []
    for j, n in ((0, 1), (1, 2)):
        wrong = x.copy()
        wrong[:n, j] = 0.3
        (flag,) = impossible_rows(plug_in, task.n_impossible(x, wrong))
        assert flag.name == "impossible_rows"
        assert f"theirs returned {n} rows that cannot exist" in flag.message
