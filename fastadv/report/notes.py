"""The remarks below a table: why a cell has no figure, and what its flags and notes say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastadv.grid.row import Flag, Row

FLAG, NOTE = "!", "†"  # behind the figure of a cell

_NAMED_CELLS = 4  # how many cells a note names before it only counts the others


@dataclass(frozen=True)
class Note:
    """A remark below the table; ``mark`` is what refers to it in the cells.

    ``name`` is that of a flag or a note; a reason has none.
    """

    mark: str
    text: str
    name: str = ""


class Notes:
    """Numbers each distinct reason once; of each distinct remark it keeps the cells."""

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._remarks: dict[tuple[str, str, str], list[str]] = {}

    def number(self, reason: str | None) -> str:
        """Return the number of a reason, in brackets."""
        text = " ".join((reason or "no reason was kept").split())
        if text not in self._reasons:
            self._reasons.append(text)
        return f"[{self._reasons.index(text) + 1}]"

    def marks(self, row: Row) -> str:
        """Keep what a row has to say, and return the marks of its figure."""
        for mark, remarks in ((FLAG, row.flags), (NOTE, row.notes)):
            for remark in remarks:
                self._keep(mark, remark, f"{row.attack} / {row.defense}")
        return " ".join([FLAG] * bool(row.flags) + [NOTE] * bool(row.notes))

    def _keep(self, mark: str, remark: Flag, cell: str) -> None:
        text = f"{remark.message}; {remark.remedy}" if remark.remedy else remark.message
        cells = self._remarks.setdefault((mark, remark.name, " ".join(text.split())), [])
        if cell not in cells:
            cells.append(cell)

    def all(self) -> tuple[Note, ...]:
        """Return the reasons, then the flags, then the notes."""
        reasons = [Note(f"[{i}]", text) for i, text in enumerate(self._reasons, start=1)]
        ordered = sorted(self._remarks.items(), key=lambda item: item[0][0] != FLAG)
        remarks = [
            Note(mark, f"{name}: {message} ({name_some(cells)})", name)
            for (mark, name, message), cells in ordered
        ]
        return (*reasons, *remarks)


def name_some(cells: Sequence[str]) -> str:
    """Return the first few cells, and how many more there are."""
    more = len(cells) - _NAMED_CELLS
    return ", ".join(cells[:_NAMED_CELLS]) + (f" and {more} more" if more > 0 else "")
