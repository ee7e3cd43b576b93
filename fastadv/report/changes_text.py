"""Rows of a table in a terminal: the columns that changed most, in the table's own units."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from fastadv.report.changes import Changes

_BARS = 20  # cells of a column's range
_NAME = 30  # the widest name that is not cut


def changes_text(caption: str, changes: Changes, width: int) -> Text:
    """Return a caption and a line for each column that is shown: before, after, and where.

    The range of a column is a line from its low to its high end, with a mark at either value.
    """
    lines = [Text(f"{caption}: {changes.said}")]
    names = [_cut(change.name, _NAME) for change in changes.columns]
    widths = [max(map(cell_len, column), default=0) for column in (
        names, [c.before for c in changes.columns], [c.after for c in changes.columns],
    )]  # fmt: skip
    for name, change in zip(names, changes.columns, strict=True):
        values = f"{change.before.rjust(widths[1])} → {change.after.rjust(widths[2])}"
        said = f"  {name}{' ' * (widths[0] - cell_len(name))}  {values}"
        line = Text(said)
        if cell_len(said) + 2 + _BARS <= width:
            line.append("  ").append(_strip(*change.places))
        lines.append(line)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _cut(name: str, width: int) -> str:
    text = Text(name)
    text.truncate(width, overflow="ellipsis")
    return text.plain


def _strip(before: float, after: float) -> Text:
    """Return the range of a column as a line: ○ before, ● after."""
    at, to = (min(max(round(place * (_BARS - 1)), 0), _BARS - 1) for place in (before, after))
    cells = ["─"] * _BARS
    cells[at] = "○"
    cells[to] = "●"
    return Text("".join(cells), style="dim")
