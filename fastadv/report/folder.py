"""The folder of a grid: read back, and its ``table.md``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fastadv.errors import InputError
from fastadv.files import atomic_write
from fastadv.grid.store import SCHEMA, Row
from fastadv.grid.trust import flagged
from fastadv.report.markdown import grid_markdown
from fastadv.specs import same_spec

if TYPE_CHECKING:
    from fastadv.grid.several import Mean
    from fastadv.grid.worst import Worst


@dataclass(frozen=True)
class GridFolder:
    """What a grid's folder holds.

    Attributes
    ----------
    grid : dict
        What was asked for, from ``grid.json``; empty if that cannot be read.
    environment : dict
        What it ran on, from there too.
    rows : list of Row
        Of this grid alone, in its order: attack by attack, defense by defense.
    problems : list of str
        A line for each file that could not be used.
    others : int
        Cells that are kept beside them, of other grids that ran in this folder.
    """

    grid: dict[str, Any]
    environment: dict[str, Any]
    rows: list[Row]
    problems: list[str]
    others: int = 0


def read_grid(folder: Path) -> dict[str, Any]:
    """Return what was asked for, from ``grid.json``; empty if that cannot be read."""
    return _read_document(folder / "grid.json", []).get("grid", {})


def read_folder(folder: Path) -> GridFolder:
    """Read ``grid.json`` and its finished cells; other grids may have left cells beside them.

    Raises
    ------
    InputError
        If this is not the folder of a grid.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    paths = sorted((folder / "cells").glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise InputError(f"{folder} holds no finished cell of a grid (cells/ID.json)")
    problems: list[str] = []
    document = _read_document(folder / "grid.json", problems)
    grid, environment = document.get("grid", {}), document.get("environment", {})
    latest: dict[tuple[object, ...], Row] = {}
    others = 0
    for path in paths:
        row = _read_row(path, problems)
        if row is None:
            continue
        if not _belongs(row, grid):
            others += 1
        else:
            cell = row.dataset, row.model, row.attack, row.defense, row.seed
            latest[cell] = row  # of two versions of the package, the one that ran last
    ordered = flagged(sorted(latest.values(), key=_order(grid)))
    return GridFolder(grid, environment, ordered, problems, others)


def write_table(
    folder: Path, rows: Sequence[Row], worst: Sequence[Worst], means: Sequence[Mean] = ()
) -> None:
    """Write ``table.md``."""
    with atomic_write(folder / "table.md") as stream:
        stream.write(grid_markdown(rows, worst, means).encode())


def _read_document(path: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except FileNotFoundError:
        problems.append("grid.json is not there; every cell of the folder is shown")
    except (OSError, msgspec.MsgspecError) as error:
        problems.append(f"grid.json could not be read, every cell is shown ({_one_line(error)})")
    return {}


def _read_row(path: Path, problems: list[str]) -> Row | None:
    name = f"cells/{path.name}"
    try:
        row = msgspec.json.decode(path.read_bytes(), type=Row)
    except (OSError, msgspec.MsgspecError) as error:
        problems.append(f"{name} could not be read and is left out ({_one_line(error)})")
        return None
    if row.schema != SCHEMA:
        problems.append(f"{name} is of schema {row.schema}, not {SCHEMA}, and is left out")
        return None
    if row.id != path.stem:
        problems.append(f"{name} holds the cell {row.id} and is left out")
        return None
    return row


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _belongs(row: Row, grid: dict[str, Any]) -> bool:
    """Return whether the grid has this cell; one that cannot be read has any."""
    axes = {"attacks": row.attack, "defenses": row.defense, "seeds": row.seed}
    if any(key in grid and value not in grid[key] for key, value in axes.items()):
        return False
    names = {"dataset": row.dataset, "model": row.model}
    if any(key in grid and not same_spec(value, grid[key]) for key, value in names.items()):
        return False
    measured = row.kind == "evasion" and row.status == "ok"
    return not measured or row.n == grid.get("samples", row.n)


def _order(grid: dict[str, Any]) -> Callable[[Row], tuple[int, ...]]:
    """Return the place of a row on the axes; what is not on them comes last."""
    attacks, defenses = grid.get("attacks", []), grid.get("defenses", [])

    def place(row: Row) -> tuple[int, ...]:
        return _index(attacks, row.attack), _index(defenses, row.defense), row.seed

    return place


def _index(axis: list[str], name: str) -> int:
    return axis.index(name) if name in axis else len(axis)
