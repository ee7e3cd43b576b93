"""How time and memory grow, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.benchmarks.bench_table import duration
from fastadv.benchmarks.scaling import Point

_LINEAR = 1.15  # an exponent above it is called worse than linear


def scaling_table(points: Sequence[Point], rounds: int, machine: str) -> RenderableType:
    """Return a table with a section for each curve."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("work")
    table.add_column("by")
    for name in ("size", "time", "grows as", "memory"):
        table.add_column(name, justify="right")
    table.add_column("")
    curve = None
    for point in points:
        if curve not in (None, (point.work, point.by)):
            table.add_section()
        new, curve = curve != (point.work, point.by), (point.work, point.by)
        worse = point.exponent is not None and point.exponent > _LINEAR
        table.add_row(
            point.work if new else "",
            point.by if new else "",
            f"{point.size:,}",
            duration(point.seconds),
            "" if point.exponent is None else f"size^{point.exponent:.2f}",
            "-" if point.memory is None else f"{point.memory:,.1f} MiB",
            Text("worse than linear" if worse else "", style="yellow"),
        )
    note = (
        f"A time is the median of {rounds} runs after one to warm up. grows as: from the size "
        f"above. memory: what the process grew by at its peak. {machine}"
    )
    return Group(table, Text(note, style="dim"))
