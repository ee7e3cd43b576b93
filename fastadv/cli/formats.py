"""What ``fastadv report`` prints or writes, in which form and where."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fastadv.cli import console
from fastadv.cli.outputs import check_output
from fastadv.errors import InputError
from fastadv.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastadv.grid.result import GridResult
    from fastadv.grid.tidy import Table


class Format(StrEnum):
    """What to print."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"
    parquet = "parquet"


_OF_NAMES = {
    ".json": Format.json, ".jsonl": Format.json, ".csv": Format.csv, ".md": Format.markdown,
    ".tex": Format.latex, ".parquet": Format.parquet,
}  # fmt: skip
_TABLES = (Format.table, Format.markdown, Format.latex)  # for people; the others are data


@dataclass(frozen=True)
class Export:
    """A form of a grid's results, and the file that it goes to, if not standard output."""

    format: Format = Format.table
    details: bool = False
    runs: bool = False
    samples: bool = False
    path: Path | None = None

    @classmethod
    def of(
        cls, format: Format | None, details: bool, runs: bool, samples: bool, path: Path | None
    ) -> Export:
        """Return what the flags ask for.

        Raises
        ------
        InputError
            If they do not go together, or nothing can be written there.
        """
        if path is not None:
            check_output("--output", path, "rows.csv")
            format = format or _of_name(path)
        format = format or Format.table
        if runs and samples:
            raise InputError(
                "give one of --runs and --samples: a row an image is of one run anyway"
            )
        if (runs or samples) and format in _TABLES:
            flag = "--samples" if samples else "--runs"
            raise InputError(f"{flag} is of data: give --format csv, parquet or json")
        if details and format not in _TABLES:
            raise InputError(f"--details is of tables; {format} has everything")
        if details and format is Format.latex:
            raise InputError("--details is of table and markdown; latex has one figure a cell")
        if format is Format.table and path is not None:
            raise InputError("--output takes data and documents, the table is for the terminal")
        if format is Format.parquet and path is None and sys.stdout.isatty():
            raise InputError("parquet is no text for a terminal: give --output rows.parquet")
        return cls(format, details, runs, samples, path)

    def write(self, result: GridResult) -> None:
        """Print it, or write the file: whole, or not at all."""
        from fastadv.report import export

        if self.format is Format.parquet:
            self._bytes(lambda stream: export.write_parquet(self._table(result), stream))
        elif self.format is Format.csv:
            self._text(lambda stream: export.write_csv(self._table(result), stream))
        elif self._is_lines():
            self._text(lambda stream: export.write_lines(self._table(result), stream))
        elif self.format is Format.table:
            _print_table(result, self.details)
        else:
            self._text(lambda stream: stream.write(self._document(result)))
        if self.path is not None:
            console.say(f"{self.format} in {self.path}")

    def _is_lines(self) -> bool:
        if self.format is not Format.json:
            return False
        return self.runs or self.samples or (self.path is not None and self.path.suffix == ".jsonl")

    def _table(self, result: GridResult) -> Table:
        return result.table(runs=self.runs, samples=self.samples)

    def _document(self, result: GridResult) -> str:
        from fastadv.report import export, latex, markdown

        if self.format is Format.json:
            return export.rows_json(result) + "\n"
        if self.format is Format.latex:
            return latex.grid_latex(result)
        return (markdown.details_markdown if self.details else markdown.grid_markdown)(result)

    def _text(self, write: Callable[[IO[str]], object]) -> None:
        def encoded(stream: IO[bytes]) -> None:  # whatever a terminal or a locale would have
            text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
            try:
                write(text)
            finally:
                text.detach()

        self._bytes(encoded)

    def _bytes(self, write: Callable[[IO[bytes]], None]) -> None:
        if self.path is None:
            sys.stdout.flush()
            write(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        with atomic_write(self.path) as stream:
            write(stream)


def _of_name(path: Path) -> Format:
    if path.suffix not in _OF_NAMES:
        names = ", ".join(_OF_NAMES)
        raise InputError(f"--output {path}: give --format, or a name that ends in {names}")
    return _OF_NAMES[path.suffix]


def _print_table(result: GridResult, details: bool) -> None:
    from fastadv.report.summary_table import summary_table
    from fastadv.report.table import grid_table

    console.output().print((grid_table if details else summary_table)(result))
