"""``fastadv report``: a grid's folder, shown again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastadv.cli import console
from fastadv.cli.formats import Export, Format
from fastadv.cli.gates import AllowFlagged, FailUnder, stop_at
from fastadv.cli.grid_options import OUTPUT
from fastadv.cli.outputs import check_output, check_plot
from fastadv.errors import InputError

if TYPE_CHECKING:
    from fastadv.grid.result import GridResult


def report(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The --output of a grid."),
    ] = Path(OUTPUT),
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="table|json|csv|markdown|latex|parquet",
            help="What to print. Default: table",
        ),
    ] = None,
    details: Annotated[
        bool,
        typer.Option("--details", help="Print all figures of each cell, and every note."),
    ] = False,
    cell: Annotated[
        str | None,
        typer.Option(
            metavar="ATTACK/DEFENSE",
            help="Print all that is known of one cell: figures, runs, distances, images.",
        ),
    ] = None,
    runs: Annotated[
        bool,
        typer.Option("--runs", help="A row a cell and run; with csv, parquet and json."),
    ] = False,
    samples: Annotated[
        bool,
        typer.Option("--samples", help="A row an image; with csv, parquet and json."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write it to a file; its name tells the format: rows.csv, table.tex.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Write one page to explore, instead: table, cells, curves, images.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the table, instead.")
    ] = None,
    fail_under: FailUnder = None,
    allow_flagged: AllowFlagged = None,
) -> None:
    """Print the kept results of a grid, or make a page of them.

    Of a folder that several grids ran in, the last is shown. The page stands alone: it loads
    nothing, and its script only sorts, filters and opens cells. Attacks at several budgets
    (pgd[eps=0.1],pgd[eps=0.2]) are drawn as curves. --fail-under judges the cells that it
    names, ATTACK/DEFENSE as in the table (worst/DEFENSE, none/DEFENSE for the clean row); the
    last threshold that names a cell counts. A cell without a figure, which failed or was not
    run, and one with a flag (!) fail, too.
    """
    from fastadv.report.gates import Gate

    gate = Gate.parse(fail_under, allow_flagged or ())
    given = {
        "--cell": cell, "--html": html, "--plot": plot, "--format": format, "--details": details,
        "--runs": runs, "--samples": samples, "--output": output,
    }  # fmt: skip
    _check_alone("--cell", given, ())
    _check_alone("--html", given, ())
    _check_alone("--plot", given, ("--details",))
    if html is not None:
        check_output("--html", html, "page.html")
    if plot is not None:
        check_output("--plot", plot, "table.svg")
        check_plot(plot, (".svg",))
    export = Export.of(format, details, runs, samples, output)
    from fastadv.grid.result import read_result

    result = read_result(folder)
    for problem in result.problems:
        console.say(f"fastadv: {problem}")
    if result.others:
        kept = f"{result.others} cell{'s' if result.others > 1 else ''} of other grids"
        console.say(
            f"the folder keeps {kept} as well, not shown; fastadv grid with their options and this "
            "--output shows them without running them again"
        )
    if cell is not None:
        _print_stories(result, cell)
    elif plot is not None:
        _write_picture(result, plot, details)
    elif html is not None:
        _write_page(result, html)
    else:
        export.write(result)
    if gate is not None:
        stop_at(gate.failures(result))


def _check_alone(option: str, given: Mapping[str, object], beside: Sequence[str]) -> None:
    """Raise InputError if an option that is a form of its own is given with another form."""
    if given[option] is None:
        return
    for other, value in given.items():
        if other not in (option, *beside) and value not in (None, False):
            raise InputError(f"{option} is a form of its own: leave out {other}")


def _write_page(result: GridResult, path: Path) -> None:
    from fastadv.report.html import grid_html

    _write(path, grid_html(result))
    console.say(f"page in {path}")


def _write_picture(result: GridResult, path: Path, details: bool) -> None:
    """Write the table, or its details, as a terminal of 80 columns shows it."""
    from fastadv.report.summary_table import summary_table
    from fastadv.report.svg import terminal_svg
    from fastadv.report.table import grid_table

    _write(path, terminal_svg((grid_table if details else summary_table)(result)))
    console.say(f"picture in {path}")


def _write(path: Path, text: str) -> None:
    from fastadv.files import atomic_write

    with atomic_write(path) as stream:
        stream.write(text.encode())


def _print_stories(result: GridResult, cell: str) -> None:
    """Print the stories of the cells that are named, each with the command that runs it again."""
    from fastadv.report.story import stories
    from fastadv.report.story_view import StoryView

    out = console.output()
    for told in stories(result, cell, "--cell"):
        out.print(StoryView(told, blocks=console.shows_colors(out)))
        out.print(f"\n {told.command}", soft_wrap=True)  # in one piece, to be copied
