"""Sentences below a table, in lines that are no longer than is easily read, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        room = min(options.max_width, WIDTH)
        for before, text in self.paragraphs:
            first = Text(before) if isinstance(before, str) else before
            indent = first.cell_len
            if room - indent < _LEAST and text:
                first.rstrip()
                yield first
                first, indent = Text(" " * _INDENT), _INDENT
            for line in Text(text, self.style).wrap(console, max(1, room - indent)):
                line = Text.assemble(first, line)
                line.rstrip()
                yield line
                first = Text(" " * indent)
