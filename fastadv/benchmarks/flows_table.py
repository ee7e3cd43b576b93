"""How near stadv's flows are to the least ones, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastadv.benchmarks.flows import (
    MEDIAN,
    NINETY,
    STARTS,
    STEPS,
    SUCCESS,
    TIMES,
    Judged,
)  # fmt: skip
from fastadv.report.prose import Prose


def flows_table(judged: Sequence[Judged]) -> RenderableType:
    """Return a row for each network; what falls short of the aim is red."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("network", no_wrap=True)
    for name in ("median", "90 %", "success", "best", "s", "Adam", "times"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in judged:
        if one.median is None:
            continue
        adam = "-" if one.peer_steps is None else f"{one.peer_starts} x {one.peer_steps}"
        table.add_row(
            one.net, _figure(one, "median", ".3f"), _figure(one, "ninety", ".3f"),
            _figure(one, "success", ".1%"), f"{one.best_success:.1%}", f"{one.seconds:.2f}",
            adam if one.matched or adam == "-" else f"> {adam}", _figure(one, "times", ".0f"),
        )  # fmt: skip
    images = " and ".join(f"{n:,}" for n in sorted({one.n for one in judged if one.n}))
    legend = (
        f"stadv's flow loss over the least that {STARTS} starts of {STEPS:,} steps of Adam find, "
        f"of {images} images: the median, and what 90 % of them are within. success, best: the "
        "share that ours and theirs change. s: our seconds for all. Adam: the fewest starts and "
        "steps of Adam in JAX that come as near (> if none does), and how many times our time they "
        f"take. Aimed at: {MEDIAN:g}, {NINETY:g}, {SUCCESS:.1%} where theirs is all, {TIMES:g}."
    )
    lacking = sorted({one.reason for one in judged if one.reason is not None})
    return Group(table, Prose([("", legend)], style="dim"), *map(Text, lacking))


def _figure(one: Judged, name: str, form: str) -> Text:
    value = getattr(one, name)
    if value is None:
        return Text("-")
    return Text(f"{value:{form}}", style="red" if name in one.short else "")
