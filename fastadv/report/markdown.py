"""A grid as a table in GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastadv.report.cells import Cell, Sheet, SheetRow, make_sheets

if TYPE_CHECKING:
    from fastadv.grid.several import Mean
    from fastadv.grid.store import Row
    from fastadv.grid.worst import Worst


def grid_markdown(
    rows: Sequence[Row], worst: Sequence[Worst] = (), means: Sequence[Mean] = ()
) -> str:
    """Return the table of a grid and its notes, as `fastadv.report.table.grid_table` shows them.

    Parameters
    ----------
    rows : sequence of Row
        In the order in which attacks and defenses are to be shown.
    worst : sequence of Worst
        The worst case over the attacks of each threat model.
    means : sequence of Mean
        Of the cells of several seeds.
    """
    return "\n".join(_sheet(sheet) for sheet in make_sheets(rows, worst, means))


def _sheet(sheet: Sheet) -> str:
    lines = [f"### {_escape(sheet.title)}", ""]
    lines.append(_line(["attack", *map(_code, sheet.defenses)]))
    lines.append(_line(["---", *["---:"] * len(sheet.defenses)]))
    lines += [_line([_header(row), *map(_cell, row.cells)]) for row in sheet.rows]
    lines += ["", _escape(sheet.caption)]
    if sheet.notes:
        lines.append("")
        lines += [f"- {_escape(note.mark)} {_escape(note.text)}" for note in sheet.notes]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _header(row: SheetRow) -> str:
    name = "**worst**" if row.attack == "worst" else _code(row.attack)
    return f"{name}<br>{_escape(row.threat)}" if row.threat else name


def _cell(cell: Cell) -> str:
    texts = [_escape(line.text) for line in cell]
    return "<br>".join([f"**{texts[0]}**" if cell[0].tone == "plain" else texts[0], *texts[1:]])


def _code(spec: str) -> str:
    return f"`{spec}`".replace("|", "\\|")


def _escape(text: str) -> str:
    """Make Markdown print ``text`` as it is."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)
