"""What ``fastadv grid --plan`` prints: the cells of a grid, what they share, time and room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from fastadv.grid.outline import Outline


def plan_view(found: Outline) -> RenderableType:
    """Return the list of cells and what it adds up to."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("attack", overflow="fold")
    table.add_column("defense", overflow="fold")
    table.add_column("runs to do", justify="right")
    table.add_column("kept", justify="right")
    table.add_column("", overflow="fold")
    for cell in found.cells:
        names = Text(cell.attack), Text(cell.defense)
        reason = f"skipped: {cell.reason}" if cell.reason else ""
        table.add_row(*names, str(cell.to_do), str(cell.kept or ""), Text(reason, style="dim"))
    return Group(table, Text(" " + _sum(found)))


def _sum(found: Outline) -> str:
    to_do = sum(cell.to_do for cell in found.cells)
    if not to_do:
        return "nothing to do"
    counts = ", ".join(f"{count} {name}" for name, count in found.stages.items())
    return (
        f"{to_do} runs of cells to do, which share {counts}; very roughly "
        f"{_duration(found.seconds / 2)} on 2 cores, and up to "
        f"{max(1.0, found.megabytes):,.0f} MB of results"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
