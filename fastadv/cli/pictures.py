"""``--plot`` of ``fastadv report``: its table as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastadv.cli import console
from fastadv.cli.outputs import check_output, check_plot
from fastadv.errors import InputError

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult


def check_picture(path: Path, others: dict[str, object]) -> None:
    """Raise InputError, before any work, if no picture can be written in place of ``others``.

    These are options by name; one that is given says what is to come of the grid itself.
    """
    for option, given in others.items():
        if given not in (None, False):
            raise InputError(f"--plot is the table as a picture: leave out {option}")
    check_output("--plot", path, "table.svg")
    check_plot(path, (".svg",))


def write_picture(result: GridResult, path: Path, details: bool) -> None:
    """Write the table, or its details, as a terminal of 80 columns shows it."""
    from fastadv.files import atomic_write
    from fastadv.report.summary_table import summary_table
    from fastadv.report.svg import terminal_svg
    from fastadv.report.table import grid_table

    drawn = terminal_svg((grid_table if details else summary_table)(result))
    with atomic_write(path) as stream:
        stream.write(drawn.encode())
    console.say(f"picture in {path}")
