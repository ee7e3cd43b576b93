"""The command that computes a grid, or one of its cells, again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult
    from fastadv.grid.row import Row


FACTORY = "FILE.py:FACTORY"  # stands for a model that came as an object, which has no text


def grid_command(grid: dict[str, Any]) -> str:
    """Return the command for what a grid's document says was asked for."""
    words = ["fastadv", "grid"]
    for name in ("attacks", "defenses", "dataset", "model", "samples"):
        if name in grid:
            value = grid[name]
            joined = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            if name == "model" and grid.get("given", {}).get("from") == "python":
                joined = FACTORY
            words += [f"--{name}", joined]
    seeds = grid.get("seeds")
    repeats = grid.get("repeats")
    if repeats is None and isinstance(seeds, list):  # of fastadv 0.1
        repeats = len(seeds)
    if repeats is not None:
        words += ["--repeats", str(repeats)]
    if isinstance(seeds, list) and seeds and seeds[0] != 0:
        words += ["--seed", str(seeds[0])]
    return shlex.join(words)


def cell_command(result: GridResult, row: Row) -> str:
    """Return the command for one cell: its figures do not hang on the cells beside it."""
    return cells_command(result, [row])


def cells_command(result: GridResult, rows: Sequence[Row]) -> str:
    """Return the command for the cells of several attacks against one defense."""
    asked: dict[str, Any] = {
        name: result.grid[name] for name in ("samples", "repeats", "given") if name in result.grid
    }
    first = rows[0]
    axes = {"attacks": [row.attack for row in rows], "defenses": first.defense}
    where = {"dataset": first.dataset, "model": first.model}
    seeds = [run.seed for run in first.runs] or [first.seed]
    return grid_command({**axes, **where, "seeds": seeds, **asked})
