"""How far a long command is: a display on a terminal, a line for each task in a file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    Group,
    RenderableType,
    RenderHook,
)
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment, SegmentLines
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from fastadv.grid.row import Row

_BAR_WIDTH = 24
_TASKS = 4  # that are shown of those that run side by side
_REDRAW = 0.5  # seconds
_DRAWING = 20.0  # times as long as it takes to draw a large table, it stays

Lines = list[list[Segment]]


class GridBar:
    """The progress of a grid, on standard error; see ``fastadv.grid.progress.GridProgress``.

    On a terminal the table fills in above what runs now, how much is done, and how long the rest
    will take.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._live: Live | None = None
        self._display = _Display(clock)
        self._redraw = -math.inf  # not before
        self._compiling = False

    def start(self, total: float, cells: int, kept: int) -> None:
        """Begin work of ``total`` weight: ``cells`` to do, beside ``kept`` from an earlier run."""
        self.note(f"{cells} cells to do" + (f", {kept} kept from an earlier run" if kept else ""))
        self._display.running.clear()
        self._display.done, self._display.total = 0.0, total
        if self._console.is_interactive:
            self._show()

    def begin(self, label: str) -> None:
        """Say what is done now."""
        self._compiling = False
        self._display.running[label] = None
        self._say(label)

    def end(self, label: str, left: float) -> None:
        """Count that this has ended; the rest takes about ``left`` seconds."""
        self._display.running.pop(label, None)
        self._display.left, self._display.since = left, self._clock()

    def advance(self, weight: float) -> None:
        """Count ``weight`` as done."""
        self._display.done += weight

    def rows(self, runs: Sequence[Row]) -> None:
        """Fill the table in, on a terminal, as often as a person can follow.

        It takes as long as there are rows, and they come one by one.
        """
        if not self._console.is_interactive:
            return
        from fastadv.grid.row import WAITING

        began = self._clock()
        if began < self._redraw:
            return
        from fastadv.grid.result import GridResult
        from fastadv.report.summary_table import growing_table

        ended = sum(row.status != WAITING for row in runs)
        self._display.count = f"{ended:,} of {len(runs):,} runs of cells"
        self._display.show_table(growing_table(GridResult.so_far(runs)))
        self._show()
        ended_at = self._clock()
        self._redraw = ended_at + max(_REDRAW, _DRAWING * (ended_at - began))

    def note(self, text: str) -> None:
        """Print a line above the display; a path in it stays in one piece."""
        self._console.print(Text(text), soft_wrap=True)

    def compiling(self, name: str, done: int, total: int) -> None:
        """Say which kernels are compiled, on the first run, and where they are kept."""
        if not self._compiling and done < total:
            self._compiling = True
            self.note(first_run())
        self._display.running.clear()
        if done < total and self._console.is_interactive:
            label = f"compiling {name}, {done} of {total} done"
            self._display.running[label] = None
            self._say(label)

    def count(self, what: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` equal parts are done, and what comes now."""
        if done == total:
            return
        self._display.running.clear()
        self._display.running[what] = None
        self._display.done, self._display.total = float(done), float(total)
        self._display.count = f"{done} of {total} done"
        self._say(f"{what}, {done} of {total} done")

    def stop(self) -> None:
        """Remove the display; may be called more than once."""
        if self._live is not None:
            self._live.stop()
            self._console.pop_render_hook()
            self._live = None

    def _say(self, label: str) -> None:
        if self._console.is_interactive:
            self._show().refresh()  # what runs may keep every thread from it
        else:
            self._console.print(Text(label))

    def _show(self) -> Live:
        if self._live is None:
            self._console.push_render_hook(_Narrowed(self._console, self._display))
            self._live = Live(
                self._display, console=self._console, transient=True, refresh_per_second=4
            )
            self._live.start()
        return self._live


class _Display:
    """What is shown while a grid runs: as much of the table as there is room for, and the bar.

    Attributes
    ----------
    running : dict of str
        What runs now; a set in the order of the beginnings.
    done, total : float
        In units of the caller's; no total, no bar.
    count : str
        How much is done, in words.
    left, since : float
        The seconds that the rest took at a time of the clock.
    widths : list of int
        Of the lines that stand there, in columns.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.running: dict[str, None] = {}
        self.done, self.total, self.count = 0.0, 0.0, ""
        self.left, self.since = math.inf, 0.0
        self._clock = clock
        self._table: RenderableType | None = None
        self._rendered: tuple[int, Lines] = 0, []  # of the table, which is seldom another
        self._spinner = Spinner("dots")
        self.widths: list[int] = []

    def show_table(self, table: RenderableType) -> None:
        """Replace the table."""
        self._table, self._rendered = table, (0, [])

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        below = [*self._tasks(console), *self._bar(options.max_width)]
        table = self._lines(console, options)
        room = console.size.height - len(below) - 1
        if len(table) > room:
            cut = max(0, room - 1)
            more = f" … {len(table) - cut} more lines of the table when it is done"
            table = table[:cut]
            below = [Text(more, style="dim", no_wrap=True, overflow="crop"), *below]
        lines = [*table, *console.render_lines(Group(*below), options, pad=False)]
        self.widths = [Segment.get_line_length(line) for line in lines]
        yield SegmentLines(lines, new_lines=True)

    def _lines(self, console: Console, options: ConsoleOptions) -> Lines:
        if self._table is None:
            return []
        if self._rendered[0] != options.max_width:
            lines = console.render_lines(self._table, options.update(height=None), pad=False)
            self._rendered = options.max_width, lines
        return self._rendered[1]

    def _tasks(self, console: Console) -> Iterator[Text]:
        turning = self._spinner.render(console.get_time())
        sign = turning.plain if isinstance(turning, Text) else ""
        running = list(self.running)
        for label in running[:_TASKS]:
            yield Text(f"{sign} {label}", no_wrap=True, overflow="ellipsis")
        if len(running) > _TASKS:
            yield Text(f"{sign} and {len(running) - _TASKS} more", style="dim")

    def _bar(self, width: int) -> Iterator[RenderableType]:
        if not self.total:
            return
        share = min(1.0, self.done / self.total)
        words = [f"{100 * share:.0f} %", self.count, self.time_left()]
        text = Text(" · ".join(filter(None, words)), no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(1.0, share, width=max(4, min(_BAR_WIDTH, width - text.cell_len - 1)))
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(bar, text)
        yield grid

    def time_left(self) -> str:
        """Return the time left in words, counting down between two reports."""
        if math.isinf(self.left):
            return ""
        left = self.left - (self._clock() - self.since)
        if left < -1:
            return "longer than expected"
        seconds = round(max(0.0, left))
        minutes, seconds = divmod(seconds, 60)
        if minutes < 60:
            return f"{minutes}:{seconds:02d} left"
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"


class _Narrowed(RenderHook):
    """Erase what a terminal that has become narrower makes of the display.

    Lines that no longer fit go on in the next one, of which the display does not know.
    """

    def __init__(self, console: Console, display: _Display) -> None:
        self._console, self._display = console, display

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is to be printed, behind what erases the lines that are more."""
        width = max(1, self._console.width)
        more = sum((columns - 1) // width for columns in self._display.widths if columns > 0)
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        return [Control(*up * more), *renderables] if more else renderables


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
