from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fastadv.cli import console as streams
from fastadv.cli.progress import GridBar, _Display, _Narrowed, waiting
from fastadv.grid.row import WAITING, Figure, Row
from fastadv.kernels import _jit
from fastadv.threat import linf


def console(**options):
    return Console(file=io.StringIO(), width=100, **options)


def run(bar):
    bar.compiling("training", 0, 2)
    bar.compiling("attacks", 1, 2)
    bar.compiling("", 2, 2)
    bar.start(10.0, 3, 2)
    bar.begin("none: training [x]")
    bar.advance(5.0)
    bar.end("none: training [x]", 60.0)
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
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is there again


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


# -- what is shown --------------------------------------------------------------------------


def shown(display, width=80, height=24):
    out = Console(file=io.StringIO(), width=width, height=height)
    out.print(display)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def display_of(n_lines=3, **running):
    display = _Display(lambda: 10.0)
    display.show_table(Text("\n".join(f"row {k}" for k in range(n_lines))))
    display.running = dict.fromkeys(running or ("pgd: attacking none, seed 0",))
    display.done, display.total, display.count = 5.0, 20.0, "3 of 12 runs of cells"
    display.left, display.since = 90.0, 10.0
    return display


def test_the_display_says_what_runs_how_much_is_done_and_how_long_the_rest_takes():
    *table, running, bar = shown(display_of())
    assert table == ["row 0", "row 1", "row 2"]
    assert running[1:] == " pgd: attacking none, seed 0"
    assert bar.endswith(" 25 % · 3 of 12 runs of cells · 1:30 left")
    assert cell_len(bar) <= 80


def test_what_runs_side_by_side_stands_line_by_line_up_to_some():
    lines = shown(display_of(**{f"task {k}": None for k in range(6)}))
    assert [line[2:] for line in lines[3:-1]] == [
        "task 0",
        "task 1",
        "task 2",
        "task 3",
        "and 2 more",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 12), (40, 8), (30, 5), (200, 100)])
def test_the_bar_is_there_on_a_terminal_that_is_lower_than_the_table(width, height):
    lines = shown(display_of(50, **{"stadv[budget=1,translation=true]: attacking median, seed 0": None}),
                  width, height)  # fmt: skip
    assert len(lines) < height
    assert max(map(cell_len, lines)) <= width
    assert "25 %" in lines[-1]
    if height < 50:
        kept = len(lines) - 3
        assert lines[kept].startswith(f" … {50 - kept} more lines")
        assert lines[:kept] == [f"row {k}" for k in range(kept)]


@pytest.mark.parametrize(
    ("left", "words"),
    [(90.4, "1:30 left"), (3725.0, "1:02:05 left"), (0.0, "0:00 left"), (float("inf"), "")],
)
def test_the_time_left_in_words(left, words):
    display = display_of()
    display.left = left
    assert display.time_left() == words


def test_the_time_left_counts_down_between_two_reports_and_then_says_that_it_is_longer():
    now = [0.0]
    display = _Display(lambda: now[0])
    display.left, display.since = 90.0, 0.0
    now[0] = 20.0
    assert display.time_left() == "1:10 left"
    now[0] = 90.4
    assert display.time_left() == "0:00 left"
    now[0] = 92.0
    assert display.time_left() == "longer than expected"


def test_what_a_narrower_terminal_wraps_is_erased():
    display = _Display(lambda: 0.0)
    out = console(force_terminal=True)
    narrowed = _Narrowed(out, display)
    display.widths = [80, 100, 0, 30]
    assert narrowed.process_renderables(["text"]) == ["text"]  # 100 columns are there
    out.width = 40
    control, text = narrowed.process_renderables(["text"])
    assert text == "text"
    assert str(control) == "\x1b[1A\x1b[2K" * 3  # 80 columns are two lines now, and 100 are three


def test_a_grid_that_runs_fills_the_table_in_and_counts_its_runs():
    out = console(force_terminal=True, color_system=None)
    bar = GridBar(out, clock=lambda: 1.0)
    bar.start(10.0, 2, 0)
    done = Figure(0.421, 0.39, 0.452, 1000)
    rows = [
        Row(id=d, dataset="mnist", model="mlp", attack="pgd", defense=d, seed=0, kind="evasion",
            threat=linf(0.1), status=status, attacked_accuracy=done)
        for d, status in (("none", "ok"), ("median", WAITING))
    ]  # fmt: skip
    bar.rows(rows)
    bar.begin("pgd: attacking median")
    bar.stop()
    text = out.file.getvalue()
    assert "1 of 2 runs of cells" in text
    assert "42.1±3.1" in text


def test_waiting_in_a_file_is_one_line():
    out = console()
    with waiting(out, "reading mnist[train=10]"):
        pass
    assert out.file.getvalue() == "reading mnist[train=10]\n"
