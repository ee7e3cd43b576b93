"""Two benchmarks beside each other: as a table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.benchmarks.compare_bench import ALLOWED, BenchComparison
from fastadv.report.compare_table import comparison_json, listed_notes, title
from fastadv.report.prose import Prose


def bench_compare_table(comparison: BenchComparison) -> RenderableType:
    """Return a line for each ratio, and what else is not the same."""
    table = Table(box=box.SIMPLE_HEAD, title=title(comparison), title_justify="left")
    table.add_column("work", overflow="fold")
    table.add_column("against", overflow="fold")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("our quality", overflow="fold")
    for pair in comparison.pairs:
        change = "" if pair.change is None else f"{100 * pair.change:+.0f} %"
        table.add_row(
            Text(pair.race),
            Text(pair.runner),
            _times(pair.before),
            _times(pair.after),
            Text(change, style="red" if pair.worse else ""),
            Text(pair.quality),
        )
    legend = (
        "How many times faster than the other, the median over rounds. Worse by more than "
        f"{100 * ALLOWED:g} % is a regression."
    )
    return Group(table, Prose([("", legend)], style="dim"), listed_notes(comparison.notes))


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3g}x"


def bench_compare_json(comparison: BenchComparison, failures: Sequence[str]) -> str:
    """Return one document: the sides, each ratio with its verdict, the notes, what fails."""
    pairs = [
        msgspec.to_builtins(pair) | {"change": pair.change, "regression": pair.worse}
        for pair in comparison.pairs
    ]
    return comparison_json("bench", comparison, pairs, failures)
