from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from fastadv.cli import console as streams
from fastadv.cli.progress import GridBar, TimeLeft, waiting
from fastadv.kernels import _jit


def console(**options):
    return Console(file=io.StringIO(), width=100, **options)


def run(bar):
    bar.compiling("training", 0, 2)
    bar.compiling("attacks", 1, 2)
    bar.compiling("", 2, 2)
    bar.start(10.0, 3, 2)
    bar.begin("none: training [x]")
    bar.advance(5.0)
    bar.note("cells/a.json could not be read; the cell runs again")
    bar.begin("pgd: attacking none")
    bar.advance(5.0)
    bar.stop()
    bar.stop()


def test_in_a_file_a_line_for_each_task():
    out = console()
    run(GridBar(out))
    assert out.file.getvalue().splitlines() == [
        f"first run on this machine: compiling the kernels, kept in {_jit.CACHE_FOLDER}",
        "3 cells to do, 2 kept from an earlier run",
        "none: training [x]",
        "cells/a.json could not be read; the cell runs again",
        "pgd: attacking none",
    ]


def test_on_a_terminal_the_notes_stay_and_the_bar_goes():
    out = console(force_terminal=True, color_system=None)
    run(GridBar(out))
    text = out.file.getvalue()
    assert "cells/a.json could not be read" in text
    assert "none: training [x]" in text
    assert "compiling attacks" in text
    assert text.endswith("\x1b[2K")  # the bar's line, cleared


def test_colour_in_a_file_makes_no_bars(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    messages = streams.messages()
    assert messages.is_terminal  # so rich calls what takes colour
    assert not messages.is_interactive


def test_no_color_draws_shades_not_blocks(monkeypatch):
    assert streams.shows_colors(console(force_terminal=True, color_system="truecolor"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not streams.shows_colors(console(force_terminal=True, color_system="truecolor"))
    assert not streams.shows_colors(console())


def test_stop_without_start():
    GridBar(console(force_terminal=True)).stop()


def test_time_left_goes_by_weight_and_counts_down():
    now = [0.0]
    with Progress(console=console(), get_time=lambda: now[0], auto_refresh=False) as progress:
        progress.add_task("", total=100.0)
        (task,) = progress.tasks
        column = TimeLeft()
        assert column.render(task).plain == ""
        now[0] = 30.0
        progress.advance(task.id, 25.0)
        assert column.render(task).plain == "1:30 left"
        now[0] = 50.0
        assert column.render(task).plain == "1:10 left"
        now[0] = 500.0
        assert column.render(task).plain == "0:00 left"


def test_waiting_in_a_file_is_one_line():
    out = console()
    with waiting(out, "reading mnist[train=10]"):
        pass
    assert out.file.getvalue() == "reading mnist[train=10]\n"
