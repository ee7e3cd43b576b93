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


def flows_table(judged: Sequence[Judged]) -> RenderableType:
    """Return a row for each network; what falls short of the aim is red."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in (
        "network",
        "images",
        "median",
        "90 %",
        "success %",
        "best %",
        "s",
        "Adam",
        "times",
    ):
        table.add_column(name, justify="left" if name == "network" else "right")
    for one in judged:
        if one.median is None:
            continue
        adam = f"{one.peer_starts} x {one.peer_steps}" if one.peer_steps else "-"
        table.add_row(
            one.net, str(one.n), _figure(one, "median", ".3f"), _figure(one, "ninety", ".3f"),
            _figure(one, "success", ".1%"), f"{one.best_success:.1%}".rstrip("%"),
            f"{one.seconds:.2f}", adam if one.matched or not one.peer_steps else f"> {adam}",
            _figure(one, "times", ".0f"),
        )  # fmt: skip
    legend = (
        f"stadv's flow loss over the least that {STARTS} starts of {STEPS:,} steps of Adam find "
        "for the image: the median, and what 90 % of the images are within. success: of ours and "
        "of theirs. s: our seconds for all images. Adam: the fewest starts and steps of Adam in "
        "JAX that come as near, and how many times the time they take. Aimed at: "
        f"{MEDIAN:g}, {NINETY:g}, {SUCCESS:.1%} where Adam has all, {TIMES:g} times."
    )
    lacking = sorted({one.reason for one in judged if one.reason is not None})
    return Group(table, Text(legend, style="dim"), *map(Text, lacking))


def _figure(one: Judged, name: str, form: str) -> Text:
    value = getattr(one, name)
    if value is None:
        return Text("-")
    return Text(f"{value:{form}}".rstrip("%"), style="red" if name in one.short else "")
