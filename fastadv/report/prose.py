"""Sentences below a table, in lines that are no longer than is easily read, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

    from fastadv.report.notes import Note

WIDTH = 80  # columns of text, however wide the terminal is
_LEAST, _INDENT = 16, 3  # where fewer columns are left, the text begins in the next line


class Prose:
    """Paragraphs, each with what stands before its first line; the others are indented as much.

    Parameters
    ----------
    paragraphs : sequence of (str or Text, str)
        What stands before the first line, and the text.
    style : str
        Of the text.
    """

    def __init__(self, paragraphs: Sequence[tuple[str | Text, str]], style: str = "") -> None:
        self.paragraphs, self.style = paragraphs, style

    @classmethod
    def of(cls, *sentences: str, style: str = "") -> Prose:
        """Return paragraphs one column from the edge."""
        return cls([(" ", sentence) for sentence in sentences], style)

    @classmethod
    def of_notes(cls, notes: Sequence[Note]) -> Prose:
        """Return the notes below a table, each behind its mark."""
        width = max((len(note.mark) for note in notes), default=0)
        return cls([(f" {note.mark:<{width}} ", note.text) for note in notes])

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[Text]:
        room = min(options.max_width, WIDTH)
        for before, text in self.paragraphs:
            first = Text(before) if isinstance(before, str) else before
            indent = first.cell_len
            if room - indent < _LEAST and text:
                first.rstrip()
                yield first
                first, indent = Text(" " * _INDENT), _INDENT
            for line in wrapped(text, max(1, room - indent)):
                yield Text.assemble(first, (line, self.style))
                first = Text(" " * indent)


def wrapped(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text, with a number and its ``%`` in one; a longer word is cut."""
    line = ""
    for word in text.replace(" %", "\0%").split():
        word = word.replace("\0", " ")
        if line and cell_len(line) + 1 + cell_len(word) > width:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
        while cell_len(line) > width:
            first, *rest = chop_cells(line, width)
            yield first
            line = "".join(rest)
    if line:
        yield line
