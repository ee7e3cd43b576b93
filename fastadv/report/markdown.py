"""A grid as a table in GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastadv.files import atomic_write, open_plain
from fastadv.report.cells import Cell, Sheet, SheetRow, make_sheets
from fastadv.report.summary import BEST, Entry, Summary, summaries
from fastadv.report.verdict import verdict
from fastadv.visible import visible

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult

_BEGINNING = re.compile(rb"### [^\n]*\n\n\|( attack)? *\| |\Z")  # of tables of before, too


def grid_markdown(result: GridResult) -> str:
    """Return the table of a grid, as `fastadv.report.summary_table.summary_table` shows it."""
    return "\n".join(_summary(sheet, verdict(sheet, result.samples)) for sheet in summaries(result))


def details_markdown(result: GridResult) -> str:
    """Return all figures and notes, as `fastadv.report.table.grid_table` shows them."""
    return "\n".join(_sheet(sheet) for sheet in make_sheets(result))


def write_table(result: GridResult, folder: Path) -> bool:
    """Write ``table.md`` into a grid's folder; False if something that is no such table is there.

    A link is not written through.
    """
    path = folder / "table.md"
    if not _may_be_replaced(path):
        return False
    with atomic_write(path, follow=False) as stream:
        stream.write(grid_markdown(result).encode())
    return True


def _may_be_replaced(path: Path) -> bool:
    """Return whether a path is free, or a file that begins as our tables do."""
    if path.is_symlink():
        return False
    try:
        with open_plain(path) as file:
            return _BEGINNING.match(file.read(4096)) is not None
    except FileNotFoundError:
        return True
    except OSError:  # a pipe, a folder
        return False


def _summary(sheet: Summary, said: Sequence[str]) -> str:
    lines = [f"### {escape(sheet.title)}", ""]
    lines.append(_line(["", *map(code, sheet.defenses)]))
    lines.append(_line(["---", *["---:"] * len(sheet.defenses)]))
    for section in sheet.sections:
        if section.heading:
            lines.append(_line([f"*{escape(section.heading)}*", *[""] * len(sheet.defenses)]))
        lines += [_line([escape(line.label), *map(_entry, line.entries)]) for line in section.lines]
    lines += ["", escape(sheet.caption)]
    for texts in (said, [f"{note.mark} {note.text}" for note in sheet.notes]):
        lines += ["", *map(item, texts)] if texts else []
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> str:
    text = escape(f"{BEST * entry.best}{entry.text}{entry.mark}")
    return f"**{text}**" if entry.best else text


def _sheet(sheet: Sheet) -> str:
    lines = [f"### {escape(sheet.title)}", ""]
    lines.append(_line(["attack", *map(code, sheet.defenses)]))
    lines.append(_line(["---", *["---:"] * len(sheet.defenses)]))
    lines += [_line([_header(row), *map(_cell, row.cells)]) for row in sheet.rows]
    lines += ["", escape(sheet.caption)]
    if sheet.notes:
        lines.append("")
        lines += [item(f"{note.mark} {note.text}") for note in sheet.notes]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _header(row: SheetRow) -> str:
    name = "**worst**" if row.kind == "worst" else code(row.attack)
    return f"{name}<br>{escape(row.threat)}" if row.threat else name


def _cell(cell: Cell) -> str:
    first, *others = (escape(line.text) for line in cell.lines)
    return "<br>".join([f"**{first}**" if cell.lines[0].tone == "plain" else first, *others])


# A pipe ends a cell even in a code span, a backtick ends the span, and a backslash before either is
# read in several ways.
_NO_CODE = frozenset("|`\\")
# What is markup anywhere, what becomes a link by itself, and what begins a list within an item.
_MARKUP = re.compile(r"[\\|`*_<>\[\]~&$#]|:(?=//)|(?<=www)\.")
_BEGINS = re.compile(r"^(\s*)([-+=])(?!\d)|^(\s*\d+)([.)])(?=\s|$)")


def code(spec: str) -> str:
    """Return a name in a fixed width; one that a code span in a table cannot hold, as text."""
    shown = visible(spec)
    plain = shown.strip() == shown != "" and not _NO_CODE.intersection(shown)
    return f"`{shown}`" if plain else escape(spec)


def escape(text: str) -> str:
    """Make Markdown print ``text`` as it is, in a heading, a table or a sentence."""
    return _MARKUP.sub(r"\\\g<0>", visible(text))


def item(text: str) -> str:
    """Return a text as an item of a list."""
    return "- " + _BEGINS.sub(r"\1\3\\\2\4", escape(text))
