"""Benchmarks as a table: how many times faster, how sure, and at what quality."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.benchmarks.race import Lap


def bench_table(laps: Sequence[Lap], rounds: int, machine: str) -> RenderableType:
    """Return a table with a section for each race, and below it what did not run.

    Parameters
    ----------
    rounds : int
        That each ratio is the median of.
    machine : str
        What it ran on.
    """
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("work")
    table.add_column("by")
    table.add_column("fastadv is", justify="right")
    table.add_column("rounds", justify="right", style="dim")
    table.add_column("time", justify="right")
    table.add_column("quality")
    race = None
    for lap in laps:
        if lap.seconds is None or lap.ratio is None:
            continue
        if race not in (None, lap.race):
            table.add_section()
        name, race = (lap.race if lap.race != race else ""), lap.race
        ours = lap.ratio == lap.low == lap.high == 1.0
        table.add_row(
            Text(name),
            Text(lap.runner),
            "" if ours else Text(_times(lap.ratio), style="bold"),
            "" if ours else f"{lap.low:.2g}-{lap.high:.2g}",
            duration(lap.seconds),
            ", ".join(f"{name} {value:.4g}" for name, value in lap.quality.items()),
        )
    absent = sorted({f"{lap.runner}: {lap.reason}" for lap in laps if lap.reason is not None})
    note = (
        f"Median and range of the ratio over {rounds} rounds in turn, after one to warm up; "
        f"a time is a median. {machine}"
    )
    return Group(table, Text(note, style="dim"), *(Text(line) for line in absent))


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
