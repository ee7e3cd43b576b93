"""What a running grid tells its caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fastadv.grid.row import Row


class GridProgress(Protocol):
    """What a caller learns while a grid runs."""

    def start(self, total: float, cells: int, kept: int) -> None:
        """``cells`` cells of ``total`` weight are to be done, ``kept`` are done already."""

    def begin(self, label: str) -> None:
        """Show that a stage begins."""

    def advance(self, weight: float) -> None:
        """Count that a stage of this weight has ended."""

    def end(self, label: str, left: float) -> None:
        """Show that a stage has ended, and that the rest takes about so many seconds."""

    def rows(self, runs: Sequence[Row]) -> None:
        """Show what is known so far: a row a cell and run, ``waiting`` where it is to come."""

    def note(self, text: str) -> None:
        """Show a line of text."""

    def compiling(self, name: str, done: int, total: int) -> None:
        """Show that the group ``name`` is being compiled, ``done`` of ``total`` being done."""

    def stop(self) -> None:
        """Nothing more comes."""


class _Silent:
    """No progress."""

    def start(self, total: float, cells: int, kept: int) -> None: ...
    def begin(self, label: str) -> None: ...
    def advance(self, weight: float) -> None: ...
    def end(self, label: str, left: float) -> None: ...
    def rows(self, runs: Sequence[Row]) -> None: ...
    def note(self, text: str) -> None: ...
    def compiling(self, name: str, done: int, total: int) -> None: ...
    def stop(self) -> None: ...


SILENT: GridProgress = _Silent()
