"""A grid as a table for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.box import Box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from fastadv.report.cells import Cell, Sheet, SheetRow, Tone, make_sheets
from fastadv.report.prose import Prose

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from fastadv.grid.result import GridResult

# A rule below the names of the defenses, and between sections.
_BOX = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")
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
            yield Text(f"\n {sheet.title}", style="bold")
            layouts = [(w, _split_columns(sheet, options.max_width, w)) for w in _HEADER_WIDTHS]
            header_width, tables = min(layouts, key=lambda layout: len(layout[1]))
            for columns in tables:
                yield _table(sheet, columns, header_width)
            yield Prose.of(sheet.caption, style="dim")
            if sheet.notes:
                yield Text("")
                yield Prose.of_notes(sheet.notes)


def _split_columns(sheet: Sheet, width: int, header_width: int) -> list[list[int]]:
    """Return the numbers of the defenses in each table, so that none is wider than ``width``.

    Tables have as many columns as one another, or one less, where that needs no more of them.
    """
    headers = [_header(row, header_width) for row in sheet.rows]
    header = max(cell_len(line.plain) for text in headers for line in text.split())
    free = width - header - _AROUND - _EDGE
    needs = []
    for column, name in enumerate(sheet.defenses):
        lines = [line.text for row in sheet.rows for line in row.cells[column].lines]
        needs.append(max(map(cell_len, wrap(name, _COLUMN_WIDTH) + lines)) + _AROUND)
    tables: list[list[int]] = [[]]
    for column in range(len(needs)):
        if tables[-1] and sum(needs[c] for c in tables[-1]) + needs[column] > free:
            tables.append([])
        tables[-1].append(column)
    each = -(-len(needs) // len(tables))
    alike = [list(range(len(needs)))[at : at + each] for at in range(0, len(needs), each)]
    fits = all(len(part) == 1 or sum(needs[c] for c in part) <= free for part in alike)
    return alike if fits and len(alike) == len(tables) else tables


def _table(sheet: Sheet, columns: list[int], header_width: int) -> Table:
    table = Table(box=_BOX, show_lines=False, pad_edge=True, header_style="bold")
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
    """Return whether a rule stands below this row: where another section begins."""
    kind = rows[number].kind
    following = rows[number + 1].kind if number + 1 < len(rows) else kind
    return kind != following and (kind == "none" or following == "poisoning")


def _header(row: SheetRow, width: int) -> Text:
    """Return what the table calls the row, and beneath it how a gate names it."""
    text = Text("\n".join(_wrap_label(row.label, width)), style="bold")
    if row.kind == "poisoning" and row.threat:
        text.append("\n" + row.threat, style="not bold dim")
    if row.attack != row.label.partition(" ")[0]:
        text.append("\n" + "\n".join(wrap(row.attack, width)), style="not bold dim")
    return text


def _wrap_label(label: str, width: int) -> list[str]:
    """Break a label between its words, not before a budget; a spec in it as `wrap` does."""
    lines = [""]
    for word in re.findall(r"\S+(?: [\d.,e+-]+$)?", label):
        first, *others = [word] if len(word) <= width else wrap(word, width)
        if lines[-1] and len(lines[-1]) + 1 + len(first) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {first}".strip()
        lines += others
    return lines


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
