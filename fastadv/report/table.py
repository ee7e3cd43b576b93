"""A grid as a table for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from fastadv.report.cells import Cell, Sheet, SheetRow, Tone, make_sheets
from fastadv.report.prose import Prose

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from fastadv.grid.result import GridResult

_STYLES: dict[Tone, str] = {"plain": "", "dim": "dim", "bad": "red"}
# Of the column of attacks; a longer spec goes on in the next line. The second where that saves a
# table.
_HEADER_WIDTHS = (22, 17)
_COLUMN_WIDTH = 14  # of a defense's name
_AROUND = 3  # what a column takes beside its text
_EDGE = 1


def grid_table(result: GridResult) -> RenderableType:
    """Return the table of a grid, with the notes that belong to it.

    It breaks into several tables where the defenses do not fit side by side.
    """
    return _GridTable(make_sheets(result))


class _GridTable:
    """Lays out for the width that it meets when it is printed."""

    def __init__(self, sheets: list[Sheet]) -> None:
        self.sheets = sheets

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for sheet in self.sheets:
            yield Text(sheet.title, style="bold")
            layouts = [(w, _split_columns(sheet, options.max_width, w)) for w in _HEADER_WIDTHS]
            header_width, tables = min(layouts, key=lambda layout: len(layout[1]))
            for columns in tables:
                yield _table(sheet, columns, header_width)
            yield Prose.of(sheet.caption, style="dim")
            if sheet.notes:
                yield Text("")
                yield Prose.of_notes(sheet.notes)


def _split_columns(sheet: Sheet, width: int, header_width: int) -> list[list[int]]:
    """Return the numbers of the defenses in each table, so that none is wider than ``width``."""
    headers = [_header(row, header_width) for row in sheet.rows]
    header = max(cell_len(line.plain) for text in headers for line in text.split())
    free = width - header - _AROUND - _EDGE
    tables: list[list[int]] = [[]]
    left = free
    for column, name in enumerate(sheet.defenses):
        texts = wrap(name, _COLUMN_WIDTH) + [
            line.text for row in sheet.rows for line in row.cells[column].lines
        ]
        needs = max(map(cell_len, texts)) + _AROUND
        if needs > left and tables[-1]:
            tables.append([])
            left = free
        tables[-1].append(column)
        left -= needs
    return tables


def _table(sheet: Sheet, columns: list[int], header_width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_lines=False, pad_edge=True, header_style="bold")
    table.add_column("attack", overflow="fold")
    for column in columns:
        name = "\n".join(wrap(sheet.defenses[column], _COLUMN_WIDTH))
        table.add_column(Text(name), justify="right", overflow="fold", vertical="top")
    for number, row in enumerate(sheet.rows):
        last = number + 1 == len(sheet.rows)
        cells = [_text(row.cells[column]) for column in columns]
        table.add_row(_header(row, header_width), *cells, end_section=_closes(sheet.rows, number))
        if not last and not _closes(sheet.rows, number):
            table.add_row()
    return table


def _closes(rows: Sequence[SheetRow], number: int) -> bool:
    """Return whether a rule stands below this row: after the clean one and before the worst."""
    following = rows[number + 1] if number + 1 < len(rows) else None
    return following is not None and (rows[number].kind == "none" or following.kind == "worst")


def _header(row: SheetRow, width: int) -> Text:
    text = Text("\n".join(wrap(row.attack, width)), style="bold")
    if row.threat:
        text.append("\n" + row.threat, style="not bold dim")
    return text


def _text(cell: Cell) -> Text:
    return Text("\n").join([Text(line.text, style=_STYLES[line.tone]) for line in cell.lines])


def wrap(spec: str, width: int) -> list[str]:
    """Break a spec into lines: after a comma or an opening bracket, else where it has to be."""
    lines = [""]
    for part in re.findall(r"[^,\[]+[,\[]?|[,\[]", spec):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
        while len(lines[-1]) > width:
            lines[-1:] = _break(lines[-1], width)
    return lines


def _break(line: str, width: int) -> tuple[str, str]:
    """Break one line that is too long, after an equals sign, a dash or an underscore if it can."""
    at = max(line.rfind(mark, 0, width) for mark in "=_-/") + 1
    at = at if at > width // 3 else width
    return line[:at], line[at:]
