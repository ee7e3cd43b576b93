"""A grid as a table in GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastadv.files import atomic_write
from fastadv.report.cells import Cell, Sheet, SheetRow, make_sheets
from fastadv.report.notes import FLAG
from fastadv.report.summary import BEST, Entry, Summary, summaries
from fastadv.report.verdict import verdict

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult


def grid_markdown(result: GridResult) -> str:
    """Return the table of a grid, as `fastadv.report.summary_table.summary_table` shows it."""
    return "\n".join(_summary(sheet, verdict(sheet, result.samples)) for sheet in summaries(result))


def details_markdown(result: GridResult) -> str:
    """Return all figures and notes, as `fastadv.report.table.grid_table` shows them."""
    return "\n".join(_sheet(sheet) for sheet in make_sheets(result))


def write_table(result: GridResult, folder: Path) -> None:
    """Write ``table.md`` into a grid's folder."""
    with atomic_write(folder / "table.md") as stream:
        stream.write(grid_markdown(result).encode())


def _summary(sheet: Summary, said: Sequence[str]) -> str:
    lines = [f"### {_escape(sheet.title)}", ""]
    lines.append(_line(["", *map(_code, sheet.defenses)]))
    lines.append(_line(["---", *["---:"] * len(sheet.defenses)]))
    for section in sheet.sections:
        if section.heading:
            lines.append(_line([f"*{_escape(section.heading)}*", *[""] * len(sheet.defenses)]))
        lines += [
            _line([_escape(line.label), *map(_entry, line.entries)]) for line in section.lines
        ]
    lines += ["", _escape(sheet.caption)]
    for texts in (said, [f"{note.mark} {note.text}" for note in sheet.notes]):
        lines += ["", *(f"- {_escape(text)}" for text in texts)] if texts else []
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> str:
    text = _escape(f"{BEST * entry.best}{entry.text}{FLAG * entry.flag}")
    return f"**{text}**" if entry.best else text


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
    name = "**worst**" if row.kind == "worst" else _code(row.attack)
    return f"{name}<br>{_escape(row.threat)}" if row.threat else name


def _cell(cell: Cell) -> str:
    first, *others = (_escape(line.text) for line in cell.lines)
    return "<br>".join([f"**{first}**" if cell.lines[0].tone == "plain" else first, *others])


def _code(spec: str) -> str:
    return f"`{spec}`".replace("|", "\\|")


def _escape(text: str) -> str:
    """Make Markdown print ``text`` as it is."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)
