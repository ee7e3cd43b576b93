"""How far a long command is: a bar on a terminal, a line for each task in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
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

_LABEL_WIDTH = 48


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
        self._compiling = False

    def start(self, total: float, cells: int, kept: int) -> None:
        """Begin work of ``total`` weight: ``cells`` to do, beside ``kept`` from an earlier run."""
        self.note(f"{cells} cells to do" + (f", {kept} kept from an earlier run" if kept else ""))
        if self._console.is_interactive:
            bar = self._live()
            bar.reset(bar.task_ids[0], total=total)

    def begin(self, label: str) -> None:
        """Say what is done now."""
        self._compiling = False
        self._say(label)

    def advance(self, weight: float) -> None:
        """Count ``weight`` as done."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], weight)

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
            bar = self._live()
            bar.update(bar.task_ids[0], total=total, completed=done)

    def stop(self) -> None:
        """Remove the bar; may be called more than once."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, label: str) -> None:
        if self._console.is_interactive:
            bar = self._live()
            bar.update(bar.task_ids[0], description=label[:_LABEL_WIDTH], refresh=True)
        elif label:
            self._console.print(Text(label))

    def _live(self) -> Progress:
        if self._bar is None:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeLeft(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task("", total=None)
            self._bar.start()
        return self._bar


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
