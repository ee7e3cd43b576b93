"""What of a grid does not reach the accuracy that somebody asks of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastadv.grid.store import Row
from fastadv.grid.worst import worst_rows


def below(grid: dict[str, Any], rows: Sequence[Row], folder: Path, floor: float) -> list[str]:
    """Return a line for each accuracy under attack below ``floor``, a share, or that there is not.

    The worst cases count; clean accuracy and pairs that do not go together do not.

    Parameters
    ----------
    grid : dict
        What was asked for, as ``grid.json`` has it; what it does not say is not missed.
    folder : path
        The grid's, with the samples of its cells.
    """
    lines = _absent(grid, rows)
    for row in rows:
        if row.kind == "none":
            continue
        cell = f"{row.attack} / {row.defense}, seed {row.seed}"
        if row.status in ("failed", "timeout"):
            lines.append(f"{cell}: no figure ({row.status})")
        elif row.attacked_accuracy is not None and row.attacked_accuracy < floor:
            lines.append(f"{cell}: {100 * row.attacked_accuracy:.1f} is below {100 * floor:g}")
    for case in worst_rows(rows, folder):
        if len(case.attacks) > 1 and case.accuracy < floor:
            cell = f"worst of {case.threat} / {case.defense}, seed {case.seed}"
            lines.append(f"{cell}: {100 * case.accuracy:.1f} is below {100 * floor:g}")
    return lines


def _absent(grid: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return a line for each cell under attack that was asked for and is not there."""
    there = {(row.attack, row.defense, row.seed) for row in rows}
    axes = (grid.get(name, []) for name in ("attacks", "defenses", "seeds"))
    return [
        f"{attack} / {defense}, seed {seed}: no figure (not run)"
        for attack, defense, seed in itertools.product(*axes)
        if attack != "none" and (attack, defense, seed) not in there
    ]
