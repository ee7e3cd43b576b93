"""A grid's table in a terminal: one figure a cell, in blocks as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from fastadv.report import harm
from fastadv.report.prose import Prose
from fastadv.report.summary import BEST, Entry, Line, Summary, summaries
from fastadv.report.table import wrap
from fastadv.report.verdict import verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from fastadv.grid.result import GridResult

_NAME_WIDTH = 26  # of attacks; a longer one goes on in the next line
_COLUMN_WIDTH = 10  # of a defense's name


def summary_table(result: GridResult) -> RenderableType:
    """Return the table of a grid, its verdict, and the notes that belong to it."""
    return _SummaryTable([(sheet, verdict(sheet, result.samples)) for sheet in summaries(result)])


def growing_table(result: GridResult) -> RenderableType:
    """Return the table alone of a grid that runs, without a verdict."""
    return _SummaryTable([(sheet, None) for sheet in summaries(result)])


class _SummaryTable:
    """Lays out for the width that it meets when it is printed."""

    def __init__(self, sheets: Sequence[tuple[Summary, list[str] | None]]) -> None:
        self.sheets = sheets

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        for sheet, said in self.sheets:
            yield Text(f"\n {sheet.title}\n", style="bold")
            for block in _blocks(sheet, options.max_width):
                yield from _table(sheet, block, console)
                yield Text("")
            if said is None:
                continue
            yield Prose.of(sheet.caption, style="dim")
            key = harm.key(console)
            if key is not None and _coloured(sheet):
                yield key
            if said:
                yield Text("")
                yield Prose.of(*said)
            if sheet.notes:
                yield Text("")
                yield Prose.of_notes(sheet.notes)


def _coloured(sheet: Summary) -> bool:
    return any(entry.lost is not None for line in sheet.lines for entry in line.entries)


Block = Sequence[tuple[int, int]]  # columns, and how wide each is


def _blocks(sheet: Summary, width: int) -> list[Block]:
    """Return the columns of each block, so that none is too wide.

    All columns are of one width, and all blocks but the last of as many columns, unless more blocks
    would be needed for it.
    """
    free = width - _names_width(sheet) - 1
    needs = [_column_width(sheet, column) for column in range(len(sheet.defenses))]
    blocks = _filled(needs, free)
    alike = _filled([max(needs)] * len(needs), free)
    if len(alike) > len(blocks):
        return blocks
    each = -(-len(needs) // len(alike))
    columns = list(enumerate([max(needs)] * len(needs)))
    return [columns[start : start + each] for start in range(0, len(columns), each)]


def _filled(needs: Sequence[int], free: int) -> list[Block]:
    """Return blocks that hold as many columns as there is room for."""
    blocks: list[list[tuple[int, int]]] = [[]]
    left = free
    for column, width in enumerate(needs):
        if width > left and blocks[-1]:
            blocks.append([])
            left = free
        blocks[-1].append((column, width))
        left -= width
    return list(blocks)


def _names_width(sheet: Summary) -> int:
    parts = [part for s in sheet.sections for line in s.lines for part in _label(line)]
    return max(map(cell_len, parts)) + 1


def _column_width(sheet: Summary, column: int) -> int:
    """Return the width of a column with the mark before its figures and the one behind."""
    texts = [line.entries[column].text for s in sheet.sections for line in s.lines]
    figures = max(map(cell_len, texts)) + 2
    return max(figures, max(map(cell_len, _header(sheet.defenses[column]))) + 1)


def _header(defense: str) -> list[str]:
    return wrap(defense, _COLUMN_WIDTH)


def _label(line: Line) -> list[str]:
    """Return the lines of an attack's name."""
    if cell_len(line.label) <= _NAME_WIDTH:
        return [line.label]
    return [*wrap(line.name, _NAME_WIDTH), *([f"  {line.threat}"] if line.threat else [])]


def _table(sheet: Summary, block: Block, console: Console) -> Iterator[Text]:
    names = _names_width(sheet)
    width = names + sum(needs for _, needs in block)
    headers = [_header(sheet.defenses[column]) for column, _ in block]
    for at in range(max(map(len, headers))):
        cells = [
            # The last column of a cell is for the mark behind a figure.
            (header[at] if at < len(header) else "").rjust(needs - 1) + " "
            for header, (_, needs) in zip(headers, block, strict=True)
        ]
        yield Text(" " + " " * names + "".join(cells).rstrip(), style="bold")
    for number, section in enumerate(sheet.sections):
        if number:
            yield Text(" " + "─" * (width - 1), style="dim")
        if section.heading:
            yield Text(" " + section.heading, style="dim")
        for line in section.lines:
            *above, last = _label(line)
            for part in above:
                yield Text(" " + part)
            entries = [_entry(line.entries[column], needs, console) for column, needs in block]
            row = Text(" " + last.ljust(names)).append_text(Text().join(entries))
            row.rstrip()
            yield row


def _entry(entry: Entry, width: int, console: Console) -> Text:
    marked = (BEST if entry.best else "") + entry.text
    if entry.figure is None or entry.flag:  # a colour would have it trusted
        style = "dim"
    else:
        style = f"{'bold' if entry.best else ''} {harm.style(entry.lost, console)}".strip()
    mark = Text(entry.mark or " ", style="bold" if entry.flag else "")
    return Text(marked.rjust(width - 1), style=style).append_text(mark)
