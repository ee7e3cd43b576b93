"""How far a long command is: a bar on a terminal, a line for each task in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from fastadv.grid.row import Row

_LABEL_WIDTH = 56
_REDRAW = 0.5  # seconds


class TimeLeft(ProgressColumn):
    """The time left if the rest of the weight goes as fast as the weight so far."""

    def __init__(self) -> None:
        super().__init__()
        self._completed, self._since = 0.0, 0.0

    def render(self, task: Task) -> Text:
        """Return the time left, counting down between two reports."""
        elapsed = task.elapsed or 0.0
        if not task.completed or task.total is None:
            return Text("")
        if task.completed != self._completed:
            self._completed, self._since = task.completed, elapsed
        whole = self._since * task.total / task.completed
        seconds = round(max(0.0, whole - elapsed))
        return Text(f"{seconds // 60}:{seconds % 60:02d} left", style="dim")


class GridBar:
    """The progress of a grid, on standard error; see ``fastadv.grid.run.GridProgress``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._live: Live | None = None
        self._table: RenderableType = ""
        self._drawn = float("-inf")
        self._compiling = False

    def start(self, total: float, cells: int, kept: int) -> None:
        """Begin work of ``total`` weight: ``cells`` to do, beside ``kept`` from an earlier run."""
        self.note(f"{cells} cells to do" + (f", {kept} kept from an earlier run" if kept else ""))
        if self._console.is_interactive:
            bar = self._show()
            bar.reset(bar.task_ids[0], total=total)

    def begin(self, label: str) -> None:
        """Say what is done now."""
        self._compiling = False
        self._say(label)

    def advance(self, weight: float) -> None:
        """Count ``weight`` as done."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], weight)

    def rows(self, runs: Sequence[Row]) -> None:
        """Fill the table in, on a terminal, as often as a person can follow.

        It takes as long as there are rows, and they come one by one.
        """
        if self._console.is_interactive and time.monotonic() - self._drawn > _REDRAW:
            from fastadv.grid.result import GridResult
            from fastadv.report.summary_table import growing_table

            self._table = growing_table(GridResult.so_far(runs))
            self._show()
            self._drawn = time.monotonic()

    def note(self, text: str) -> None:
        """Print a line above the bar; a path in it stays in one piece."""
        self._console.print(Text(text), soft_wrap=True)

    def compiling(self, name: str, done: int, total: int) -> None:
        """Say which kernels are compiled, on the first run, and where they are kept."""
        if not self._compiling and done < total:
            self._compiling = True
            self.note(first_run())
        if self._console.is_interactive:
            self._say(f"compiling {name}, {done} of {total} done" if done < total else "")

    def count(self, what: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` equal parts are done, and what comes now."""
        if done == total:
            return
        self._say(f"{what}, {done} of {total} done")
        if self._console.is_interactive:
            bar = self._show()
            bar.update(bar.task_ids[0], total=total, completed=done)

    def stop(self) -> None:
        """Remove the bar; may be called more than once."""
        if self._live is not None:
            self._live.stop()
            self._bar = self._live = None

    def _say(self, label: str) -> None:
        if self._console.is_interactive:
            bar = self._show()
            bar.update(bar.task_ids[0], description=label[:_LABEL_WIDTH])
            if self._live is not None:
                self._live.refresh()
        elif label:
            self._console.print(Text(label))

    def _show(self) -> Progress:
        if self._bar is None:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeLeft(),
                console=self._console,
            )
            self._bar.add_task("", total=None)
            self._live = Live(
                console=self._console, transient=True, get_renderable=self._view,
                refresh_per_second=8,
            )  # fmt: skip
            self._live.start()
        return self._bar

    def _view(self) -> RenderableType:
        assert self._bar is not None  # it is shown together with it
        return Group(self._table, self._bar.get_renderable())


def first_run() -> str:
    """Return what to say before kernels are compiled."""
    from fastadv.kernels import _jit

    return f"first run on this machine: compiling the kernels, kept in {_jit.CACHE_FOLDER}"


@contextmanager
def waiting(console: Console, text: str) -> Iterator[None]:
    """Show that something of unknown length goes on; in a file, one line."""
    if console.is_interactive:
        with console.status(Text(text)):
            yield
    else:
        console.print(Text(text))
        yield
